"""Training images of one canvas changed at random on the devices, by all of `augment` but `HOST`.

Unlike the host, which changes images before it fits them, devices change those of a batch, which are fitted
already. Values are not rounded between changes. The random numbers are a function of (seed, epoch, row) too,
but other ones.
"""

import math
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from recog.images import augment, warp
from recog.images.filters_on_devices import Strengths, finished
from recog.images.moved_on_devices import sampled

HOST = ('downscale', 'jpeg')
EDGES = 33  # points on the upper and on the lower edge by which the extent of a bent sheet is found


def unknown(rule: ConfigDict) -> list[str]:
    """The augmentations of `config.image` that devices cannot do; fitted images have no size to scale."""
    return [name for name in augment.switched_on(rule.augment)
            if name in HOST or name == 'scale' and rule.fit != 'none'] + \
        ['operations'] * augment.operates(rule.augment)


def change(batch: Mapping[str, jax.Array], seed: int, rule: ConfigDict) -> dict[str, jax.Array]:
    """The batch with augmented images, their sizes, and without `epoch` [B]; `rule` is `config.image`."""
    most = augment.switched_on(rule.augment)
    kept = {name: values for name, values in batch.items() if name != 'epoch'}
    if not most:
        return kept
    each = jax.vmap(partial(_augmented, seed, most, rule))
    image, size = each(batch['image'], batch['size'], batch['epoch'], batch['index'])
    return {**kept, 'image': image, 'size': size}


