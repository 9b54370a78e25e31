"""An array in a file: small parts are mapped into memory, large ones read.

A file that is cut while it is mapped ends the process with signal 7 (SIGBUS) where memory beyond its end is
touched, and so does a disk that cannot be read. So large parts are read, which is as fast, and before a small
one is touched the file's size is compared.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 512  # bytes of a row that is read


class Mapped:
    """A .npy file whose rows are taken; it must stay as long as it was."""

    def __init__(self, file: Path):
        self._path = file
        self._file = file.open('rb', buffering=0)
        self._array = np.load(file, mmap_mode='r')
        self._width = self._array.itemsize * int(np.prod(self._array.shape[1:], dtype=np.int64))

    def small(self) -> np.ndarray:
        """The mapped array, for parts that are small."""
        if os.fstat(self._file.fileno()).st_size < self._array.offset + self._array.nbytes:
            raise self._cut()
        return self._array

    def part(self, start: int, end: int) -> np.ndarray:
        """A copy of the rows from `start` to `end`."""
        return self._read([start], end - start)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """A copy of these rows; those that follow one another are taken in one piece, four times as fast."""
        one_piece = len(rows) > 1 and bool((np.diff(rows) == 1).all())
        if self._width < LARGE:
            array = self.small()
            return np.array(array[int(rows[0]):int(rows[-1]) + 1]) if one_piece else array[rows]
        return self.part(int(rows[0]), int(rows[-1]) + 1) if one_piece else self._read(rows.tolist(), 1)

    def _read(self, starts: Sequence[int], count: int) -> np.ndarray:
        """`count` rows from each of the starts on."""
        found = np.empty((len(starts) * count, *self._array.shape[1:]), self._array.dtype)
        content: Any = memoryview(found.reshape(-1).view(np.uint8).data)
        descriptor, first, width = self._file.fileno(), self._array.offset, self._width
        for place, start in enumerate(starts):
            piece, offset = content[place * count * width:(place + 1) * count * width], first + start * width
            read = os.preadv(descriptor, [piece], offset)
            if read < len(piece):
                self._read_rest(piece, read, offset)
        return found

    def _read_rest(self, piece: Any, read: int, offset: int) -> None:
        """Read on: of more than two gigabytes Linux reads a part."""
        while read < len(piece):
            more = os.preadv(self._file.fileno(), [piece[read:]], offset + read)
            if not more:
                raise self._cut()
            read += more

    def _cut(self) -> OSError:
        size, wanted = os.fstat(self._file.fileno()).st_size, self._array.offset + self._array.nbytes
        return OSError(f'{self._path} was cut while it was read: it has {size:,} bytes instead of '
                       f'{wanted:,}; pack the set again')
