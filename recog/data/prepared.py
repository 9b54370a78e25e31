"""Sets that TFDS prepared as ArrayRecord."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.config.test_sets import BENCHMARKS
from recog.data import bucket, file_hashes
from recog.data.files import read_row
from recog.data.rows import Row, Written
from recog.errors import ConfigError, nearest, one_line
from recog.images import ink


class Prepared:
    """A data set that TFDS prepared as ArrayRecord: features `image` (encoded), `text`, optionally `id`."""

    def __init__(self, name: str, folder: Path, split: str):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        file_hashes.check_sizes(folder)
        features, splits = _features(folder), _splits(folder)
        if 'image' not in features or 'text' not in features:
            raise ConfigError(f'{folder}: features {sorted(features)} must hold image and text')
        parts = split.split('+') if split else [meant_split(name, list(splits))]
        for part in parts:
            if part.partition('[')[0] not in splits:
                raise ConfigError(f'{folder}: split {part!r} does not exist'
                                  f'{nearest(part, splits)}; there are: {", ".join(splits)}; '
                                  'if datasets/README.md names it, prepare the set again')
        bucket.bring(folder, [Path(file).name for part in parts
                              for file in splits[part.partition('[')[0]].filepaths])
        for part in parts:
            for file in splits[part.partition('[')[0]].filepaths:
                if not Path(file).is_file() or not Path(file).stat().st_size:
                    raise ConfigError(f'{folder}: shard {Path(file).name} is missing or empty; '
                                      'prepare the set again')
        self.name, self._has_id, self._split = name, 'id' in features, '+'.join(parts)
        self._has_ink = {'points', 'strokes'} <= features
        self._has_symbols = self._has_ink and {'symbols', 'writer'} <= features
        # TFDS names the shards; its own parsing of a record would take ten times as long.
        self._records = ArrayRecordDataSource(splits[self._split].file_instructions)

    def __len__(self) -> int:
        return len(self._records)

    def _read(self, indices: Sequence[int]) -> list[tuple[str, str, Any]]:
        """Id, text and all values of records."""
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2

        read = []
        for i, record in zip(indices, self._records.__getitems__([int(i) for i in indices]), strict=True):
            try:
                if not record:
                    raise ValueError  # the shard was cut off at a block's boundary
                values = tf_example_pb2.Example.FromString(record).features.feature
                name = _value(values['id']) if self._has_id else f'{self._split}/{i}'
                read.append((name, _value(values['text']), values))
            except (DecodeError, ValueError, IndexError):
                raise self._damaged(i) from None
        return read

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(name, text) for name, text, _ in self._read(indices)]

    def extras(self, indices: Sequence[int], names: Sequence[str]) -> list[dict[str, str]]:
        """Further texts of the examples at these places, such as lexicons, where these features exist."""
        return [{name: _value(values[name]) for name in names if name in values}
                for _, _, values in self._read(indices)]

    def written(self) -> list[Written]:
        """The ink of all examples with the symbols that it draws."""
        if not self._has_symbols:
            raise ConfigError(f'{self.name} does not say which strokes draw which symbol; prepare it again: '
                              'datasets/crohme.py records it from version 2.1.0 on')
        found = []
        for name, text, values in self._read(range(len(self))):
            try:
                strokes, symbols = _strokes(values), _numbers(values['symbols'])
                if len(symbols) not in (0, len(strokes)):
                    raise ValueError
                found.append(Written(text, _value(values['writer']), strokes, symbols))
            except (ValueError, IndexError):
                raise self._damaged(name) from None
        return found

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        return (self._row(*record) for record in self._read(indices))

    def _row(self, name: str, text: str, values: Any) -> Row:
        try:
            encoded = values['image'].bytes_list.value[0]
            strokes = _strokes(values) if self._has_ink else None
        except (ValueError, IndexError):
            raise self._damaged(name) from None
        row = read_row(name, text, encoded)
        return row if strokes is None else row._replace(strokes=strokes)

    def _damaged(self, record: int | str) -> OSError:
        return OSError(f'{self.name}: record {record!r} cannot be read; '
                       'the set is damaged: recog check names the file')


def _strokes(values: Any) -> list[np.ndarray]:
    """The ink of a record."""
    points = np.array(values['points'].float_list.value, np.float32).reshape(-1, 2)
    return ink.parted(points, _numbers(values['strokes']))


def _numbers(feature: Any) -> np.ndarray:
    return np.array(feature.int64_list.value, np.int64)


def meant_split(name: str, splits: list[str]) -> str:
    """The split that is meant where none is named: the only one, the test of a benchmark, or `train`."""
    if len(splits) == 1:
        return splits[0]
    meant = 'test' if name.partition('/')[0] in BENCHMARKS else 'train'
    if meant not in splits:
        raise ConfigError(f'set {name!r} needs a split: {", ".join(f"{name}:{split}" for split in splits)}')
    return meant


def _features(folder: Path) -> set[str]:
    """The names of a set's features: TFDS would import and run the classes that the file names for them."""
    try:
        described = json.loads((folder / 'features.json').read_text(encoding='utf-8'))
        features = described['featuresDict']['features'] if 'featuresDict' in described else \
            described['content']  # until TFDS 4.4
        return {*(features if isinstance(features, dict) else json.loads(features))}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(f'{folder}: features.json cannot be read ({one_line(error, 200)}); '
                          'prepare the set again') from None


def _splits(folder: Path) -> Any:
    """A set's splits by their names, each with its shards, as TFDS reads them."""
    from tensorflow_datasets.core import dataset_info, naming, splits

    try:
        info = dataset_info.read_proto_from_builder_dir(folder)
        if info.file_format != 'array_record':
            raise ValueError(f'the format is {info.file_format or "tfrecord"} and must be array_record')
        template = naming.ShardedFileTemplate(dataset_name=info.name, data_dir=folder,
                                              filetype_suffix=info.file_format)
        return splits.SplitDict.from_proto(info.splits, template)
    except Exception as error:  # a damaged description makes TFDS raise nearly anything
        raise ConfigError(f'{folder}: dataset_info.json cannot be read ({one_line(error, 200)}); '
                          'prepare the set again') from None


def _value(feature: Any) -> str:
    """A text or number of a record as text."""
    texts = feature.bytes_list.value
    return texts[0].decode() if texts else str(feature.int64_list.value[0])
