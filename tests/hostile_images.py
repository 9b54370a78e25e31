"""Files of images that cost far more to read than to send."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def encoded(picture, form, **options):
    """One of Pillow's images as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, content=b''):
    """A chunk of a PNG."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def progressive(side, scans):
    """A progressive JPEG that repeats its last scan, of some 30 bytes, until there are so many."""
    data = encoded(Image.new('RGB', (side, side)), 'jpeg', progressive=True)
    last = data[data.rindex(b'\xff\xda'):-2]
    return data[:-2] + last * (scans - data.count(b'\xff\xda')) + b'\xff\xd9'


def filled(count):
    """A JPEG whose first marker follows so many filling bytes."""
    data = encoded(Image.new('RGB', (8, 8)), 'jpeg')
    return data[:2] + b'\xff' * count + data[2:]


def marked(count):
    """A JPEG with so many empty segments."""
    data = encoded(Image.new('RGB', (8, 8)), 'jpeg')
    return data[:2] + b'\xff\xef\0\2' * count + data[2:]


def chunked(count, mode='RGB'):
    """A PNG with so many empty chunks."""
    data = encoded(Image.new(mode, (8, 8)), 'png')
    return data[:33] + chunk(b'teSt') * count + data[33:]


def profiled(height, width, bytes_of_profile=2_000_000):
    """A PNG with a colour profile that Pillow refuses for its size; OpenCV does not read it."""
    data = encoded(Image.new('RGB', (width, height), 'white'), 'png')
    return data[:33] + chunk(b'iCCP', b'name\0\0' + zlib.compress(bytes(bytes_of_profile))) + data[33:]


def dots(side, size=2):
    """Two dots far from each other, which are no symbols."""
    page = np.zeros((side, side), np.uint8)
    page[5:5 + size, 5:5 + size] = page[-5 - size:-5, -5 - size:-5] = 255
    return encoded(Image.fromarray(page), 'png')


def clouds(side):
    """A photograph of nothing: soft noise, which has no paper and no ink."""
    noise = np.random.default_rng(0).integers(0, 256, (side // 20, side // 20), np.uint8)
    return encoded(Image.fromarray(cv2.resize(noise, (side, side))), 'jpeg', quality=30)


def blank(side):
    """A white page, of a bit for each pixel."""
    return encoded(Image.new('1', (side, side), 1), 'png', compress_level=9)


def deep(side):
    """A PNG of 16 bits and four channels."""
    return cv2.imencode('.png', np.zeros((side, side, 4), np.uint16))[1].tobytes()


def commented(count):
    """A plain PPM with comments where its numbers should be."""
    return b'P3 1000 500 255\n' + b'#\n' * count


def odd_white(side):
    """A PGM whose white is not 255."""
    return b'P5 %d %d 100\n' % (side, side) + bytes(side * side)


def blocks(count):
    """A GIF with so many empty comments before its image."""
    data = encoded(Image.new('P', (8, 8)), 'gif')
    place = data.index(b',')
    return data[:place] + b'!\xfe\x01a\0' * count + data[place:]


def strips(rows):
    """A TIFF of one column, with a strip for each row."""
    count, offsets = rows, 8 + 2 + 9 * 12 + 4
    entries = [(256, 4, 1, 1), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, count, offsets), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, offsets + 4 * count)]
    head = b'II*\0' + struct.pack('<IH', 8, len(entries))
    body = b''.join(struct.pack('<HHII', *entry) for entry in entries) + b'\0\0\0\0'
    return head + body + struct.pack('<I', 0) * count + struct.pack('<I', 1) * count


def runs(side):
    """A BMP in runs of one pixel, which Pillow reads in Python."""
    pixels = b'\1\0' * (side * side) + b'\0\1'
    head = struct.pack('<IiiHHIIiiII', 40, side, side, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    start = struct.pack('<IHHI', 54 + 1024 + len(pixels), 0, 0, 54 + 1024)
    return b'BM' + start + head + bytes(1024) + pixels
