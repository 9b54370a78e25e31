"""Pickles read without running anything: a pickle may name only what stands in a table of exact names."""

import codecs
import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy._core import multiarray, numeric

Names = Mapping[tuple[str, str], Any]  # (module, name) to what stands for it

# All that pickled arrays need. The names are exact, because numpy has functions that run text as code.
ARRAYS: Names = {
    ('numpy', 'ndarray'): np.ndarray, ('numpy', 'dtype'): np.dtype, ('_codecs', 'encode'): codecs.encode,
    **{(f'numpy.{core}.multiarray', '_reconstruct'): multiarray._reconstruct  # type: ignore[attr-defined]
       for core in ('core', '_core')},
    **{(f'numpy.{core}.numeric', '_frombuffer'): numeric._frombuffer  # type: ignore[attr-defined]
       for core in ('core', '_core')}}


class Damaged(ValueError):
    """A file whose content contradicts itself."""


def load(file: IO[bytes], names: Names, *, encoding: str = 'ASCII',
         persistent: Callable[[Any], Any] | None = None) -> Any:
    """The next object of a file, which may name only what `names` holds.

    `persistent` resolves references to things outside the pickle. A damaged one raises almost any exception.
    """
    return _Restricted(file, names, encoding, persistent).load()


class _Restricted(pickle.Unpickler):
    def __init__(self, file: IO[bytes], names: Names, encoding: str, persistent: Callable[[Any], Any] | None):
        super().__init__(file, encoding=encoding)
        self._names, self._persistent = names, persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f'it wants {module}.{name}, which no array needs')
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError('it wants something from outside, which no array needs')
        return self._persistent(pid)
