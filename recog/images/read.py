"""Images from files, bytes, arrays or Pillow; the size of a file's image is checked before it is decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recog.errors import ConfigError

# A header that announces more is refused before anything is decoded: a few bytes could fill the memory.
MOST_PIXELS = 64_000_000
# Pillow would start Ghostscript for EPS; only formats that it decodes by itself.
FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM')
JPEG, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
PNG = b'\x89PNG\r\n\x1a\n'
ORIENTATION = 0x0112


class Unreadable(ValueError):
    """An image that cannot be used: its name and the reason, in one line."""

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.name}: {self.reason}'


class Header(NamedTuple):
    """What a file's first bytes tell: the size, and which decoder reads such an image correctly."""

    height: int
    width: int
    decoder: str


def read_image(source: str | Path | bytes, name: str = '') -> np.ndarray:
    """A file or its bytes as uint8 BGR [H, W, 3], the first frame, upright, or `Unreadable`.

    Unlike the reference, which drops the alpha channel, what is transparent lies on white.
    """
    import cv2

    name = name or (str(source) if isinstance(source, (str, Path)) else 'image')
    data = _bytes(Path(source), name) if isinstance(source, (str, Path)) else source
    if not data:
        raise Unreadable(name, 'is empty')
    header = _header(data, name)
    if header is None:
        return _pillow(data, name)
    _check_size(header.height, header.width, name)
    if header.decoder == 'deep':
        return _deep(data, name)
    image = None
    if header.decoder == 'opencv':
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    # Where OpenCV gives up, Pillow either reads the image or knows why nobody can.
    return _pillow(data, name) if image is None else image


def image_of(value: Any) -> np.ndarray:
    """An array that is an image, as it is, or one of Pillow's images as `read_image` would read its file."""
    if isinstance(value, np.ndarray):
        is_image = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3))
        if value.dtype != np.uint8 or not is_image or not value.size:
            raise Unreadable('', f'is an array of {value.dtype} {list(value.shape)}; '
                             'uint8 [H, W, 3] (BGR), [H, W] and [H, W, 1] can be read')
        return value
    from PIL import Image

    if not isinstance(value, Image.Image):
        raise ConfigError('an image is a path, encoded bytes, an array or one of Pillow, '
                          f'not {type(value).__name__}')
    _check_size(value.height, value.width, '')
    return _shown(value, '')


def _bytes(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable(name, 'does not exist') from None
    except OSError as error:
        raise Unreadable(name, f'cannot be read ({error.strerror})') from None


def _header(data: bytes, name: str) -> Header | None:
    """The header of a JPEG or PNG; None for all else."""
    if data.startswith(JPEG):
        return _jpeg_header(data)
    return _png_header(data, name) if data.startswith(PNG) else None


def _png_header(data: bytes, name: str) -> Header:
    """What the first chunk says, once all chunks are seen: OpenCV allocates any length that one claims."""
    if len(data) >= 16 and data[8:16] != b'\0\0\0\rIHDR':
        raise Unreadable(name, 'is broken (no header)')
    place, transparent = len(PNG), False
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place:place + 4]), data[place + 4:place + 8]
        if kind == b'IEND' and not length:
            break
        transparent = transparent or kind == b'tRNS'
        place += 12 + length
    else:
        raise Unreadable(name, 'is truncated')
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour = data[24], data[25]
    if depth == 16:
        return Header(height, width, 'deep')
    return Header(height, width, 'pillow' if transparent or colour in (4, 6) else 'opencv')


def _jpeg_header(data: bytes) -> Header | None:
    """The frame header, which follows segments of known lengths."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[place + 5:place + 7])
            width = int.from_bytes(data[place + 7:place + 9])
            # OpenCV silently fills what is cut off with grey, and takes every CMYK for Adobe's inverted one.
            plain = data.endswith(JPEG_END) and data[place + 9] != 4
            return Header(height, width, 'opencv' if plain else 'pillow')
        else:
            place += 2 + int.from_bytes(data[place + 2:place + 4])
    return None


def _check_size(height: int, width: int, name: str) -> None:
    if not height or not width:
        raise Unreadable(name, f'has size zero ({width} x {height})')
    if height * width > MOST_PIXELS:
        raise Unreadable(name, f'has too many pixels ({width} x {height}, at most {MOST_PIXELS:,})')


def _pillow(data: bytes, name: str) -> np.ndarray:
    """The image by Pillow: slower, strict about what is cut off, and right about alpha, CMYK and palettes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened.height, opened.width, name)
            return _shown(opened, name)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        reason = 'is truncated' if data.startswith(JPEG) else 'is not an image'
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f'has too many pixels (at most {MOST_PIXELS:,})'
    except Exception as error:  # Broken files make Pillow's decoders raise nearly anything.
        line = str(error).partition('\n')[0]
        reason = 'is truncated' if 'truncated' in line else f'is broken ({line or type(error).__name__})'
    raise Unreadable(name, reason)


def _shown(image: Any, name: str) -> np.ndarray:
    """What one of Pillow's images shows, upright and on white: uint8 BGR [H, W, 3]."""
    from PIL import Image, ImageOps

    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ('I', 'F'):
        raise Unreadable(name, f'has pixels of 32 bits (mode {image.mode}); 8 and 16 can be read')
    if image.mode.startswith('I;16'):
        return _eight_bits(np.asarray(image))
    if image.has_transparency_data:
        white = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(white, image.convert('RGBA'))
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])


def _deep(data: bytes, name: str) -> np.ndarray:
    """A PNG of 16 bits a channel, which Pillow and OpenCV cut to its upper 8."""
    import cv2
    from PIL import Image

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise Unreadable(name, 'is broken')
    with Image.open(io.BytesIO(data), formats=('PNG',)) as opened:
        turn = opened.getexif().get(ORIENTATION, 1)
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return _eight_bits(pixels)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """16 bits [H, W] or [H, W, 3 or 4] as uint8 [H, W, 3]; a fourth channel is alpha over white."""
    levels = pixels.astype(np.float32) / 257
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, 2)
    elif levels.shape[2] == 4:
        opaque = levels[:, :, 3:] / 255
        levels = levels[:, :, :3] * opaque + 255 * (1 - opaque)
    return np.ascontiguousarray(np.rint(levels).astype(np.uint8))
