"""What a file says of its image before anything is decoded: the size, and who decodes it, in bounded time."""

import re
from typing import NamedTuple

from recog.images import pnm
from recog.images.unreadable import Unreadable

JPEG, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
PNG = b'\x89PNG\r\n\x1a\n'
# More of these than any program writes; decoders go through them one by one.
MOST_CHUNKS, MOST_MARKERS, MOST_FILLING = 50_000, 10_000, 65_536
MOST_SCANS = 100  # of a JPEG; each costs as much as the whole image, and a few bytes of the file
# Between segments libjpeg skips all but a marker. Those left out have no meaning there: stuffed and filling
# bytes, and restarts.
MARKER = re.compile(rb'\xff([^\x00\xff\xd0-\xd7])')
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PIECE = 100_000  # bytes
SCAN, END, BARE = 0xDA, 0xD9, (0x01, 0xD8)  # BARE: markers without a length


class Header(NamedTuple):
    """The size of an image, and which decoder reads such an image correctly."""

    height: int
    width: int
    decoder: str  # opencv, pillow, deep (a PNG of 16 bits) or pnm
    exif: bytes = b''  # of a PNG


def header(data: bytes, name: str) -> Header | None:
    """The header of a JPEG, PNG or PNM; None for all else."""
    if data.startswith(JPEG):
        return _jpeg(data, name)
    if data.startswith(PNG):
        return _png(data, name)
    size = pnm.size(data)
    return Header(*size, 'pnm') if size else None


def _png(data: bytes, name: str) -> Header:
    """What the first chunk says, once all chunks are seen: OpenCV allocates any length that one claims."""
    if len(data) >= 16 and data[8:16] != b'\0\0\0\rIHDR':
        raise Unreadable(name, 'is broken (no header)')
    place, transparent, exif = len(PNG), False, b''
    for _ in range(MOST_CHUNKS):
        if place + 12 > len(data):
            raise Unreadable(name, 'is truncated')
        length, kind = int.from_bytes(data[place:place + 4]), data[place + 4:place + 8]
        if kind == b'IEND' and not length:
            break
        transparent = transparent or kind == b'tRNS'
        if kind == b'eXIf':
            exif = data[place + 8:place + 8 + length]
        place += 12 + length
    else:
        raise Unreadable(name, f'is broken (more than {MOST_CHUNKS:,} chunks)')
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour = data[24], data[25]
    if depth == 16:
        return Header(height, width, 'deep', exif)
    return Header(height, width, 'pillow' if transparent or colour in (4, 6) else 'opencv')


def _jpeg(data: bytes, name: str) -> Header:
    """The frame header, once all markers are seen as libjpeg will meet them."""
    place, scans, filling, frame, ended = 2, 0, 0, b'', False
    for _ in range(MOST_MARKERS):
        found = _marker(data, place, len(data) if scans else MOST_FILLING - filling)
        if not found and not scans and len(data) - place > MOST_FILLING:
            raise Unreadable(name, f'is broken (more than {MOST_FILLING:,} filling bytes)')
        if not found:
            break
        marker = found[1][0]
        filling += 0 if scans else found.start() - place
        place = found.end()
        if marker == END:
            ended = True
            break
        if marker in BARE:
            continue
        scans += marker == SCAN
        if scans > MOST_SCANS:
            raise Unreadable(name, f'is broken (more than {MOST_SCANS} scans)')
        if marker in FRAMES and not frame:
            frame = data[place:place + 8]
        place += max(2, int.from_bytes(data[place:place + 2]))
    else:
        raise Unreadable(name, f'is broken (more than {MOST_MARKERS:,} markers)')
    if len(frame) < 8:
        raise Unreadable(name, 'is truncated')
    # OpenCV silently fills what is cut off with grey, and takes every CMYK for Adobe's inverted one.
    plain = ended and data.endswith(JPEG_END) and frame[7] != 4
    return Header(int.from_bytes(frame[3:5]), int.from_bytes(frame[5:7]), 'opencv' if plain else 'pillow')


def _marker(data: bytes, place: int, most: int) -> re.Match[bytes] | None:
    """The next marker within `most` bytes, looked for in pieces, so that other threads get their turn."""
    end = min(len(data), place + most + 2)
    for start in range(place, end, PIECE):
        found = MARKER.search(data, start, min(start + PIECE + 1, len(data)))
        if found:
            return found
    return None
