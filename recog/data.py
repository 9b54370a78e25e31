"""Data: sources of examples, the plan that says which rows make which batch, and the pipelines that read them.

Batch k is a pure function of (seed, k), so the data position is one integer, whatever the mesh, processes or workers.
"""

import functools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from recog import config as configs
from recog import images
from recog.text import Unencodable, Vocab


class Row(NamedTuple):
    """One example as read; without an image, `reason` says why."""

    id: str
    text: str
    image: np.ndarray | None
    reason: str = ''


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

        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        if 'image' not in features or 'text' not in features:
            raise configs.ConfigError(f'{folder}: features {sorted(features)} must hold image and text')
        parts = split.split('+') if split else list(builder.info.splits)
        for part in parts:
            if part.partition('[')[0] not in builder.info.splits:
                raise configs.ConfigError(f'{folder}: split {part!r} does not exist'
                                          f'{configs.nearest(part, builder.info.splits)}; there are: '
                                          f'{", ".join(builder.info.splits)}')
        self.name, self._has_id, self._split = name, 'id' in features, '+'.join(parts)
        self._records = builder.as_data_source(self._split, decoders={'image': tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._records)

    def _read(self, indices: Sequence[int]) -> list[tuple[str, str, bytes | None]]:
        records = self._records.__getitems__([int(i) for i in indices])
        return [(_text(record['id']) if self._has_id else f'{self._split}/{i}', _text(record['text']), record['image'])
                for i, record in zip(indices, records, strict=True)]

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(name, text) for name, text, _ in self._read(indices)]

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return [read_row(*record) for record in self._read(indices)]


