"""Images from files, bytes, arrays or Pillow; the size of a file's image is checked before it is decoded."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np

from recog.errors import ConfigError
from recog.images import header, pnm
from recog.images.bands import banded
from recog.images.unreadable import Unreadable

# A header that announces more is refused before anything is decoded: a few bytes could fill the memory.
MOST_PIXELS = 64_000_000
MOST_BYTES = 1_000_000_000  # of a file
MOST_PARTS = 65_536  # strips or tiles of a TIFF, which Pillow decodes one by one
# Pillow would start Ghostscript for EPS; only formats that it decodes by itself.
PILLOW = ('JPEG', 'PNG', 'GIF', 'BMP', 'TIFF', 'WEBP')
FORMATS = (*PILLOW, 'PPM')
LARGE = 4_000_000  # pixels; larger images are decoded one at a time, for the memory that it takes
ORIENTATION = 0x0112
TOO_MANY, NO_IMAGE = 'has too many pixels', 'is not an image'

_ONE_LARGE = threading.RLock()


def image_size(data: bytes, name: str = '') -> tuple[int, int] | None:
    """Height and width that a file announces; None where nobody can tell without decoding."""
    found = header.header(data, name)
    if found:
        return found.height, found.width
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=PILLOW) as opened:
            return opened.height, opened.width
    except UnidentifiedImageError:
        raise Unreadable(name, NO_IMAGE) from None
    except Exception:  # broken files make Pillow raise nearly anything; decoding says what is wrong
        return None


def read_image(source: str | Path | bytes, name: str = '', most: int = 0) -> np.ndarray:
    """A file or its bytes as uint8 BGR [H, W, 3], the first frame, upright, or `Unreadable`.

    `most` is how many pixels it may have (`MOST_PIXELS`). Unlike the reference, which drops the alpha
    channel, what is transparent lies on white.
    """
    import cv2

    name, most = name or (str(source) if isinstance(source, (str, Path)) else 'image'), most or MOST_PIXELS
    data = _bytes(Path(source), name) if isinstance(source, (str, Path)) else source
    if not data:
        raise Unreadable(name, 'is empty')
    found = header.header(data, name)
    if found is None:
        return _pillow(data, name, most)
    check_size(found.height, found.width, name, most)
    with _turn(found.height, found.width):
        if found.decoder == 'pnm':
            return pnm.read(data, name)
        if found.decoder == 'deep':
            return _deep(data, name, found.exif)
        image = None
        if found.decoder == 'opencv':
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        # Where OpenCV gives up, Pillow either reads the image or knows why nobody can.
        return _pillow(data, name, most) if image is None else image


def image_of(value: Any, channels: str = 'bgr') -> np.ndarray:
    """An array that is an image, in BGR, or one of Pillow's images as `read_image` would read its file.

    `channels` is the order of the array's own: bgr or rgb.
    """
    if isinstance(value, np.ndarray):
        is_image = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3))
        if value.dtype != np.uint8 or not is_image or not value.size:
            raise Unreadable('', f'is an array of {value.dtype} {list(value.shape)}; '
                             f'uint8 [H, W, 3] ({channels.upper()}), [H, W] and [H, W, 1] can be read')
        return np.ascontiguousarray(value[..., ::-1]) if channels == 'rgb' and value.ndim == 3 else value
    from PIL import Image

    if not isinstance(value, Image.Image):
        raise ConfigError('an image is a path, encoded bytes, an array or one of Pillow, '
                          f'not {type(value).__name__}')
    check_size(value.height, value.width, '')
    return _shown(value, '')


def _bytes(path: Path, name: str) -> bytes:
    """A regular file; one that never ends, or gives nothing until someone writes to it, is refused."""
    try:
        with open(path, 'rb', opener=_without_waiting) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise Unreadable(name, 'is no regular file')
            if facts.st_size > MOST_BYTES:
                raise Unreadable(name, f'is too large ({facts.st_size:,} bytes, at most {MOST_BYTES:,})')
            return file.read()
    except FileNotFoundError:
        raise Unreadable(name, 'does not exist') from None
    except OSError as error:
        raise Unreadable(name, f'cannot be read ({error.strerror})') from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def check_size(height: int, width: int, name: str, most: int = 0) -> None:
    """Refuse an image without pixels, or with too many."""
    most = most or MOST_PIXELS
    if not height or not width:
        raise Unreadable(name, f'has size zero ({width} x {height})')
    if height * width > most:
        raise Unreadable(name, f'{TOO_MANY} ({width} x {height}, at most {most:,})')


def _turn(height: int, width: int) -> contextlib.AbstractContextManager:
    return _ONE_LARGE if height * width > LARGE else contextlib.nullcontext()


def _pillow(data: bytes, name: str, most: int) -> np.ndarray:
    """The image by Pillow: slower, strict about what is cut off, and right about alpha, CMYK and palettes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=PILLOW) as opened:
            check_size(opened.height, opened.width, name, most)
            if len(opened.tile) > MOST_PARTS:
                raise Unreadable(name, f'is broken (more than {MOST_PARTS:,} strips or tiles)')
            with _turn(opened.height, opened.width):
                return _shown(opened, name)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        reason = 'is truncated' if data.startswith(header.JPEG) else NO_IMAGE
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f'{TOO_MANY} (at most {most:,})'
    except Exception as error:  # Broken files make Pillow's decoders raise nearly anything.
        line = str(error).partition('\n')[0]
        reason = 'is truncated' if 'truncated' in line else f'is broken ({line or type(error).__name__})'
    raise Unreadable(name, reason)


def _shown(image: Any, name: str) -> np.ndarray:
    """What one of Pillow's images shows, upright and on white: uint8 BGR [H, W, 3]."""
    image.load()
    if image.mode in ('I', 'F'):
        raise Unreadable(name, f'has pixels of 32 bits (mode {image.mode}); 8 and 16 can be read')

    def rows(top: int, bottom: int) -> np.ndarray:
        return _on_white(image.crop((0, top, image.width, bottom)))
    return _upright(banded(image.height, image.width, rows), image.getexif())


def _on_white(image: Any) -> np.ndarray:
    from PIL import Image

    if image.mode.startswith('I;16'):
        return _eight_bits(np.asarray(image))
    if image.has_transparency_data:
        white = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(white, image.convert('RGBA'))
    return np.asarray(image.convert('RGB'))[:, :, ::-1]


def _deep(data: bytes, name: str, exif: bytes) -> np.ndarray:
    """A PNG of 16 bits a channel, which Pillow and OpenCV cut to its upper 8."""
    import cv2
    from PIL import Image

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise Unreadable(name, 'is broken')
    facts = Image.Exif()
    try:
        facts.load(b'Exif\0\0' + exif if exif else b'')
    except Exception:  # as of `_pillow`
        raise Unreadable(name, 'is broken (EXIF)') from None
    height, width = pixels.shape[:2]
    return _upright(banded(height, width, lambda top, bottom: _eight_bits(pixels[top:bottom])), facts)


def _upright(pixels: np.ndarray, exif: Any) -> np.ndarray:
    """The image turned and mirrored as its EXIF says."""
    turn = exif.get(ORIENTATION, 1)
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """16 bits [H, W] or [H, W, 3 or 4] as uint8 [H, W, 3]; a fourth channel is alpha over white."""
    levels = pixels.astype(np.float32) / 257
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, 2)
    elif levels.shape[2] == 4:
        opaque = levels[:, :, 3:] / 255
        levels = levels[:, :, :3] * opaque + 255 * (1 - opaque)
    return np.rint(levels).astype(np.uint8)
