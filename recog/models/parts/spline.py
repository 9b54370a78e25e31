"""The thin-plate spline of a rectification in numpy, for a grid of places and for single ones.

Points and places are (x, y), -1 to 1 over the image.
"""

import functools
from typing import NamedTuple

import numpy as np


def targets(count: int) -> np.ndarray:
    """Where the fiducial points lie in the rectified image, float64 [F, 2]: along its top,
    then along its bottom."""
    x = np.linspace(-1, 1, count // 2)
    return np.concatenate([np.stack([x, np.full_like(x, y)], 1) for y in (-1, 1)])


class Spline(NamedTuple):
    """The two matrices of a grid, float32: the terms of the spline at each place [h w, 3 + F], and the
    weights of the terms for each fiducial point [3 + F, F]."""

    terms: np.ndarray
    inverse: np.ndarray


@functools.lru_cache(maxsize=8)
def spline(count: int, height: int, width: int) -> Spline:
    """The thin-plate spline through `count` points, for a grid of height x width places."""
    # These are centres of pixels, but `sample` has the centres of the outer pixels at -1 and 1. So points at
    # their targets do not quite reproduce the image, as in the reference.
    x, y = ((2 * np.arange(size) + 1 - size) / size for size in (width, height))
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return Spline(_terms(places, count).astype(np.float32), _inverse(count).astype(np.float32))


def moved(places: np.ndarray, fiducials: np.ndarray) -> np.ndarray:
    """Where places [N, 2] of a rectified image come from, by its fiducial points [F, 2]."""
    count = len(fiducials)
    return _terms(np.asarray(places, np.float64), count) @ (_inverse(count) @ fiducials)


def _terms(places: np.ndarray, count: int) -> np.ndarray:
    """The terms [N, 3 + F] of the spline through `count` points at places [N, 2]."""
    distance = np.linalg.norm(places[:, None] - targets(count), axis=2)
    radial = np.square(distance) * np.log(distance + 1e-6)
    return np.concatenate([np.ones((len(places), 1)), places, radial], 1)


@functools.lru_cache(maxsize=8)
def _inverse(count: int) -> np.ndarray:
    """The weights of the terms for each fiducial point, float64 [3 + F, F]."""
    points = targets(count)
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    kernel = np.square(distance) * np.log(distance + np.eye(count))
    ones = np.ones((count, 1))
    system = np.block([
        [ones, points, kernel],
        [np.zeros((2, 3)), points.T],
        [np.zeros((1, 3)), ones.T],
    ])
    # The last three columns of the inverse are left out: the reference multiplies them by zeros below the
    # points.
    return np.linalg.inv(system)[:, :count]