class Joined:
    """Several sources one behind the other."""

    def __init__(self, sources: Sequence[Source]):
        self.sources, self.name = sources, '+'.join(source.name for source in sources)
        self._starts = np.cumsum([0, *(len(source) for source in sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _each(self, method: str, indices: Sequence[int]) -> list:
        """The sources' answers, each asked once, in the order of `indices`."""
        wanted = np.asarray(indices)
        owners = np.searchsorted(self._starts, wanted, side='right') - 1
        answers: list = [None] * len(wanted)
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            rows = getattr(self.sources[owner], method)((wanted[places] - self._starts[owner]).tolist())
            for place, row in zip(places, rows, strict=True):
                answers[place] = row
        return answers

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return self._each('rows', indices)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._each('labels', indices)


def open_set(name: str, config: ConfigDict, root: str | Path) -> Source:
    """The source called NAME[/CONFIG][:SPLIT]: rendered words, or what is prepared below the root."""
    path, _, split = name.partition(':')
    if path == 'rendered':
        from recog.render import Words

        # Held-out words are the same for every seed, so that runs can be compared.
        seed = configs.seed(config, 'data') if split == 'train' else 0
        return Words(config.render, split or 'train', seed=seed)
    folder = Path(root) / path
    if (folder / split / 'labels.tsv').is_file():
        return labelled_folder(name, folder / split)
    versions = sorted(folder.glob('*/dataset_info.json')) or sorted(folder.glob('dataset_info.json'))
    if versions:
        return Prepared(name, versions[-1].parent, split)
    raise configs.ConfigError(_missing(name, path, Path(root)))


def labelled_folder(name: str, folder: Path) -> Files:
    """A folder of images with labels.tsv: file, tab, text (further columns are left alone)."""
    paths, texts, ids = [], [], []
    file = folder / 'labels.tsv'
    for number, line in enumerate(file.read_text(encoding='utf-8').splitlines(), 1):
        columns = line.split('\t')
        if len(columns) < 2 or not columns[0]:
            raise configs.ConfigError(f'{file}, line {number}: {line[:60]!r} must be file, tab, text')
        paths.append(str(folder / columns[0]))
        texts.append(columns[1])
        ids.append(columns[0])
    if not paths:
        raise configs.ConfigError(f'{file} holds no example')
    return Files(name, paths, texts, ids)


class Plan:
    """Which rows of the joined sources make batch k: a pure function of the seed and k, alike on every process."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], batch: int, order: str, seed: int):
        self.sizes, self.batch, self.order, self.seed = list(sizes), batch, order, seed
        self.total = sum(self.sizes)
        self.shares = np.cumsum([0.0, *weights]) / (sum(weights) or 1)
        # As the reference, the last rows of an epoch that fill no batch are left out (others each epoch when shuffled).
        self.epoch = max(1, self.total // batch)

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers in the joined sources, and the epoch each belongs to.  -> [B], [B]"""
        if len(self.shares) == 1:
            epoch, place = divmod(step, self.epoch)
            places = (np.arange(self.batch) + place * self.batch) % self.total
            return self._ordered(0, epoch, self.total, places), np.full(self.batch, epoch)
        return self._mixed(step)

    def _mixed(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch in which each source has its share, exactly in the long run."""
        ends = [np.floor(at * self.batch * self.shares + 1e-6).astype(np.int64) for at in (step, step + 1)]
        starts, stops = (np.diff(end) for end in ends)
        rows, epochs = [], []
        offset = 0
        for stream, size in enumerate(self.sizes):
            epoch, place = np.divmod(np.arange(starts[stream], stops[stream]), size)
            for each in np.unique(epoch):
                rows.append(offset + self._ordered(stream, int(each), size, place[epoch == each]))
                epochs.append(np.full(len(rows[-1]), each))
            offset += size
        # Batch norm in groups of consecutive rows shall see the mixture, not one source.
        order = generator(self.seed, 'batch', step).permutation(self.batch) if self.order == 'shuffle' else slice(None)
        return np.concatenate(rows)[order], np.concatenate(epochs)[order]

    def _ordered(self, stream: int, epoch: int, size: int, places: np.ndarray) -> np.ndarray:
        return places if self.order == 'file' else _permutation(self.seed, stream, epoch, size)[places].astype(np.int64)


def generator(seed: int, *where: int | str) -> np.random.Generator:
    """A random generator of its own for this place in the run."""
    words = [seed, *(int.from_bytes(item.encode(), 'little') if isinstance(item, str) else item for item in where)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, stream: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, 'order', stream, epoch).permutation(size).astype(np.uint32)


class Batches:
    """The batches of a plan as a random-access source of Grain: element k is a whole batch, which is what makes it fast."""

    def __init__(self, source: Source, plan: Plan, places: np.ndarray, vocab: Vocab, config: ConfigDict, steps: int):
        self.source, self.plan, self.places, self.vocab, self.steps = source, plan, places, vocab, steps
        self.image, self.max_length = config.image, config.text.max_length
        self.augments = images.augments(config.image.augment)
        self.seed = configs.seed(config, 'augment')

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, epochs = (values[self.places] for values in self.plan.rows(int(step)))
        batch = empty(len(rows), self.max_length)
        batch['index'][:] = rows
        pictures: list[np.ndarray | None] = []
        notes: list[tuple] = []
        for place, row in enumerate(self.source.rows(rows.tolist())):
            reason = row.reason or self._label(batch, place, row, notes)
            if reason:
                # Unlike the reference, which puts a random other sample in its place.
                notes.append((int(rows[place]), row.id, reason, row.text))
                batch['weight'][place] = 0
            pictures.append(None if reason else self._augmented(row.image, int(epochs[place]), int(rows[place])))
        batch['image'], batch['size'] = images.fit_batch(pictures, self.image)
        return {**batch, 'notes': pack_notes(notes)}

    def _label(self, batch: dict[str, np.ndarray], place: int, row: Row, notes: list[tuple]) -> str:
        """Write the row's tokens; the answer is the reason why it cannot be used, if so."""
        try:
            encoding = self.vocab.encode(row.text, max_length=self.max_length)
        except Unencodable as error:
            return error.reason
        if encoding.dropped:
            notes.append((int(batch['index'][place]), row.id, 'changed', row.text))
        batch['length'][place] = len(encoding.ids)
        batch['tokens'][place, :len(encoding.ids)] = encoding.ids
        return ''

    def _augmented(self, image: Any, epoch: int, row: int) -> np.ndarray:
        if not self.augments:
            return image
        return images.augment(image, images.generator(self.seed, epoch, row), self.image.augment)


class Steps:
    """The batches of an evaluation, each example exactly once; fillers in the last one have weight 0 and index -1."""

    def __init__(self, source: Source, places: np.ndarray, batch: int, rule: ConfigDict, limit: int):
        self.source, self.places, self.batch, self.rule = source, places, batch, rule
        self.count = min(len(source), limit or len(source))

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows = int(step) * self.batch + self.places
        real = np.flatnonzero(rows < self.count)
        batch = empty(len(rows), 1)
        batch['weight'][:], batch['index'][:] = 0, -1
        pictures: list[np.ndarray | None] = [None] * len(rows)
        notes = []
        for place, row in zip(real, self.source.rows(rows[real].tolist()), strict=True):
            batch['index'][place], batch['weight'][place] = rows[place], row.image is not None
            pictures[place] = row.image
            if row.image is None:
                notes.append((int(rows[place]), row.id, row.reason, row.text))
        width = None
        if self.rule.width_rule == 'widest':
            width = images.prediction_width([picture for picture in pictures if picture is not None], self.rule)
        batch['image'], batch['size'] = images.fit_batch(pictures, self.rule, width)
        return {**batch, 'notes': pack_notes(notes)}


def empty(rows: int, max_length: int) -> dict[str, np.ndarray]:
    """The arrays of a batch besides its images: every row real, every label empty."""
    return {'tokens': np.full((rows, max_length), -1, np.int32), 'length': np.zeros(rows, np.int32),
            'weight': np.ones(rows, np.float32), 'index': np.zeros(rows, np.int32)}


def stream(batches: Any, config: ConfigDict, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Batches from number `start` on, read ahead in threads or processes by Grain, in order."""
    import cv2
    import grain
    from absl import flags

    cv2.setNumThreads(1)  # Grain's threads share the cores already
    data = config.data
    dataset: Any = grain.MapDataset.source(batches)[start:]
    # Threads are enough where decoding and drawing leave the interpreter; processes cost a copy of each batch.
    ahead = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=data.prefetch if data.threads else 0)
    dataset = dataset.to_iter_dataset(ahead)
    if data.workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=data.workers))
    return iter(dataset)


def to_devices(batches: Iterable[dict[str, np.ndarray]], sharding: Any, rows: int, depth: int = 2) -> Iterator[tuple]:
    """(batch on the devices, notes) with transfers running ahead; each process hands over its own rows of `rows`."""
    import jax

    def put(batch):
        notes = unpack_notes(batch.pop('notes'))
        return {key: jax.make_array_from_process_local_data(sharding, value, (rows, *value.shape[1:]))
                for key, value in batch.items()}, notes

    queue: deque = deque()
    for batch in batches:
        queue.append(put(dict(batch)))
        if len(queue) >= depth:
            yield queue.popleft()
    yield from queue


def pack_notes(notes: list[tuple]) -> np.ndarray:
    """(row, id, reason, text) of rows that were changed or left out, as bytes: what travels between processes."""
    return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def unpack_notes(packed: np.ndarray) -> list[tuple]:
    """The notes that `pack_notes` packed."""
    return [tuple(note) for note in json.loads(bytes(np.asarray(packed)))]


def read_row(name: str, text: str, encoded: Any) -> Row:
    """The example with its image decoded, or the reason why not."""
    try:
        return Row(name, text, images.read(encoded))
    except images.Unreadable as error:
        return Row(name, text, None, error.reason)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _missing(name: str, path: str, root: Path) -> str:
    marks = {'*/labels.tsv': 0, '*/*/labels.tsv': 0, '*/*/dataset_info.json': 1, '*/*/*/dataset_info.json': 1}
    found = sorted({str(file.parents[up].relative_to(root)) for mark, up in marks.items() for file in root.glob(mark)})
    builder = Path('datasets') / f'{path.partition("/")[0]}.py'
    how = f'prepare it: python {builder} --source PATH --data {root}' if builder.is_file() else \
        f'it must be a folder {root / path} with labels.tsv, or one prepared by TFDS (VERSION/dataset_info.json)'
    return (f'set {name!r} is not there below --data {root}{configs.nearest(path, [*found, "rendered"])}; {how}; '
            f'there are: {", ".join(["rendered", *found])}')
