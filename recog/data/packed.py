"""Packed sets: every row fitted and encoded once, in memory-mapped arrays: reading a batch is one copy.

Rows keep their numbers, so training on a packed set takes the same batches as on the set that was packed. It
belongs to one rule of fitting and one vocabulary, which its manifest holds; other recipes are refused.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog.config.values import SEVERAL
from recog.data import bucket, file_hashes
from recog.data.mapped import Mapped
from recog.data.rows import Row
from recog.errors import ConfigError
from recog.text import vocabulary

MANIFEST = 'packed.json'
RULE = ('height', 'width', 'channels', 'fit', 'resample')  # of config.image: what decides the pixels
LABEL = ('case', 'unknown', 'max_length')  # of config.text, besides the vocabulary: what decides the tokens
EARLIER = {'config.image.resample': 'bilinear'}  # of sets that were packed before there was the field
PLAIN, CHANGED = 0, 1  # codes of rows without and with a changed label; others are reasons not to use the row


class PackedSet:
    """What all packed sets have: a manifest that fits the recipe, labels, and what packing found wrong."""

    def __init__(self, name: str, folder: Path, config: ConfigDict):
        file_hashes.check_sizes(folder)
        self.name, self.folder = name, folder
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        mine = rule(config)
        for field, value in (EARLIER | manifest['rule']).items():
            if mine.get(field, value) != value:
                raise ConfigError(
                    f'set {name!r} was packed with {field}={value!r}, the recipe has {mine[field]!r}; '
                    f'pack it again: recog pack {manifest["set"]} --config FILE:VARIANT')
        bucket.bring(folder)
        self._order = -1 if config.image.channels == 'rgb' else 1  # rows are BGR
        self._length, self._reasons = manifest['rows'], manifest['reasons']
        self._files: dict[str, Mapped] = {}

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_files': {}}  # a process that reads opens the files itself

    def _file(self, part: str) -> Mapped:
        if part not in self._files:
            self._files[part] = Mapped(self.folder / f'{part}.npy')
        return self._files[part]

    def _array(self, part: str) -> np.ndarray:
        """All of a part, of which little is touched."""
        return self._file(part).small()

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The codes of these rows: `PLAIN`, `CHANGED`, or why they cannot be used."""
        return self._taken('code', rows)

    def _taken(self, part: str, rows: np.ndarray) -> np.ndarray:
        return self._file(part).rows(rows)

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """(row, id, reason, text) of the rows that were changed or cannot be used."""
        return [(int(row), *self._text(row)[:1], self._reasons[code], self._text(row)[1])
                for row, code in zip(rows, code.tolist(), strict=True) if code != PLAIN]

    def _text(self, row: int) -> tuple[str, str]:
        start, end = self._array('offsets')[row:row + 2]
        name, _, label = bytes(self._array('labels')[start:end]).decode().partition('\t')
        return name, label  # an id holds no tab

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [self._text(int(row)) for row in indices]


class Packed(PackedSet):
    """A packed set of images on one canvas as a source; `arrays` gives whole batches."""

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Image, size, tokens, length, weight and code of these rows."""
        batch = {part: self._taken(part, rows) for part in ('image', 'size', 'tokens', 'length')}
        code = self.codes(rows)
        return {**batch, 'weight': (code <= CHANGED).astype(np.float32), 'code': code}

    def rows(self, indices: Sequence[int]) -> list[Row]:
        found = []
        for row in indices:
            height, width = self._array('size')[row]
            name, label = self._text(int(row))
            # A row whose label cannot be used may have an image all the same.
            reason = '' if height else self._reasons[self._array('code')[row]]
            image = None
            if not reason:
                whole, = self._file('image').part(int(row), int(row) + 1)
                image = whole[:height, :width, ::self._order]
            found.append(Row(name, label, image, reason))
        return found


def rule(config: ConfigDict) -> dict[str, Any]:
    """The fields that must be the same when a set is packed and when it is read."""
    # Images that have no canvas yet are as they were read.
    image = ('fit',) if config.image.fit in SEVERAL else RULE
    fields = {f'config.image.{name}': config.image[name] for name in image}
    fields |= {f'config.text.{name}': config.text[name] for name in LABEL}
    return {**fields, 'vocabulary': vocabulary.from_config(config.text).hash}
