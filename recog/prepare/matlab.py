"""Files of MATLAB 5 to 7: numbers, text, cells and structs, checked against the bytes that are there.

scipy's reader believes what a file says, and dies of some. Matrices are looked into when they are asked for.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

HEADER, HDF5 = 128, b'\x89HDF\r\n\x1a\n'
MATRIX, COMPRESSED = 14, 15  # kinds of elements
CELL, STRUCT, CHAR = 1, 2, 4  # classes of matrices
NUMBERS = range(6, 16)
TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
LETTERS = {1: 'latin-1', 2: 'latin-1', 16: 'utf-8', 4: 'utf-16', 17: 'utf-16', 18: 'utf-32'}
MOST_AXES, MOST_PARTS, LONGEST_NAME = 32, 1 << 40, 64
LARGEST = 1 << 30  # bytes of a variable
FACTOR, ROOM = 50, 1 << 26  # a variable may unfold to so many times its bytes, and so many more
PIECE = 1 << 16
HEAD = 512  # bytes in which a variable's name stands


class Damaged(ValueError):
    """A file that contradicts itself, or that holds what no annotation needs."""


class Matrix:
    """A matrix: its class, its size, and its content, which is not looked at yet."""

    def __init__(self, data: memoryview, order: str):
        self.order, self.kind, self.size = order, NUMBERS[0], (0, 0)
        self.name, self.content = '', data[:0]
        if not data:
            return  # an empty one
        _, flags, place = _element(data, 0, order)
        if len(flags) != 8:
            raise Damaged('a matrix has no class')
        self.kind = flags[0 if order == '<' else 3]
        kind, sizes, place = _element(data, place, order)
        if kind not in (5, 6) or not 8 <= len(sizes) <= 4 * MOST_AXES or len(sizes) % 4:
            raise Damaged('a matrix has no size')
        self.size = struct.unpack(f'{order}{len(sizes) // 4}i', sizes)
        if min(self.size) < 0 or math.prod(max(side, 1) for side in self.size) > MOST_PARTS:
            raise Damaged(f'a matrix has the size {self.size}')
        _, name, place = _element(data, place, order)
        if len(name) > LONGEST_NAME:
            raise Damaged('a name is too long')
        self.name, self.content = bytes(name).decode('latin-1'), data[place:]

    def __len__(self) -> int:
        return math.prod(self.size)

    def numbers(self) -> np.ndarray:
        """Real numbers, of the type in which they stand in the file."""
        if self.kind not in NUMBERS:
            raise Damaged(f'text or numbers are wanted, not class {self.kind}')
        if not len(self):
            return np.zeros(self.size)
        kind, content, _ = _element(self.content, 0, self.order)
        if kind not in TYPES:
            raise Damaged(f'numbers are of type {kind}')
        form = np.dtype(self.order + TYPES[kind])
        if len(content) != form.itemsize * len(self):
            raise Damaged(f'{self.size} numbers have {len(content):,} bytes')
        return np.frombuffer(content, form).reshape(self.size, order='F')

    def lines(self) -> list[str]:
        """The rows of a matrix of characters, without what pads them to one length with zeros."""
        if not len(self):
            return []
        if self.kind != CHAR or len(self.size) != 2:
            raise Damaged(f'text is wanted, not class {self.kind}')
        kind, content, _ = _element(self.content, 0, self.order)
        form = LETTERS.get(kind)
        if not form:
            raise Damaged(f'characters are of type {kind}')
        if form[-1] != '8' and form != 'latin-1':
            form += '-le' if self.order == '<' else '-be'
        try:
            text = bytes(content).decode(form, 'strict' if form == 'latin-1' else 'surrogatepass')
        except UnicodeDecodeError as error:
            raise Damaged(f'characters are no {form}: {error.reason}') from None
        if len(text) != len(self):
            raise Damaged(f'{self.size} characters have {len(text):,}')
        return [text[row::self.size[0]].rstrip('\0') for row in range(self.size[0])]

    def cells(self) -> Iterator['Matrix']:
        """The matrices in cells, column by column."""
        if self.kind != CELL:
            raise Damaged(f'cells are wanted, not class {self.kind}')
        return self._parts(0, len(self))

    def records(self) -> Iterator[dict[str, 'Matrix']]:
        """The fields of structs by their names."""
        if self.kind != STRUCT:
            raise Damaged(f'structs are wanted, not class {self.kind}')
        _, length, place = _element(self.content, 0, self.order)
        _, names, place = _element(self.content, place, self.order)
        each = int.from_bytes(length, 'little' if self.order == '<' else 'big')
        if not 0 < each <= LONGEST_NAME or not names or len(names) % each:
            raise Damaged('the fields of a struct have no names')
        fields = [bytes(names[start:start + each]).partition(b'\0')[0].decode('latin-1')
                  for start in range(0, len(names), each)]
        parts = self._parts(place, len(self) * len(fields))
        return (dict(zip(fields, values, strict=True)) for values in zip(*[parts] * len(fields), strict=True))

    def _parts(self, place: int, count: int) -> Iterator['Matrix']:
        if count > (len(self.content) - place) // 8:
            raise Damaged(f'{count:,} matrices have {len(self.content) - place:,} bytes')
        for _ in range(count):
            kind, content, place = _element(self.content, place, self.order)
            if kind != MATRIX:
                raise Damaged(f'an element of kind {kind} is no matrix')
            yield Matrix(content, self.order)


def variable(file: IO[bytes], name: str) -> Matrix | None:
    """One variable of a file, None if it holds no such; the others are skipped."""
    file.seek(0)
    header = file.read(HEADER)
    if header.startswith(HDF5) or header[124:126] == b'\0\2':
        raise Damaged('it is of MATLAB 7.3 (HDF5): save it with -v7')
    order = {b'IM': '<', b'MI': '>'}.get(header[126:])
    if not order:
        raise Damaged('it is no file of MATLAB 5 to 7')
    place = HEADER
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f'{order}2I', tag)
        if kind not in (MATRIX, COMPRESSED):
            raise Damaged(f'an element of kind {kind} is no matrix')
        pieces = _pieces(file, kind == COMPRESSED, size)
        content = bytearray()
        _gather(content, pieces, HEAD)
        if _name(content, order, kind) == name:
            most = min(LARGEST, FACTOR * size + ROOM)
            _gather(content, pieces, most + 1)
            if len(content) > most:
                raise Damaged(f'{name} unfolds to more than {most:,} bytes')
            return Matrix(_matrix(memoryview(content), order, kind), order)
        place += 8 + size
        file.seek(place)
    return None


def _pieces(file: IO[bytes], compressed: bool, left: int) -> Iterator[bytes]:
    """The content of a variable, unpacked."""
    unpacker = zlib.decompressobj() if compressed else None
    while left:
        piece = file.read(min(left, PIECE))
        if not piece:
            raise Damaged('it is cut off')
        left -= len(piece)
        try:
            yield unpacker.decompress(piece) if unpacker else piece
        except zlib.error as error:
            raise Damaged(f'a matrix is damaged: {error}') from None
    if unpacker and not unpacker.eof:
        raise Damaged('a matrix is cut off')


def _gather(content: bytearray, pieces: Iterator[bytes], most: int) -> None:
    """Add pieces until there are so many bytes."""
    while len(content) < most and (piece := next(pieces, None)) is not None:
        content += piece


def _matrix(content: memoryview, order: str, kind: int) -> memoryview:
    """The bytes of a variable's matrix; what was compressed begins with its kind and size."""
    if kind == MATRIX:
        return content
    found, inner, _ = _element(content, 0, order)
    if found != MATRIX:
        raise Damaged(f'an element of kind {found} is no matrix')
    return inner


def _name(head: bytearray, order: str, kind: int) -> str:
    """The name of a variable; '' where it stands elsewhere, as that of objects."""
    try:
        return Matrix(memoryview(bytes(head[0 if kind == MATRIX else 8:])), order).name
    except Damaged:
        return ''


def _element(data: memoryview, place: int, order: str) -> tuple[int, memoryview, int]:
    """Kind and content of the element at this place, and the place of the next."""
    if len(data) - place < 8:
        raise Damaged('an element is cut off')
    kind, size = struct.unpack_from(f'{order}2I', data, place)
    if kind >> 16:  # a small one, in eight bytes
        kind, size = kind & 0xffff, kind >> 16
        start, after = place + 4, place + 8
        if size > 4:
            raise Damaged('a small element has too many bytes')
    else:
        start, after = place + 8, place + 8 + size + -size % 8
    if start + size > len(data):
        raise Damaged('an element is cut off')
    return kind, data[start:start + size], after
