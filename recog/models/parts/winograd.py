"""Convolutions of 3 x 3 with less than half the multiplications, for CPUs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): F(m, 3) along rows and along
columns, with m = 2 or 4. Along an axis, a tile of m + 2 pixels gives m values by m + 2 multiplications
instead of 3 m; each of them is a matrix product over all tiles.
"""

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Grid = list[list[jax.Array]]
Matrix = np.ndarray

# From this many multiplications per kernel tap over the batch, m = 4 is worth its kernel of more parts.
MANY_MULTIPLICATIONS = 2**29


class Form(NamedTuple):
    """F(m, 3): the matrices that turn a tile's m + 2 pixels and a kernel's 3 taps into factors,
    and the products of these into m values."""

    pixels: Matrix
    taps: Matrix
    values: Matrix

    @property
    def size(self) -> int:
        """The number of values of a tile."""
        return len(self.values)

    def tiles(self, pixels: int) -> int:
        """The number of tiles for this many values."""
        return -(-pixels // self.size)

    def products(self, pixels: int) -> int:
        """The number of multiplications for this many values."""
        return self.tiles(pixels) * len(self.pixels)


def _toom_cook(points: Sequence[float]) -> Form:
    """The Toom-Cook form, by the values of polynomials at these points and at infinity."""
    def values(terms: int) -> Matrix:
        return np.vstack([np.vander(points, terms, increasing=True), np.eye(terms)[-1:]])

    count = len(points) + 1
    exact = np.linalg.inv(values(count)).T, values(3), values(count - 2).T
    return Form(*(np.where(abs(matrix) > 1e-9, matrix, 0).astype(np.float32) for matrix in exact))


# The usual points, 0, +-1 and +-2, have four times the rounding error.
TWO, FOUR = _toom_cook((0, 1, -1)), _toom_cook((0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)))


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of [B, H, W, C] with [3, 3, C, D] that keeps the size."""
    return _convolved(x, [[kernel[i, j] for j in range(3)] for i in range(3)], 0)


def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient of `conv`'s input: the incoming gradient convolved with the flipped kernel."""
    return _convolved(gradient, [[kernel[2 - i, 2 - j] for j in range(3)] for i in range(3)], 1)


def _convolved(x: jax.Array, taps: Grid, channels: int) -> jax.Array:
    """Convolution of [B, H, W, C] with 3 x 3 matrices, in which `channels` is the axis of the C channels."""
    down, across = _forms(x.shape, taps[0][0].shape[1 - channels])
    contracted = (((1,), (channels,)), ((), ()))
    factors = _tiles(x, down, across), _transformed(down.taps, taps, across.taps)
    products = [[lax.dot_general(tiles, part, contracted) for tiles, part in zip(*rows, strict=True)]
                for rows in zip(*factors, strict=True)]
    return _assembled(_transformed(down.values, products, across.values), x.shape, down, across)


def _forms(shape: Sequence[int], features: int) -> tuple[Form, Form]:
    """The forms for images [B, H, W, C], down their rows and across their columns,
    and this many output features."""
    if math.prod(shape) * features < MANY_MULTIPLICATIONS:
        return TWO, TWO
    down, across = (min(TWO, FOUR, key=lambda form: form.products(size)) for size in shape[1:3])
    return down, across


def _transformed(left: Matrix, grid: Grid, right: Matrix) -> Grid:
    """left . grid . right^T, where the elements of the grid are arrays."""
    columns = [_combined(left, column) for column in zip(*grid, strict=True)]
    return [_combined(right, row) for row in zip(*columns, strict=True)]


def _combined(matrix: Matrix, parts: Iterable[jax.Array]) -> list[jax.Array]:
    """The product of a matrix with a column of arrays; zeros of the matrix are skipped."""
    parts = list(parts)
    return [reduce(add, (factor * part for factor, part in zip(row, parts, strict=True) if factor))
            for row in matrix]


def _tiles(x: jax.Array, down: Form, across: Form) -> Grid:
    """The transformed tiles [T, C] of [B, H, W, C], each of which overlaps the next by two pixels."""
    forms = list(zip(x.shape[1:3], (down, across), strict=True))
    x = jnp.pad(x, ((0, 0), *((1, 1 + form.tiles(size) * form.size - size) for size, form in forms), (0, 0)))

    def from_each(form: Form, first: int, tiles: int) -> slice:
        return slice(first, first + (tiles - 1) * form.size + 1, form.size)

    rows, columns = (
        [from_each(form, first, form.tiles(size)) for first in range(len(form.pixels))]
        for size, form in forms)
    pixels = [[x[:, i, j].reshape(-1, x.shape[3]) for j in columns] for i in rows]
    return _transformed(down.pixels, pixels, across.pixels)


def _assembled(parts: Grid, shape: Sequence[int], down: Form, across: Form) -> jax.Array:
    """The image [B, H, W, D] of this shape from the values [T, D] at each place within the tiles."""
    batch, height, width = shape[:3]
    tiles = down.tiles(height)
    rows = [jnp.concatenate(row, 1).reshape(batch * tiles, -1) for row in parts]
    whole = jnp.concatenate(rows, 1).reshape(batch, tiles * down.size, across.tiles(width) * across.size, -1)
    return whole[:, :height, :width]
