"""Convolutions of 3 x 3 with less than half the multiplications, for CPUs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): F(2 x 2, 3 x 3). Each tile of 4 x 4 gives four values,
in two rows and two columns, by 16 products where 36 would be formed; each of the 16 is a product of matrices, over all tiles.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Grid = list[list[jax.Array]]
Matrix = np.ndarray

INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
KERNEL = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.float32) / 2
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of [B, H, W, C] with [3, 3, C, D], of the same size."""
    return _convolved(x, [[kernel[i, j] for j in range(3)] for i in range(3)], 0)


def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient of `conv`'s input: its gradient convolved with the kernel turned round."""
    return _convolved(gradient, [[kernel[2 - i, 2 - j] for j in range(3)] for i in range(3)], 1)


def _convolved(x: jax.Array, taps: Grid, channels: int) -> jax.Array:
    """Convolution of [B, H, W, C] with 3 x 3 matrices, whose axis of this number has the C channels."""
    products = [[lax.dot_general(tiles, part, (((1,), (channels,)), ((), ()))) for tiles, part in zip(*rows, strict=True)]
                for rows in zip(_tiles(x), _both(KERNEL, taps), strict=True)]
    return _joined(_both(OUTPUT, products), x.shape)


def _both(matrix: Matrix, grid: Grid) -> Grid:
    """The matrix times the grid times the matrix turned, where the grid's elements are arrays."""
    columns = [_mixed(matrix, column) for column in zip(*grid, strict=True)]
    return [_mixed(matrix, row) for row in zip(*columns, strict=True)]


def _mixed(matrix: Matrix, parts: Iterable[jax.Array]) -> list[jax.Array]:
    parts = list(parts)
    return [reduce(add, (factor * part for factor, part in zip(row, parts, strict=True) if factor)) for row in matrix]


def _tiles(x: jax.Array) -> Grid:
    """The transformed tiles [T, C] of [B, H, W, C], which begin at every second row and column and overlap by two."""
    x = jnp.pad(x, ((0, 0), *((1, 1 + size % 2) for size in x.shape[1:3]), (0, 0)))
    ends = [size - 3 for size in x.shape[1:3]]
    places = [[x[:, i : i + ends[0] : 2, j : j + ends[1] : 2].reshape(-1, x.shape[3]) for j in range(4)] for i in range(4)]
    return _both(INPUT, places)


def _joined(parts: Grid, shape: Sequence[int]) -> jax.Array:
    """Of the values [T, D] at both rows and columns of each tile, the image [B, H, W, D] of this shape."""
    batch, height, width = shape[0], *((size + 1) // 2 for size in shape[1:3])
    rows = [jnp.concatenate(row, 1).reshape(batch * height, -1) for row in parts]
    whole = jnp.concatenate(rows, 1).reshape(batch, 2 * height, 2 * width, -1)
    return whole[:, : shape[1], : shape[2]]
