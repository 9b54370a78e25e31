"""Arrays of one axis in files of numpy, written piece by piece until their lengths are known."""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np


class _Opened(NamedTuple):
    file: BinaryIO
    dtype: np.dtype
    written: list[int]  # elements of each piece


class Growing:
    """The arrays of a folder by their names; each exists once a piece of it was added, which may be empty."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._opened: dict[str, _Opened] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Append values [N] to the array of this name."""
        if name not in self._opened:
            self._opened[name] = _Opened((self._folder / f'{name}.npy').open('wb'), values.dtype, [])
            self._head(name)
        opened = self._opened[name]
        opened.file.write(np.ascontiguousarray(values, opened.dtype).data)
        opened.written.append(len(values))

    def _head(self, name: str) -> None:
        """The header, in which numpy keeps room for a longer axis."""
        file, dtype, written = self._opened[name]
        head: dict[str, Any] = {'descr': np.lib.format.dtype_to_descr(dtype), 'fortran_order': False,
                                'shape': (sum(written),)}
        np.lib.format.write_array_header_1_0(file, head)

    def close(self) -> None:
        """Finish all files."""
        for name, opened in self._opened.items():
            opened.file.seek(0)
            self._head(name)
            opened.file.close()
