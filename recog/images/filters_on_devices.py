"""What augmentation does on the devices to an image where it lies: strokes, colours, light, sharpness."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from recog.images import augment

Strengths = Mapping[str, jax.Array]


def finished(keys: tuple[jax.Array, ...], values: jax.Array, size: jax.Array, strength: Strengths,
             most: Mapping[str, float], rule: ConfigDict) -> jax.Array:
    """The image [H, W, C] uint8 after all changes but movements, from float32 values; zero beyond its size.

    `most` holds the largest strengths, which say how far a filter may reach.
    """
    colouring, turning, noising = keys
    inside = within(values, size)
    if 'stroke' in most:
        values = _thicker(values, inside, size, strength['stroke'], math.ceil(most['stroke']))
    if 'colour' in most and values.shape[-1] == 3:
        grey = augment.GREY if rule.channels == 'bgr' else augment.GREY[::-1]
        values = _coloured(colouring, values, strength['colour'], grey)
    if 'brightness' in most or 'contrast' in most:
        middle = _mean(values, inside, size)
        contrast, brightness = strength.get('contrast', 0.0), strength.get('brightness', 0.0)
        values = ((values - middle) * (1 + contrast) + middle + 255 * brightness).clip(0, 255)
    small = jnp.minimum(1.0, size.min() / augment.LEGIBLE)
    if 'blur' in most:
        values = _blurred(values, size, strength['blur'] * small, math.ceil(3 * most['blur']))
    if 'motion' in most:
        angle = jax.random.uniform(turning, maxval=math.pi)
        values = _streaked(values, size, strength['motion'] * small, angle, math.ceil(most['motion'] / 2))
    if 'noise' in most:
        values = values + jax.random.normal(noising, values.shape) * strength['noise']
    return jnp.where(inside, jnp.rint(values).clip(0, 255), 0).astype(jnp.uint8)


def within(values: jax.Array, size: jax.Array) -> jax.Array:
    """Which pixels [H, W, 1] of the canvas belong to the image."""
    rows, columns = jnp.arange(values.shape[0])[:, None, None], jnp.arange(values.shape[1])[:, None]
    return (rows < size[0]) & (columns < size[1])


def _mean(values: jax.Array, inside: jax.Array, size: jax.Array) -> jax.Array:
    return jnp.where(inside, values, 0).sum() / (size.prod() * values.shape[-1])


def _thicker(values: jax.Array, inside: jax.Array, size: jax.Array, pixels: jax.Array,
             most: int) -> jax.Array:
    """Lines thicker, or thinner, by so many pixels, as `augment` makes them; `most` is a whole number."""
    grows = (pixels > 0) == (_mean(values, inside, size) < 127.5)  # light ink grows, or dark ink shrinks
    for number in range(most):
        # A square of 2 x 2 adds one pixel to each line; the part of a pixel is a mixture.
        share = (jnp.abs(pixels) - number).clip(0, 1)
        more = jnp.where(grows, _dilated(values), -_dilated(-values))
        values = values + share * (more - values)
    return values


def _dilated(values: jax.Array) -> jax.Array:
    """The greatest of each pixel and those above and to the left of it."""
    values = jnp.maximum(values, jnp.concatenate([values[:1], values[:-1]]))
    return jnp.maximum(values, jnp.concatenate([values[:, :1], values[:, :-1]], 1))


def _coloured(key: jax.Array, values: jax.Array, strength: jax.Array, shares: tuple[float, ...]) -> jax.Array:
    """Another saturation, and another strength of each channel; `shares` of them make grey."""
    amounts = 1 + strength * jax.random.uniform(key, (4,), minval=-1.0)
    grey = values @ jnp.array(shares)
    return ((amounts[0] * values + (1 - amounts[0]) * grey[..., None]) * amounts[1:]).clip(0, 255)


def _blurred(values: jax.Array, size: jax.Array, sigma: jax.Array, reach: int) -> jax.Array:
    places = jnp.arange(-reach, reach + 1)
    weights = jnp.exp(-0.5 * jnp.square(places / jnp.maximum(sigma, 1e-3)))
    line = weights / weights.sum()
    return _filtered(_filtered(values, size, line[:, None]), size, line[None])


def _streaked(values: jax.Array, size: jax.Array, length: jax.Array, angle: jax.Array,
              reach: int) -> jax.Array:
    """A motion over so many pixels at this angle: the kernel of `augment`."""
    along = length * jnp.linspace(-0.5, 0.5, 16 * reach + 1)
    places = jnp.arange(-reach, reach + 1)[:, None]
    down, right = (jnp.maximum(0, 1 - jnp.abs(places - side * along))
                   for side in (jnp.sin(angle), jnp.cos(angle)))
    weights = down @ right.T
    return _filtered(values, size, weights / weights.sum())


def _filtered(values: jax.Array, size: jax.Array, kernel: jax.Array) -> jax.Array:
    """The image [H, W, C] under a kernel of odd sides, its edges going on beyond it."""
    down, right = (side // 2 for side in kernel.shape)
    rows = jnp.arange(-down, values.shape[0] + down).clip(0, size[0] - 1)
    columns = jnp.arange(-right, values.shape[1] + right).clip(0, size[1] - 1)
    padded = values[rows][:, columns]
    total = jnp.zeros_like(values)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total = total + kernel[i, j] * padded[i:i + values.shape[0], j:j + values.shape[1]]
    return total
