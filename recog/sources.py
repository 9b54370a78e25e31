"""Where examples come from: rendered words, sets that TFDS prepared, folders with labels, given files. All are random access."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from recog import seal
from recog.config import values
from recog.config.test_sets import BENCHMARKS
from recog.errors import ConfigError, nearest
from recog.images import ink
from recog.images.read import Unreadable, read_image

DRAWN = ('rendered', 'formulas')  # the sets that need no data


class Row(NamedTuple):
    """One example as read; without an image, `reason` says why."""

    id: str
    text: str
    image: np.ndarray | None
    reason: str = ''
    strokes: Sequence[np.ndarray] = ()  # the ink that the image was drawn from, where the set has it


class Source(Protocol):
    """Random access to examples: rendered, prepared by TFDS, a folder, or given files."""

    name: str

    def __len__(self) -> int: ...

    def rows(self, indices: Sequence[int]) -> list[Row]:
        """The examples at these places, decoded."""

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the examples at these places, without their pixels."""


class Files:
    """Image files, with or without texts, as a source."""

    def __init__(self, name: str, paths: Sequence[str], texts: Sequence[str] = (), ids: Sequence[str] = ()):
        self.name, self.paths = name, paths
        self.texts, self.ids = texts or [''] * len(paths), ids or paths

    def __len__(self) -> int:
        return len(self.paths)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(self.ids[i], self.texts[i]) for i in indices]

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return [read_row(self.ids[i], self.texts[i], self.paths[i]) for i in indices]


class Prepared:
    """A data set that TFDS prepared as ArrayRecord, with features `image` (encoded), `text` and, optionally, `id`."""

    def __init__(self, name: str, folder: Path, split: str):
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        seal.check_sizes(folder)
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        if 'image' not in features or 'text' not in features:
            raise ConfigError(f'{folder}: features {sorted(features)} must hold image and text')
        parts = split.split('+') if split else list(builder.info.splits)
        for part in parts:
            if part.partition('[')[0] not in builder.info.splits:
                raise ConfigError(f'{folder}: split {part!r} does not exist'
                                  f'{nearest(part, builder.info.splits)}; there are: '
                                  f'{", ".join(builder.info.splits)}')
            for file in builder.info.splits[part.partition('[')[0]].filepaths:
                if not Path(file).is_file() or not Path(file).stat().st_size:
                    raise ConfigError(f'{folder}: shard {Path(file).name} is missing or empty; prepare the set again')
        self.name, self._has_id, self._split = name, 'id' in features, '+'.join(parts)
        self._has_ink = {'points', 'strokes'} <= set(features)
        # TFDS names the shards; its own parsing of a record would take ten times as long.
        self._records = ArrayRecordDataSource(builder.info.splits[self._split].file_instructions)

    def __len__(self) -> int:
        return len(self._records)

    def _read(self, indices: Sequence[int]) -> list[tuple[str, str, Any]]:
        """Id, text and all values of records."""
        from tensorflow_datasets.proto import tf_example_pb2

        read = []
        for i, record in zip(indices, self._records.__getitems__([int(i) for i in indices]), strict=True):
            if not record:  # what a shard that was cut at a block's boundary gives
                raise OSError(f'{self.name}: record {i} cannot be read; the set is damaged: recog check names the file')
            values = tf_example_pb2.Example.FromString(record).features.feature
            name = _value(values['id']) if self._has_id else f'{self._split}/{i}'
            read.append((name, _value(values['text']), values))
        return read

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(name, text) for name, text, _ in self._read(indices)]

    def extras(self, indices: Sequence[int], names: Sequence[str]) -> list[dict[str, str]]:
        """Further texts of the examples at these places, such as lexicons: of these features those that are there."""
        return [{name: _value(values[name]) for name in names if name in values} for _, _, values in self._read(indices)]

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return [self._row(*record) for record in self._read(indices)]

    def _row(self, name: str, text: str, values: Any) -> Row:
        row = read_row(name, text, values['image'].bytes_list.value[0])
        if not self._has_ink:
            return row
        points = np.array(values['points'].float_list.value, np.float32).reshape(-1, 2)
        return row._replace(strokes=ink.parted(points, np.array(values['strokes'].int64_list.value)))


