"""Convolutions of 3 x 3 with less than half the multiplications, for CPUs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): F(m, 3) along rows and along columns, m being 2 or 4.
Tiles of m + 2 pixels give m values by m + 2 products where 3 m would be formed, each a product of matrices, over all tiles.
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

# From so many multiplications for a tap (of all images) on, m = 4 is worth a kernel of more parts.
MANY_MULTIPLICATIONS = 2**29


class Form(NamedTuple):
    """F(m, 3): by what a tile's m + 2 pixels and a kernel's 3 taps become factors, and their products m values."""

    pixels: Matrix
    taps: Matrix
    values: Matrix

    @property
    def size(self) -> int:
        """How many values a tile gives."""
        return len(self.values)

    def tiles(self, pixels: int) -> int:
        """How many it takes for so many values."""
        return -(-pixels // self.size)

    def products(self, pixels: int) -> int:
        """How many are formed for so many values."""
        return self.tiles(pixels) * len(self.pixels)


def _form(points: Sequence[float]) -> Form:
    """Toom's and Cook's, by the values of polynomials at these points and at infinity."""
    def values(terms: int) -> Matrix:
        return np.vstack([np.vander(points, terms, increasing=True), np.eye(terms)[-1:]])

    count = len(points) + 1
    exact = np.linalg.inv(values(count)).T, values(3), values(count - 2).T
    return Form(*(np.where(abs(matrix) > 1e-9, matrix, 0).astype(np.float32) for matrix in exact))


# With 0, +-1 and +-2, the usual points, rounding would be four times as coarse.
TWO, FOUR = _form((0, 1, -1)), _form((0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)))


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of [B, H, W, C] with [3, 3, C, D], of the same size."""
    return _convolved(x, [[kernel[i, j] for j in range(3)] for i in range(3)], 0)


def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient of `conv`'s input: its gradient convolved with the kernel turned round."""
    return _convolved(gradient, [[kernel[2 - i, 2 - j] for j in range(3)] for i in range(3)], 1)


def _convolved(x: jax.Array, taps: Grid, channels: int) -> jax.Array:
    """Convolution of [B, H, W, C] with 3 x 3 matrices, whose axis of this number has the C channels."""
    down, across = _forms(x.shape, taps[0][0].shape[1 - channels])
    products = [[lax.dot_general(tiles, part, (((1,), (channels,)), ((), ()))) for tiles, part in zip(*rows, strict=True)]
                for rows in zip(_tiles(x, down, across), _both(down.taps, taps, across.taps), strict=True)]
    return _joined(_both(down.values, products, across.values), x.shape, down, across)


def _forms(shape: Sequence[int], features: int) -> tuple[Form, Form]:
    """What images [B, H, W, C] take down their rows and across their columns, for so many features."""
    if math.prod(shape) * features < MANY_MULTIPLICATIONS:
        return TWO, TWO
    down, across = (min(TWO, FOUR, key=lambda form: form.products(size)) for size in shape[1:3])
    return down, across


def _both(left: Matrix, grid: Grid, right: Matrix) -> Grid:
    """left . grid . right^T, where the grid's elements are arrays."""
    columns = [_mixed(left, column) for column in zip(*grid, strict=True)]
    return [_mixed(right, row) for row in zip(*columns, strict=True)]


def _mixed(matrix: Matrix, parts: Iterable[jax.Array]) -> list[jax.Array]:
    parts = list(parts)
    return [reduce(add, (factor * part for factor, part in zip(row, parts, strict=True) if factor)) for row in matrix]


def _tiles(x: jax.Array, down: Form, across: Form) -> Grid:
    """The transformed tiles [T, C] of [B, H, W, C], each of which overlaps the next by two pixels."""
    forms = list(zip(x.shape[1:3], (down, across), strict=True))
    x = jnp.pad(x, ((0, 0), *((1, 1 + form.tiles(size) * form.size - size) for size, form in forms), (0, 0)))

    def from_each(form: Form, first: int, tiles: int) -> slice:
        return slice(first, first + (tiles - 1) * form.size + 1, form.size)

    rows, columns = ([from_each(form, first, form.tiles(size)) for first in range(len(form.pixels))] for size, form in forms)
    return _both(down.pixels, [[x[:, i, j].reshape(-1, x.shape[3]) for j in columns] for i in rows], across.pixels)


def _joined(parts: Grid, shape: Sequence[int], down: Form, across: Form) -> jax.Array:
    """Of the values [T, D] at each place within the tiles, the image [B, H, W, D] of this shape."""
    batch, height, width = shape[:3]
    tiles = down.tiles(height)
    rows = [jnp.concatenate(row, 1).reshape(batch * tiles, -1) for row in parts]
    whole = jnp.concatenate(rows, 1).reshape(batch, tiles * down.size, across.tiles(width) * across.size, -1)
    return whole[:, :height, :width]
