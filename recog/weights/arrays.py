"""Arrays in pickles: what a file says of them is collected and checked, and numpy sees only sound bytes."""

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from recog.weights.pickles import Budget, Damaged, Function, Names, Stateful

TYPES = ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'b1')
MOST_AXES = 32


class Stored(Protocol):
    """An array that stands in a file."""

    @property
    def nbytes(self) -> int:
        """The bytes that it takes by itself."""

    def view(self) -> np.ndarray:
        """The array, read only, on the bytes that were read."""


def opened(stored: Stored, budget: Budget) -> np.ndarray:
    """The array on bytes that are in memory, once its own size is taken from the budget."""
    budget.spend(stored.nbytes)
    return stored.view()


class Class(NamedTuple):
    """Stands for a class that a pickle names and does not call."""

    name: str


class Dtype(Stateful):
    """A type of numbers; a pickle tells the order of their bytes afterwards."""

    def __init__(self, name: Any, *_: Any):
        if type(name) is not str:
            raise Damaged('the type of its numbers has no name')
        if name not in TYPES:
            raise Damaged(f'its numbers are of type {name[:20]!r}; {", ".join(TYPES)} can be read')
        self.name, self.order = name, '='

    def build(self, state: Any) -> None:
        """Version, order of bytes, and of structured types what they consist of."""
        if type(state) is not tuple or len(state) < 5 or any(part is not None for part in state[2:5]) \
                or type(state[1]) is not str or state[1] not in ('<', '>', '|', '='):
            raise Damaged('the type of its numbers is no plain one')
        self.order = state[1]

    def dtype(self) -> np.dtype:
        """numpy's type."""
        return np.dtype(self.order + self.name)


class Array(Stateful):
    """An array of numpy; a pickle tells its type, shape and bytes after it has named it, or all at once."""

    def __init__(self) -> None:
        self.dtype, self.order, self.content = np.dtype('u1'), 'C', None
        self.shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of its numbers."""
        if self.content is None:
            raise Damaged('an array has no bytes')
        return len(self.content)

    def build(self, state: Any) -> None:
        """Version, shape, type, whether the first axis runs fastest, and the bytes."""
        if type(state) is not tuple or len(state) != 5:
            raise Damaged('an array has no shape')
        _, shape, dtype, by_columns, content = state
        if type(content) is str:  # of Python 2
            content = content.encode('latin1')
        self.set(content, dtype, shape, 'F' if by_columns is True or by_columns == 1 else 'C')

    def set(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Take all that makes up an array."""
        if type(dtype) is not Dtype or type(content) not in (bytes, bytearray) or order not in ('C', 'F'):
            raise Damaged('an array does not consist of bytes of a plain type')
        self.shape, self.dtype, self.order = row(shape), dtype.dtype(), order
        if min(self.shape, default=0) < 0 or math.prod(self.shape) * self.dtype.itemsize != len(content):
            raise Damaged(f'an array of {self.shape} {self.dtype} has {len(content):,} bytes')
        self.content = content

    def view(self) -> np.ndarray:
        """The array on the bytes of the pickle."""
        return np.frombuffer(self.content, self.dtype).reshape(self.shape, order=self.order)  # type: ignore


def row(given: Any) -> tuple[int, ...]:
    """A shape, or steps, as a pickle has them: a few whole numbers."""
    if type(given) not in (tuple, list) or len(given) > MOST_AXES:
        raise Damaged('a shape is no short row of numbers')
    if any(type(size) is not int or size.bit_length() > 62 for size in given):
        raise Damaged('a shape does not consist of whole numbers')
    return tuple(given)


def _reconstruct(kind: Any, *_: Any) -> Array:
    """What numpy's pickles begin an array with."""
    if kind is not NDARRAY:
        raise Damaged('an array is of a class of its own')
    return Array()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """An array of protocol 5."""
    array = Array()
    array.set(content, dtype, shape, order)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, as Python 3 writes them in Python 2's protocols."""
    if type(text) is not str or encoding not in ('latin1', 'latin-1'):
        raise Damaged('it wants bytes in another way than as Latin-1')
    return text.encode('latin1')


NDARRAY = Class('numpy.ndarray')
# All that pickled arrays need. The names are exact, and nothing of numpy's own is among them.
NAMES: Names = {
    ('numpy', 'ndarray'): NDARRAY, ('numpy', 'dtype'): Function(Dtype),
    ('_codecs', 'encode'): Function(_encode),
    **{(f'numpy.{core}.multiarray', '_reconstruct'): Function(_reconstruct) for core in ('core', '_core')},
    **{(f'numpy.{core}.numeric', '_frombuffer'): Function(_frombuffer) for core in ('core', '_core')}}
