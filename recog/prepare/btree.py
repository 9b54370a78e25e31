"""An LMDB's file, read page by page: a key's value, checked against the bytes that are there.

LMDB itself maps the file and believes it: of a damaged page it dies, and takes the process with it.
"""

import os
import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from recog.prepare import regular

MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # kinds of pages
LARGE = 1  # a value that has pages of its own
KINDS = 0xf
HEAD = 16  # bytes before what a page holds
EMPTY = (1 << 64) - 1
SIZES = (512, 32_768)  # least and largest page
LONGEST_KEY = 511
META_SIZE = 152
DEEPEST = 32
KEPT = 16  # pages that are kept, as the next key is near


class Damaged(ValueError):
    """A file that contradicts itself."""


class _Meta(NamedTuple):
    page_size: int
    entries: int
    root: int
    last: int
    written: int


class _Page(NamedTuple):
    """The keys of a page, and where in it the node of each stands."""

    kind: int
    data: bytes
    keys: list[bytes]
    places: tuple[int, ...]


class Database:
    """The main table of an LMDB."""

    def __init__(self, file: Path):
        self.file = regular.opened(file)
        try:
            self.size = os.fstat(self.file.fileno()).st_size
            first = _meta(self._bytes(0, META_SIZE))
            second = _meta(self._bytes(first.page_size, META_SIZE))
            self.meta = max(first, second, key=lambda meta: meta.written)
            self.needed = (self.meta.last + 1) * self.meta.page_size
        except BaseException:
            self.close()
            raise
        self._kept: OrderedDict[int, _Page] = OrderedDict()

    def __enter__(self) -> 'Database':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __len__(self) -> int:
        return self.meta.entries

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is no such key."""
        number = self.meta.root
        if number == EMPTY:
            return None
        for _ in range(DEEPEST):
            page = self._page(number)
            if page.kind == LEAF:
                place = bisect_left(page.keys, key)
                there = place < len(page.keys) and page.keys[place] == key
                return self._value(page, page.places[place]) if there else None
            # The first key of a branch stands for all that is smaller than the second.
            place = max(bisect_right(page.keys, key, 1) - 1, 0)
            low, high, top = struct.unpack_from('<3H', page.data, page.places[place])
            number = low | high << 16 | top << 32
        raise Damaged('its pages are in a circle')

    def _value(self, page: _Page, place: int) -> bytes:
        low, high, flags, length = struct.unpack_from('<4H', page.data, place)
        start, size = place + 8 + length, low | high << 16
        if flags & ~LARGE:
            raise Damaged('a value is a table of its own')
        if size > regular.MOST:
            raise Damaged(f'a value has {size:,} bytes, at most {regular.MOST:,} are read')
        if not flags:
            if start + size > len(page.data):
                raise Damaged('a value is cut off')
            return page.data[start:start + size]
        if start + 8 > len(page.data):
            raise Damaged('a value is cut off')
        number, = struct.unpack_from('<Q', page.data, start)
        head = self._head(number)
        if head[1] != OVERFLOW:
            raise Damaged(f'page {number:,} is of another kind')
        return self._bytes(number * self.meta.page_size + HEAD, size)

    def _page(self, number: int) -> _Page:
        """A page of keys; the last ones are kept."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        found, kind, lower = self._head(number)
        if found != number or kind not in (BRANCH, LEAF):
            raise Damaged(f'page {number:,} is of another kind')
        data = self._bytes(number * self.meta.page_size, self.meta.page_size)
        if not HEAD <= lower <= len(data) or (kind == BRANCH and lower < HEAD + 4):
            raise Damaged(f'page {number:,} is broken')
        places = struct.unpack_from(f'<{(lower - HEAD) // 2}H', data, HEAD)
        keys = [_key(data, place) for place in places]
        page = self._kept[number] = _Page(kind, data, keys, places)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return page

    def _head(self, number: int) -> tuple[int, int, int]:
        """What a page says: its number, its kind, and where its list of nodes ends."""
        if not 2 <= number <= self.meta.last:
            raise Damaged(f'there is no page {number:,}')
        found, _, flags, lower, _ = struct.unpack('<Q4H', self._bytes(number * self.meta.page_size, HEAD))
        return found, flags & KINDS, lower

    def _bytes(self, start: int, count: int) -> bytes:
        found = os.pread(self.file.fileno(), count, start) if start + count <= self.size else b''
        if len(found) < count:
            raise Damaged('it is cut off')
        return found


def _key(data: bytes, place: int) -> bytes:
    """The key of a node."""
    if place + 8 > len(data):
        raise Damaged('a key is cut off')
    length, = struct.unpack_from('<H', data, place + 6)
    if length > LONGEST_KEY or place + 8 + length > len(data):
        raise Damaged('a key is cut off')
    return data[place + 8:place + 8 + length]


def _meta(data: bytes) -> _Meta:
    """What one of the first two pages says of the file."""
    magic, version = struct.unpack_from('<2I', data, HEAD)
    if magic != MAGIC or version != VERSION:
        raise Damaged('it does not begin as an LMDB of version 1')
    page_size, = struct.unpack_from('<I', data, HEAD + 24)
    # Two tables of 48 bytes: of free pages, and the main one, of which the last two numbers are needed.
    flags, = struct.unpack_from('<H', data, HEAD + 24 + 48 + 4)
    entries, root, last, written = struct.unpack_from('<4Q', data, HEAD + 24 + 48 + 32)
    if not SIZES[0] <= page_size <= SIZES[1] or page_size & (page_size - 1) or flags:
        raise Damaged('its first pages are broken')
    return _Meta(page_size, entries, root, last, written)
