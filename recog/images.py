"""The only place that reads, resizes, pads and normalises images.

The host's half (numpy, OpenCV) leaves uint8; `normalise` is the device's half, the only function here that needs jax.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# Headers that promise more are refused before anything is decoded: a few bytes could otherwise fill the memory.
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
    """What the first bytes say: the size, and the decoder that reads such an image rightly."""

    height: int
    width: int
    decoder: str


def read(source: str | Path | bytes, name: str = '') -> np.ndarray:
    """A file or its bytes as uint8 BGR [H, W, 3], the first frame, upright; `Unreadable` says what is wrong with it.

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
    """What the first chunk says, once all are there: OpenCV would allocate whatever length a damaged one claims."""
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
    """The frame header, which stands behind segments of known lengths."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(data[place + 5:place + 7]), int.from_bytes(data[place + 7:place + 9])
            # OpenCV fills what is cut off with grey, in silence; and takes every CMYK for Adobe's inverted one.
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened.height, opened.width, name)
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if image.mode in ('I', 'F'):
                raise Unreadable(name, f'has pixels of 32 bits (mode {image.mode}); 8 and 16 can be read')
            if image.mode.startswith('I;16'):
                return _eight_bits(np.asarray(image))
            if image.has_transparency_data:
                white = Image.new('RGBA', image.size, 'white')
                image = Image.alpha_composite(white, image.convert('RGBA'))
            return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])
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
    """16 bits [H, W] or [H, W, 3 or 4] to uint8 [H, W, 3], the fourth channel being alpha over white."""
    levels = pixels.astype(np.float32) / 257
    if levels.ndim == 2:
        levels = np.repeat(levels[:, :, None], 3, 2)
    elif levels.shape[2] == 4:
        opaque = levels[:, :, 3:] / 255
        levels = levels[:, :, :3] * opaque + 255 * (1 - opaque)
    return np.ascontiguousarray(np.rint(levels).astype(np.uint8))


def fit(image: np.ndarray, rule: ConfigDict) -> tuple[np.ndarray, tuple[int, int]]:
    """[H, W, 3], [H, W, 1] or [H, W] as uint8 [height, width, C] for `config.image`, and the size of what is image."""
    out = np.zeros((rule.height, rule.width, channels(rule)), np.uint8)
    return out, _fit_into(image, rule.fit, rule.channels, _ground(rule), out)


def fit_batch(images: Sequence[np.ndarray | None], rule: ConfigDict, height: int | None = None,
              width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images on canvases of height x width, or the rule's: uint8 [B, H, W, C] and sizes int32 [B, 2]; None leaves zeros."""
    out = np.zeros((len(images), height or rule.height, width or rule.width, channels(rule)), np.uint8)
    size = np.zeros((len(images), 2), np.int32)
    form, order, ground = rule.fit, rule.channels, _ground(rule)  # asking a ConfigDict is slow
    for row, image in enumerate(images):
        if image is not None:
            size[row] = _fit_into(image, form, order, ground, out[row])
    return out, size


def shrunk(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The image made to fit height x width, its ratio kept, and the share of its size that is left."""
    import cv2

    share = min(height / image.shape[0], width / image.shape[1], 1.0)
    size = max(1, int(image.shape[1] * share)), max(1, int(image.shape[0] * share))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), share


def prediction_width(images: Sequence[np.ndarray], rule: ConfigDict) -> int:
    """The width at which the reference predicts a batch: height x the widest ratio, at least the rule's own width."""
    widest = max((image.shape[1] / image.shape[0] for image in images), default=0.0)
    return max(rule.width, int(rule.height * widest))


def channels(rule: ConfigDict) -> int:
    """How many channels `config.image` asks for."""
    return 1 if rule.channels == 'grey' else 3


def _ground(rule: ConfigDict) -> int:
    """The grey of the paper around a thumbnail."""
    return 0 if rule.ink == 'light' else 255


def _thumbnail(image: np.ndarray, ground: int, out: np.ndarray) -> None:
    """The image in grey, made smaller if it has to be, in the middle of the canvas, as Pillow computes it."""
    from PIL import Image

    rgb = image[:, :, ::-1] if image.ndim == 3 and image.shape[2] == 3 else image.reshape(image.shape[:2])
    picture = Image.fromarray(np.ascontiguousarray(rgb)).convert('L')
    picture.thumbnail((out.shape[1], out.shape[0]), Image.Resampling.LANCZOS)
    top, left = (out.shape[0] - picture.height) // 2, (out.shape[1] - picture.width) // 2
    out[...] = ground
    out[top:top + picture.height, left:left + picture.width] = np.asarray(picture)[:, :, None]


def _fit_into(image: np.ndarray, form: str, order: str, ground: int, out: np.ndarray) -> tuple[int, int]:
    import cv2

    height, width = out.shape[:2]
    if form == 'thumbnail':
        _thumbnail(image, ground, out)
        return height, width
    if form == 'pad':
        width = min(width, math.ceil(height * (image.shape[1] / image.shape[0])))
    elif form == 'steps':
        width = min(width, height * math.ceil(image.shape[1] / image.shape[0]))
    elif form == 'none':
        height, width = image.shape[:2]
    place = out[:height, :width]
    if order == 'bgr' and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        cv2.resize(image, (width, height), place, interpolation=cv2.INTER_LINEAR)
        return height, width
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if resized.ndim == 2:
        resized = resized[:, :, None]
    elif order == 'rgb':
        resized = resized[:, :, ::-1]
    elif order == 'grey':
        resized = cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY)[:, :, None]
    place[...] = resized
    return height, width


def normalise(image: Any, size: Any, rule: ConfigDict) -> Any:
    """uint8 [B, H, W, C] and size [B, 2] to float32 (x / scale - mean) / std, `padding` outside `size`; floats stay."""
    import jax.numpy as jnp

    if jnp.issubdtype(image.dtype, jnp.floating):
        return jnp.asarray(image, jnp.float32)
    # A table of the 256 values: XLA divides by a constant through its reciprocal, so arithmetic would differ in the
    # last bit from numpy, from another backend and from another fusion. On CPU it is also the faster way.
    levels = np.arange(256, dtype=np.float32)[:, None] / np.float32(rule.scale)
    table = (levels - np.asarray(rule.mean, np.float32)) / np.asarray(rule.std, np.float32)
    table = np.broadcast_to(table, (256, image.shape[3]))
    places = image.astype(jnp.int32) * table.shape[1] + np.arange(table.shape[1], dtype=np.int32)
    values = jnp.take(jnp.asarray(table.reshape(-1)), places, mode='clip')
    rows = jnp.arange(image.shape[1])[:, None, None] < size[:, 0, None, None, None]
    columns = jnp.arange(image.shape[2])[:, None] < size[:, 1, None, None, None]
    return jnp.where(rows & columns, values, jnp.float32(rule.padding))
