"""Training images of any size on the devices: taken from an array of all pixels, and changed as was drawn.

The host draws what happens to an image as if it changed it itself, by `augment_many`; only the numbers of
noise, colours and the direction of a motion are other ones.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from recog.images import augment, warp
from recog.images.filters_on_devices import finished

At = Callable[[jax.Array, jax.Array], jax.Array]  # the values at rows and columns [H, W]
LANE = 128  # bytes of a row of the array of all pixels; each image begins with a row of its own


def change(pixels: jax.Array, batch: Mapping[str, jax.Array], canvas: tuple[int, int], channels: int,
           seed: int, rule: ConfigDict) -> jax.Array:
    """The images [B, H, W, C] of a batch on canvases of this height and width; `rule` is `config.image`.

    Of each image the batch has the row of `pixels` where it `start`s, its size there (`given`) and on the
    canvas (`size`), and the fields of `augment_many.Drawn`, strengths in the order in which they are drawn.
    """
    most = augment.switched_on(rule.augment)
    moves = any(name in most for name in warp.NAMES)

    def one(image: Mapping[str, jax.Array]) -> jax.Array:
        at = partial(_at, pixels, image['start'], image['given'][1], channels)
        rows, columns = jnp.arange(canvas[0])[:, None], jnp.arange(canvas[1])[None]
        values = _moved(at, image, rows, columns) if moves else at(rows, columns)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), image['epoch']), image['index'])
        strength = dict(zip(most, image['strengths'], strict=True))
        return finished(tuple(jax.random.split(key, 3)), values, image['size'], strength, most, rule)

    return jax.vmap(one)(dict(batch))


def _at(pixels: jax.Array, start: jax.Array, width: jax.Array, channels: int, row: jax.Array,
        column: jax.Array) -> jax.Array:
    """The values of an image of this width at rows and columns [H, W] of it.  -> float32 [H, W, C]"""
    place = ((row * width + column) * channels)[..., None] + jnp.arange(channels)
    return pixels.at[start + place // LANE, place % LANE].get(mode='clip').astype(jnp.float32)


def _moved(at: At, image: Mapping[str, jax.Array], rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The image moved as by `warp.move_image`: bent, rippled, and seen through a matrix."""
    u, v = jnp.broadcast_arrays(columns.astype(jnp.float32), rows.astype(jnp.float32))
    x, y, depth = (a * u + b * v + c for a, b, c in image['back'])
    x, y = x / depth, y / depth
    height, width = image['given'][0], image['given'][1]
    place = ((x + 0.5) / width * 2 - 1).clip(-1, 1)
    y = y - image['bend'] * (1 - place * place)
    # Ripples are so gentle that the way back is the way there with the other sign.
    right, down = (
        image['ripple'] / warp.RIPPLES * jnp.sin(axis[:, 0, None, None] * x + axis[:, 1, None, None] * y
                                                 + axis[:, 2, None, None]).sum(0) for axis in image['waves'])
    return sampled(at, x - right, y - down, height, width)


def sampled(at: At, x: jax.Array, y: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    """The values between the pixels of an image of this size at places [H, W]; its edges go on for ever."""
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    left, top = jnp.floor(x), jnp.floor(y)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    column, row = left.astype(jnp.int32), top.astype(jnp.int32)
    right = jnp.minimum(column + 1, width.astype(jnp.int32) - 1)
    low = jnp.minimum(row + 1, height.astype(jnp.int32) - 1)
    above = at(row, column) * (1 - right_share) + at(row, right) * right_share
    below = at(low, column) * (1 - right_share) + at(low, right) * right_share
    return above * (1 - low_share) + below * low_share