class Joined:
    """Several sources one behind the other."""

    def __init__(self, sources: Sequence[Source]):
        self.sources, self.name = sources, '+'.join(source.name for source in sources)
        self._starts = np.cumsum([0, *(len(source) for source in sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _each(self, indices: Any) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """Each source that has some of the rows: where they stand in `indices`, and their numbers in the source."""
        wanted = np.asarray(indices)
        owners = np.searchsorted(self._starts, wanted, side='right') - 1
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            yield self.sources[owner], places, wanted[places] - self._starts[owner]

    def _asked(self, method: str, indices: Sequence[int]) -> list:
        answers: list = [None] * len(indices)
        for source, places, rows in self._each(indices):
            for place, row in zip(places, getattr(source, method)(rows.tolist()), strict=True):
                answers[place] = row
        return answers

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return self._asked('rows', indices)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._asked('labels', indices)


class JoinedPacked(Joined):
    """Several packed sources one behind the other."""

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """As `Packed.arrays`."""
        if len(self.sources) == 1:
            return self.sources[0].arrays(rows)  # type: ignore[attr-defined]
        batch: dict[str, np.ndarray] = {}
        for source, places, mine in self._each(rows):
            for key, part in source.arrays(mine).items():
                if key not in batch:
                    batch[key] = np.empty((len(rows), *part.shape[1:]), part.dtype)
                batch[key][places] = part
        return batch

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """As `Packed.codes`."""
        found = np.zeros(len(rows), np.uint8)
        for source, places, mine in self._each(rows):
            found[places] = source.codes(mine)  # type: ignore[attr-defined]
        return found

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """As `Packed.notes`, by the numbers of the joined rows."""
        return [(int(rows[place]), *note[1:]) for source, places, mine in self._each(rows) for place, note in
                zip(places[code[places] > 0], source.notes(mine, code[places]), strict=True)]


def joined(sources: Sequence[Source]) -> Joined:
    """The sources one behind the other; whole batches can be asked of packed ones."""
    return (JoinedPacked if all(hasattr(source, 'arrays') for source in sources) else Joined)(sources)


def open_set(name: str, config: ConfigDict, root: str | Path) -> Source:
    """The source called NAME[/CONFIG][:SPLIT]: drawn words or formulas, or what is prepared below the root."""
    path, _, split = name.partition(':')
    if path == 'rendered':
        from recog.render import Words

        # Held-out words are the same for every seed, so that runs can be compared.
        seed = values.seed(config, 'data') if split == 'train' else 0
        return Words(config.render, split or 'train', seed=seed)
    if path == 'formulas':
        from recog.formulas import Formulas

        return Formulas(config.formulas, split or 'train', seed=values.seed(config, 'data') if split == 'train' else 0)
    folder = Path(root) / path
    if (folder / 'packed.json').is_file() and not split:
        from recog.packed import Packed

        return Packed(name, folder, config)
    if (folder / split / 'labels.tsv').is_file():
        return labelled_folder(name, folder / split)
    versions = sorted(folder.glob('*/dataset_info.json')) or sorted(folder.glob('dataset_info.json'))
    if versions:
        return Prepared(name, versions[-1].parent, split)
    raise ConfigError(_missing(name, path, Path(root)))


def labelled_folder(name: str, folder: Path) -> Files:
    """A folder of images with labels.tsv: file, tab, text (further columns are left alone)."""
    seal.check_sizes(folder)
    paths, texts, ids = [], [], []
    file = folder / 'labels.tsv'
    try:
        text = file.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{file} must be UTF-8; byte {error.start} is not') from None
    # Not splitlines: U+2028 and its like may stand in a text.
    for number, line in enumerate(text.replace('\r\n', '\n').removesuffix('\n').split('\n'), 1):
        columns = line.split('\t')
        if len(columns) < 2 or not columns[0]:
            raise ConfigError(f'{file}, line {number}: {line[:60]!r} must be file, tab, text')
        paths.append(str(folder / columns[0]))
        texts.append(columns[1])
        ids.append(columns[0])
    if not paths:
        raise ConfigError(f'{file} holds no example')
    return Files(name, paths, texts, ids)


def read_row(name: str, text: str, encoded: Any) -> Row:
    """The example with its image decoded, or the reason why not."""
    try:
        return Row(name, text, read_image(encoded))
    except Unreadable as error:
        return Row(name, text, None, error.reason)


def _value(feature: Any) -> str:
    """A text or number of a record as text."""
    return feature.bytes_list.value[0].decode() if feature.bytes_list.value else str(feature.int64_list.value[0])


def _missing(name: str, path: str, root: Path) -> str:
    marks = {'*/packed.json': 0, '*/labels.tsv': 0, '*/*/labels.tsv': 0, '*/*/dataset_info.json': 1, '*/*/*/dataset_info.json': 1}
    found = sorted({str(file.parents[up].relative_to(root)) for mark, up in marks.items() for file in root.glob(mark)})
    known = path.partition('/')[0]
    builder = Path('datasets') / ('benchmarks.py' if known in (*BENCHMARKS, 'validation_union') else f'{known}.py')
    how = f'prepare it: python {builder} --source PATH --data {root}' if builder.is_file() else \
        f'it must be a folder {root / path} with labels.tsv, or one prepared by TFDS (VERSION/dataset_info.json)'
    return (f'set {name!r} is not there below --data {root}{nearest(path, [*found, *DRAWN])}; {how}; '
            f'there are: {", ".join([*DRAWN, *found])}')
