"""Sets that TFDS prepared as ArrayRecord."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.data import file_hashes
from recog.data.files import read_row
from recog.data.rows import Row, Written
from recog.errors import ConfigError, nearest
from recog.images import ink


class Prepared:
    """A data set that TFDS prepared as ArrayRecord: features `image` (encoded), `text`, optionally `id`."""

    def __init__(self, name: str, folder: Path, split: str):
        import tensorflow_datasets as tfds
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        file_hashes.check_sizes(folder)
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        if 'image' not in features or 'text' not in features:
            raise ConfigError(f'{folder}: features {sorted(features)} must hold image and text')
        parts = split.split('+') if split else list(builder.info.splits)
        for part in parts:
            if part.partition('[')[0] not in builder.info.splits:
                raise ConfigError(f'{folder}: split {part!r} does not exist'
                                  f'{nearest(part, builder.info.splits)}; there are: '
                                  f'{", ".join(builder.info.splits)}; if datasets/README.md names it, '
                                  'prepare the set again')
            for file in builder.info.splits[part.partition('[')[0]].filepaths:
                if not Path(file).is_file() or not Path(file).stat().st_size:
                    raise ConfigError(f'{folder}: shard {Path(file).name} is missing or empty; '
                                      'prepare the set again')
        self.name, self._has_id, self._split = name, 'id' in features, '+'.join(parts)
        self._has_ink = {'points', 'strokes'} <= set(features)
        self._has_symbols = self._has_ink and {'symbols', 'writer'} <= set(features)
        # TFDS names the shards; its own parsing of a record would take ten times as long.
        self._records = ArrayRecordDataSource(builder.info.splits[self._split].file_instructions)

    def __len__(self) -> int:
        return len(self._records)

    def _read(self, indices: Sequence[int]) -> list[tuple[str, str, Any]]:
        """Id, text and all values of records."""
        from tensorflow_datasets.proto import tf_example_pb2

        read = []
        for i, record in zip(indices, self._records.__getitems__([int(i) for i in indices]), strict=True):
            if not record:  # the shard was cut off at a block's boundary
                raise OSError(f'{self.name}: record {i} cannot be read; '
                              'the set is damaged: recog check names the file')
            values = tf_example_pb2.Example.FromString(record).features.feature
            name = _value(values['id']) if self._has_id else f'{self._split}/{i}'
            read.append((name, _value(values['text']), values))
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
        return [Written(text, _value(values['writer']), _strokes(values), _numbers(values['symbols']))
                for _, text, values in self._read(range(len(self)))]

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return [self._row(*record) for record in self._read(indices)]

    def _row(self, name: str, text: str, values: Any) -> Row:
        row = read_row(name, text, values['image'].bytes_list.value[0])
        if not self._has_ink:
            return row
        return row._replace(strokes=_strokes(values))


def _strokes(values: Any) -> list[np.ndarray]:
    """The ink of a record."""
    points = np.array(values['points'].float_list.value, np.float32).reshape(-1, 2)
    return ink.parted(points, _numbers(values['strokes']))


def _numbers(feature: Any) -> np.ndarray:
    return np.array(feature.int64_list.value, np.int64)


def _value(feature: Any) -> str:
    """A text or number of a record as text."""
    texts = feature.bytes_list.value
    return texts[0].decode() if texts else str(feature.int64_list.value[0])
