"""Images resized, padded and normalised, in training, evaluation and prediction alike.

The host's half (numpy, OpenCV) gives uint8; `normalise`, the devices' half, is the only function with JAX.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ml_collections import ConfigDict


WIDEST = 100  # times its height that an image keeps of its width where batches are as wide as their images


def fit_image(image: np.ndarray, rule: ConfigDict) -> tuple[np.ndarray, tuple[int, int]]:
    """[H, W, 3], [H, W, 1] or [H, W] on a canvas, uint8 [height, width, C], and the image's size there."""
    out = np.zeros((rule.height, rule.width, channels(rule)), np.uint8)
    return out, _fit_into(image, rule.fit, rule.channels, _ground(rule), rule.resample, out)


def fit_batch(images: Sequence[np.ndarray | None], rule: ConfigDict, height: int | None = None,
              width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images on canvases: uint8 [B, H, W, C] and sizes int32 [B, 2]; None leaves zeros.

    Canvases have the height and width of the rule, which is `config.image`, unless others are given.
    """
    out = Canvases(len(images), rule, height, width)
    for row, image in enumerate(images):
        if image is not None:
            out.put(row, image)
    return out.image, out.size


class Canvases:
    """A batch whose images are put in one by one, so that no two of them need to be in memory.

    `image` is uint8 [B, H, W, C], `size` int32 [B, 2]; both are zero where there is no image.
    """

    def __init__(self, count: int, rule: ConfigDict, height: int | None = None, width: int | None = None):
        shape = (count, height or rule.height, width or rule.width, channels(rule))
        self.image, self.size = np.zeros(shape, np.uint8), np.zeros((count, 2), np.int32)
        # Asking a ConfigDict is slow.
        self._how = rule.fit, rule.channels, _ground(rule), rule.resample

    def put(self, row: int, image: np.ndarray) -> None:
        """Fit an image onto one of the canvases."""
        self.size[row] = _fit_into(image, *self._how, self.image[row])


def shrunk(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The image shrunk to fit height x width, its ratio kept, and the share of its size that is left."""
    import cv2

    share = min(height / image.shape[0], width / image.shape[1], 1.0)
    size = max(1, int(image.shape[1] * share)), max(1, int(image.shape[0] * share))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), share


def prediction_width(images: Iterable[np.ndarray], rule: ConfigDict) -> int:
    """The width at which the reference predicts a batch: height x widest ratio, at least the rule's width.

    What is wider than any line of text is squeezed: a file of some kilobytes may be millions wide.
    """
    widest = max((image.shape[1] / image.shape[0] for image in images), default=0.0)
    return max(rule.width, int(rule.height * min(widest, WIDEST)))


def channels(rule: ConfigDict) -> int:
    """How many channels `config.image` asks for."""
    return 1 if rule.channels == 'grey' else 3


def _ground(rule: ConfigDict) -> int:
    """The grey level of the paper around a thumbnail."""
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


def _resized(image: np.ndarray, width: int, height: int, resample: str) -> np.ndarray:
    import cv2

    if resample == 'bilinear':
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    from PIL import Image

    plain = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(plain))  # each channel by itself, whatever their order
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _fit_into(image: np.ndarray, form: str, order: str, ground: int, resample: str,
              out: np.ndarray) -> tuple[int, int]:
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
    if resample == 'bilinear' and order == 'bgr' and image.ndim == 3 and image.shape[2] == 3 \
            and image.dtype == np.uint8:
        cv2.resize(image, (width, height), place, interpolation=cv2.INTER_LINEAR)
        return height, width
    resized = _resized(image, width, height, resample)
    if resized.ndim == 2:
        resized = resized[:, :, None]
    elif order == 'rgb':
        resized = resized[:, :, ::-1]
    elif order == 'grey':
        resized = cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY)[:, :, None]
    place[...] = resized
    return height, width


def normalise(image: Any, size: Any, rule: ConfigDict) -> Any:
    """uint8 [B, H, W, C] to float32 (x / scale - mean) / std, `padding` beyond `size` [B, 2]; floats stay."""
    import jax.numpy as jnp

    if jnp.issubdtype(image.dtype, jnp.floating):
        return jnp.asarray(image, jnp.float32)
    # A table of the 256 values: XLA divides by a constant through its reciprocal, so results would differ in
    # the last bit from numpy's, between backends and between fusions. On a CPU it is faster, too.
    levels = np.arange(256, dtype=np.float32)[:, None] / np.float32(rule.scale)
    table = (levels - np.asarray(rule.mean, np.float32)) / np.asarray(rule.std, np.float32)
    table = np.broadcast_to(table, (256, image.shape[3]))
    places = image.astype(jnp.int32) * table.shape[1] + np.arange(table.shape[1], dtype=np.int32)
    values = jnp.take(jnp.asarray(table.reshape(-1)), places, mode='clip')
    rows = jnp.arange(image.shape[1])[:, None, None] < size[:, 0, None, None, None]
    columns = jnp.arange(image.shape[2])[:, None] < size[:, 1, None, None, None]
    return jnp.where(rows & columns, values, jnp.float32(rule.padding))
