"""PBM, PGM and PPM files (PNM), read with numpy: Pillow reads most of them a pixel at a time, in Python."""

import re

import numpy as np

from recog.images.bands import banded
from recog.images.unreadable import Unreadable

LONGEST = 65_536  # bytes of a header, which may hold comments
GAP = rb'(?:\s|#[^\r\n]*[\r\n])+'
NUMBER = GAP + rb'(\d{1,9})'
# Plain or raw bits; the others also say what value is white. One blank ends a header.
HEADER = re.compile(rb'P(?:([14])' + NUMBER * 2 + rb'|([2356])' + NUMBER * 3 + rb')\s')
COLOURED, PLAIN = (3, 6), (1, 2, 3)
BLANK, PIECE = re.compile(rb'\s'), 100_000  # bytes of digits at a time, so that other threads get their turn


class _Header:
    """The numbers in a header: the form (the digit after P), size, white, and where the pixels begin."""

    def __init__(self, found: re.Match[bytes]):
        self.form, self.width, self.height, *white = (int(each) for each in found.groups() if each)
        self.white, self.start = (white or [1])[0], found.end()
        self.channels = 3 if self.form in COLOURED else 1


def size(data: bytes) -> tuple[int, int] | None:
    """Height and width, or None where this is no PNM."""
    found = HEADER.match(data, 0, LONGEST)
    return (_Header(found).height, _Header(found).width) if found else None


def read(data: bytes, name: str) -> np.ndarray:
    """The image, uint8 BGR [H, W, 3]; `data` has a size."""
    found = HEADER.match(data, 0, LONGEST)
    assert found
    header = _Header(found)
    if not 0 < header.white < 65_536:
        raise Unreadable(name, f'is broken (white is {header.white})')
    try:
        values = _plain(data, header) if header.form in PLAIN else _raw(data, header)
    except ValueError as error:
        raise Unreadable(name, f'is {error}') from None
    levels = np.rint(np.arange(header.white + 1) * (255 / header.white)).astype(np.uint8)
    if header.form in (1, 4):
        levels = levels[::-1]  # ink is 1
    values = values.reshape(header.height, header.width, header.channels)
    return banded(header.height, header.width, lambda top, bottom:
                  levels.take(values[top:bottom, :, ::-1], mode='clip'))


def _raw(data: bytes, header: _Header) -> np.ndarray:
    """The numbers of a file in binary."""
    if header.form == 4:
        stride = -(-header.width // 8)
        rows = _bytes(data, header, 'u1', header.height * stride).reshape(header.height, stride)
        return np.unpackbits(rows, axis=1, count=header.width)
    kind = 'u1' if header.white < 256 else '>u2'
    return _bytes(data, header, kind, header.height * header.width * header.channels)


def _bytes(data: bytes, header: _Header, kind: str, count: int) -> np.ndarray:
    if len(data) - header.start < count * np.dtype(kind).itemsize:
        raise ValueError('truncated')
    return np.frombuffer(data, kind, count, header.start)


def _plain(data: bytes, header: _Header) -> np.ndarray:
    """The numbers of a file in digits; bits need no blanks between them."""
    count = header.height * header.width * header.channels
    parts, place = [np.zeros(0, np.int32)], header.start
    while place < len(data) and sum(map(len, parts)) < count:
        end = BLANK.search(data, place + PIECE)
        stop = end.start() if end else len(data)
        parts.append(_numbers(data[place:stop], header.form == 1))
        place = stop
    values = np.concatenate(parts)[:count]
    if len(values) < count:
        raise ValueError('truncated')
    return values


def _numbers(text: bytes, bits: bool) -> np.ndarray:
    if re.search(rb'[^01\s]' if bits else rb'[^\d\s]|\d{6}', text):
        raise ValueError('broken (no number)')
    if bits:
        return np.frombuffer(text.translate(None, b' \t\r\n\v\f'), np.uint8) - ord('0')
    return np.fromstring(text, np.int32, sep=' ') if text.strip() else np.zeros(0, np.int32)
