"""Sinusoidal positions whose sines and cosines take turns: of the tokens of a text, and of the cells of a
map, where those of an image make a full turn whatever its size.

Vaswani et al., "Attention Is All You Need" (2017), section 3.5; for maps Carion et al., "End-to-End Object
Detection with Transformers" (2020), with the column in the first half of the channels.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

TEMPERATURE = 10_000.0
SMALL = 1e-6  # keeps a row or column without any cell finite


def sines(places: Any, width: int) -> jax.Array:
    """The positions [..., D] of places [...]: sines in the even channels, cosines in the odd ones."""
    rates = TEMPERATURE ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = jnp.asarray(places, jnp.float32)[..., None] * rates
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1).reshape(*angles.shape[:-1], width)


@jax.jit
def turns(cells: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far along its column and its row each cell of the masks [B, h, w] is; the last cell inside is 2 pi
    along."""
    inside = cells.astype(jnp.float32)

    def along(axis: int) -> jax.Array:
        count = jnp.cumsum(inside, axis)
        last = count[:, -1:] if axis == 1 else count[:, :, -1:]
        return count / (last + SMALL) * (2 * math.pi)

    return along(1), along(2)


def map_sines(cells: jax.Array, width: int) -> jax.Array:
    """The positions [B, h, w, D] of the cells inside the masks [B, h, w]."""
    down, across = turns(cells)
    return jnp.concatenate([sines(across, width // 2), sines(down, width // 2)], -1)