def _augmented(seed: int, most: Mapping[str, float], rule: ConfigDict, image: jax.Array, size: jax.Array,
               epoch: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One image [H, W, C] and its size [2], changed at random."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), epoch), row)
    chances, amounts, key = jax.random.split(key, 3)
    low = jnp.array([-value if name in augment.SIGNED else 0.0 for name, value in most.items()])
    drawn = jax.random.uniform(amounts, low.shape, minval=low, maxval=jnp.array(list(most.values())))
    drawn = jnp.where(jax.random.uniform(chances, low.shape) < rule.augment.probability, drawn, 0.0)
    changed, sized = exactly(key, image, size, dict(zip(most, drawn, strict=True)), most, rule)
    untouched = (drawn == 0).all() | (size < 1).any()
    return jnp.where(untouched, image, changed), jnp.where(untouched, size, sized)


def exactly(key: jax.Array, image: jax.Array, size: jax.Array, strength: Strengths, most: Mapping[str, float],
            rule: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """The image [H, W, C] uint8 and its size [2] after changes of these strengths, zero around it.

    `most` holds the largest strengths, which say how far a blur may reach.
    """
    moving, colouring, turning, noising = jax.random.split(key, 4)
    values = image.astype(jnp.float32)
    if any(name in most for name in warp.NAMES):
        values, size = _moved(moving, values, size, strength, rule)
    return finished((colouring, turning, noising), values, size, strength, most, rule), size


def _moved(key: jax.Array, values: jax.Array, size: jax.Array, strength: Strengths,
           rule: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """The sheet bent, rippled, stretched, turned and put into perspective as by `warp`, then fitted again or,
    with `on_canvas`, cut to the canvas."""
    amount = {name: strength.get(name, jnp.float32(0)) for name in warp.NAMES}
    shifting, rippling = jax.random.split(key)
    height, width = size[0].astype(jnp.float32), size[1].astype(jnp.float32)
    shorter = jnp.minimum(height, width)
    bend, ripple = amount['curve'] * shorter, amount['elastic']
    waves = _waves(rippling, shorter)
    left, right, top, bottom = (-0.5 - ripple, width - 0.5 + ripple, -0.5 - ripple + jnp.minimum(bend, 0),
                                height - 0.5 + ripple + jnp.maximum(bend, 0))
    matrix = _unit_square_onto(_corners(shifting, amount, left, right, top, bottom))

    def unit(x: jax.Array, y: jax.Array) -> jax.Array:
        """Places of the sheet in the unit square, as homogeneous coordinates."""
        return jnp.stack([(x - left) / (right - left), (y - top) / (bottom - top), jnp.ones_like(x)])

    def arch(x: jax.Array) -> jax.Array:
        place = ((x + 0.5) / width * 2 - 1).clip(-1, 1)
        return bend * (1 - place * place)

    # The canvas holds the upper and lower edges where they are moved and bent, not the corners of a frame.
    across = left + (right - left) * jnp.linspace(0, 1, EDGES)
    edges = [side + arch(across) for side in (-0.5 - ripple, height - 0.5 + ripple)]
    outline = matrix @ jnp.concatenate([unit(across, down) for down in edges], 1)
    outline = outline[:2] / outline[2]
    low, extent = outline.min(1), jnp.ptp(outline, axis=1)
    if rule.augment.on_canvas:
        canvas = size[::-1].astype(jnp.float32)
        low, extent = low + (extent - canvas) / 2, canvas
    size = _fitted(size, extent, values.shape[1], rule.fit)

    rows, columns = jnp.arange(values.shape[0])[:, None] + 0.5, jnp.arange(values.shape[1]) + 0.5
    u, v = jnp.broadcast_arrays(low[0] + columns / size[1] * extent[0], low[1] + rows / size[0] * extent[1])
    back = jnp.einsum('ij,jhw->ihw', _inverse(matrix), jnp.stack([u, v, jnp.ones_like(u)]))
    x, y = left + (right - left) * back[0] / back[2], top + (bottom - top) * back[1] / back[2]
    y = y - arch(x)
    # Ripples are so gentle that the way back is the way there with the other sign.
    right_by, down_by = (
        ripple / warp.RIPPLES * jnp.sin(axis[:, 0, None, None] * x + axis[:, 1, None, None] * y
                                        + axis[:, 2, None, None]).sum(0) for axis in waves)
    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        return values.at[row, column].get(mode='clip')

    return sampled(at, x - right_by, y - down_by, height, width), size


def _corners(key: jax.Array, amount: Strengths, left: jax.Array, right: jax.Array, top: jax.Array,
             bottom: jax.Array) -> jax.Array:
    """Where the corners [4, 2] of the sheet go when it is stretched, put into perspective and turned."""
    places = (left, top), (right, top), (right, bottom), (left, bottom)
    corners = jnp.stack([jnp.stack(place) for place in places])
    stretch = amount['stretch']
    moved = corners * jnp.stack([1 + jnp.maximum(stretch, 0), 1 + jnp.maximum(-stretch, 0)])
    shift = amount['perspective'] * jnp.min(moved[2] - moved[0])
    moved = moved + shift * jax.random.uniform(key, (4, 2), minval=-1.0)
    angle = amount['rotation'] * math.pi / 180
    return moved @ jnp.array([[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]])


def _waves(key: jax.Array, shorter: jax.Array) -> jax.Array:
    """For each axis, its waves' radians a pixel across and down, and their phases [2, RIPPLES, 3]."""
    keys = jax.random.split(key, 3)
    lengths, angles, phases = (jax.random.uniform(each, (2, warp.RIPPLES)) for each in keys)
    turns = 2 * math.pi / (shorter * (warp.RIPPLE[0] + lengths * (warp.RIPPLE[1] - warp.RIPPLE[0])))
    angles = 2 * math.pi * angles
    return jnp.stack([turns * jnp.cos(angles), turns * jnp.sin(angles), 2 * math.pi * phases], -1)


def _unit_square_onto(corners: jax.Array) -> jax.Array:
    """The matrix [3, 3] that takes the unit square to four corners [4, 2], in order (Heckbert, 1989)."""
    first, second, third, fourth = corners
    one, two, rest = second - third, fourth - third, first - second + third - fourth
    below = one[0] * two[1] - two[0] * one[1]
    g, h = (rest[0] * two[1] - two[0] * rest[1]) / below, (one[0] * rest[1] - rest[0] * one[1]) / below
    sides = jnp.stack([second - first + g * second, fourth - first + h * fourth, first], 1)
    return jnp.concatenate([sides, jnp.stack([g, h, jnp.float32(1)])[None]])


def _inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of a matrix [3, 3], but for a factor."""
    a, b, c = matrix
    return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], 1)


def _fitted(size: jax.Array, extent: jax.Array, widest: int, fit: str) -> jax.Array:
    """The size of a sheet of such an extent, as `images.fit` would make it."""
    ratio = extent[0] / extent[1]
    if fit == 'pad':
        # A little less, or a ratio that is a whole number might be rounded up.
        return jnp.stack([size[0], jnp.ceil(size[0] * ratio - 1e-3).astype(size.dtype).clip(1, widest)])
    if fit == 'steps':
        return jnp.stack([size[0], (size[0] * jnp.ceil(ratio - 1e-4).astype(size.dtype)).clip(1, widest)])
    return size
