"""Packed sets of images of any size: all pixels in one flat array, all points of their ink in another.

Images are as they were read, those without colours as one plane, so that they are augmented as those of the
set that was packed.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from recog.data.packed import CHANGED, PackedSet
from recog.data.rows import Measured, Row


class Ragged(PackedSet):
    """A packed set of images of any size as a source."""

    def __init__(self, name: str, folder: Path, config: ConfigDict):
        super().__init__(name, folder, config)
        height, width = config.image.height, config.image.width
        keeps = config.image.fit == 'none'  # else images are resized, and none is too large
        self._canvas = np.array([height, width]) if keeps else np.full(2, np.iinfo(np.int32).max)
        self._too_large = len(self._reasons)
        self._reasons = [*self._reasons, f'larger than {height} x {width}']

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """Where the bytes of each image start, and the end."""
        planes = np.where(self._array('grey'), 1, self._array('planes'))
        return np.cumsum([0, *(self._array('size').astype(np.int64).prod(1) * planes)])

    @functools.cached_property
    def _ink(self) -> tuple[np.ndarray, np.ndarray]:
        """The number of the first stroke of each row, and of the first point of each stroke, and the ends."""
        return (np.cumsum([0, *self._array('inked')], dtype=np.int64),
                np.cumsum([0, *self._array('strokes')], dtype=np.int64))

    def measured(self) -> Measured:
        """The sizes of all images, and which have their strokes."""
        return Measured(np.maximum(self._array('size'), 1).astype(np.int64), self._array('inked') > 0)

    def image(self, row: int) -> np.ndarray:
        """An image [H, W, C] as it was read; without any pixels if it could not be."""
        start, end = self._starts[row:row + 2]
        height, width = self._array('size')[row]
        planes = (end - start) // max(height * width, 1)
        image = self._file('image').part(start, end).reshape(height, width, planes)
        return np.repeat(image, 3, 2) if image.shape[2] < self._array('planes')[row] else image

    def rows(self, indices: Sequence[int]) -> list[Row]:
        found = []
        for row in map(int, indices):
            image, (name, label) = self.image(row), self._text(row)
            reason = '' if image.size else self._reasons[self._array('code')[row]]
            found.append(Row(name, label, None if reason else image, reason, self._strokes(row)))
        return found

    def _strokes(self, row: int) -> list[np.ndarray]:
        first, last = self._ink[0][row:row + 2]
        ends = 2 * self._ink[1][first:last + 1]  # a point has two numbers
        return [self._file('points').part(start, end).reshape(-1, 2)
                for start, end in zip(ends[:-1], ends[1:], strict=True)]

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """The codes of these rows: `PLAIN`, `CHANGED`, or why they cannot be used; of those too large too."""
        too_large = (self._taken('size', rows) > self._canvas).any(1)
        return np.where(too_large, self._too_large, super().codes(rows)).astype(np.uint8)

    def labelled(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Size, tokens, length and weight of these rows; those without weight have no label."""
        used = self.codes(rows) <= CHANGED
        tokens, length = self._taken('tokens', rows), self._taken('length', rows)
        return {'size': self._taken('size', rows), 'weight': used.astype(np.float32),
                'tokens': np.where(used[:, None], tokens, -1).astype(np.int32),
                'length': np.where(used, length, 0).astype(np.int32)}
