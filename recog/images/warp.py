"""Images and ink bent, rippled, stretched, turned and seen in perspective: one warp for pixels and points."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

NAMES = ('scale', 'stretch', 'rotation', 'perspective', 'curve', 'elastic')
RIPPLES = 4  # waves of each direction that a sheet is rippled by
RIPPLE = (1.0, 3.0)  # heights of the sheet from crest to crest
# 30,000 x 32 pixels, turned, would need a canvas of 450 million; OpenCV's resampling counts in 16 bits.
MOST_PIXELS, LONGEST = 4_000_000, 32_000


class Warp(NamedTuple):
    """A warp of a sheet of some size: bent and rippled, then moved by a matrix [3, 3]."""

    size: tuple[int, int]
    bend: float  # pixels that the middle column moves down
    ripple: float  # pixels that a point moves at most along each axis
    waves: np.ndarray  # [2, RIPPLES, 3]: for each axis, radians a pixel across and down, and the phase
    matrix: np.ndarray


def random_warp(size: tuple[int, int], random: np.random.Generator,
                strength: Mapping[str, float]) -> Warp | None:
    """A random warp of a sheet of height and width by these strengths; None if all are zero."""
    if not any(strength[name] for name in NAMES):
        return None
    height, width = size
    # Shares of the shorter side keep a tall, narrow image in shape.
    bend = strength['curve'] * min(height, width)
    ripple, waves = strength['elastic'], np.zeros((2, RIPPLES, 3))
    if ripple:
        turns = 2 * math.pi / (min(height, width) * random.uniform(*RIPPLE, (2, RIPPLES)))
        angles = random.uniform(0, 2 * math.pi, (2, RIPPLES))
        phases = random.uniform(0, 2 * math.pi, (2, RIPPLES))
        waves = np.stack([turns * np.cos(angles), turns * np.sin(angles), phases], -1)
    corners = _corners(size, bend, ripple)
    # Both ways only ever enlarge, so that nothing is lost.
    stretch, scale = strength['stretch'], 1 + strength['scale']
    moved = corners * (scale * (1 + max(stretch, 0)), scale * (1 + max(-stretch, 0)))
    cosine, sine = math.cos(math.radians(strength['rotation'])), math.sin(math.radians(strength['rotation']))
    if strength['perspective']:
        shift = strength['perspective'] * min(moved[2] - moved[0])
        moved = moved + shift * random.uniform(-1, 1, (4, 2))
    moved = moved @ np.array([(cosine, sine), (-sine, cosine)])
    return Warp(size, bend, ripple, waves, _homography(corners, moved))


def move_points(warp: Warp, points: np.ndarray) -> np.ndarray:
    """Where points [P, 2], x and y, go."""
    import cv2

    x, y = points.astype(np.float64).T
    across, down = _rippled(warp, x, y)
    there = np.stack([x + across, y + down + _arch(x, warp.size[1], warp.bend)], 1)
    return cv2.perspectiveTransform(there[None], warp.matrix)[0]


def move_image(warp: Warp, image: np.ndarray) -> np.ndarray:
    """The image, resampled once, on a canvas that holds all of it; around it its edges go on."""
    import cv2

    height, width = warp.size
    left, _, _, _ = sides = _sides(warp.size, 0, warp.ripple)
    # The canvas holds the upper and lower edges where they are moved and bent, not the corners of a frame.
    across = np.linspace(left, sides[1], 65 if warp.bend else 2)
    arch = _arch(across, width, warp.bend)
    edges = np.concatenate([np.stack([across, arch + side], 1) for side in sides[2:]])
    outline = cv2.perspectiveTransform(edges[None], warp.matrix)[0]
    low, size = outline.min(0), np.ptp(outline, axis=0)
    scale = min(1.0, LONGEST / size.max(), math.sqrt(MOST_PIXELS / size.prod()))
    columns, rows = (max(1, math.ceil(side * scale - 1e-3)) for side in size)
    shrunk = np.array([(scale, 0, -0.5 - low[0] * scale), (0, scale, -0.5 - low[1] * scale), (0, 0, 1)])
    onto = shrunk @ warp.matrix
    if not warp.bend and not warp.ripple:
        return cv2.warpPerspective(image, onto, (columns, rows), flags=cv2.INTER_LINEAR,
                                   borderMode=cv2.BORDER_REPLICATE)
    x, y = _positions(np.linalg.inv(onto), columns, rows)
    y -= _arch(x, width, warp.bend)
    if warp.ripple:  # so gentle that the way back is the way there with the other sign
        right, down = _rippled(warp, x, y)
        x, y = (x - right).astype(np.float32), (y - down).astype(np.float32)
    return cv2.remap(image, x.clip(-1, width), y.clip(-1, height), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def _sides(size: tuple[int, int], bend: float, ripple: float) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of the sheet: the pixels' outer edges, with room for bend and ripples."""
    height, width = size
    top, bottom = -0.5 - ripple + min(bend, 0), height - 0.5 + ripple + max(bend, 0)
    return -0.5 - ripple, width - 0.5 + ripple, top, bottom


def _corners(size: tuple[int, int], bend: float, ripple: float) -> np.ndarray:
    left, right, top, bottom = _sides(size, bend, ripple)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _homography(corners: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The matrix [3, 3] that takes four points [4, 2] to four others, in double precision.

    OpenCV's own takes single precision, which is half a pixel off at the end of a long image.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


def _arch(columns: np.ndarray, width: int, bend: float) -> np.ndarray:
    """How far down the baseline is moved in each column: nothing at the ends, `bend` pixels in the middle."""
    place = ((columns + 0.5) / width * 2 - 1).clip(-1, 1)
    return bend * (1 - place * place)


def _rippled(warp: Warp, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each place is moved across and down."""
    across, down = (warp.ripple / RIPPLES * sum(np.sin(a * x + b * y + phase) for a, b, phase in axis)
                    for axis in warp.waves)
    return np.asarray(across), np.asarray(down)


def _positions(matrix: np.ndarray, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the matrix [3, 3] takes each pixel of a canvas: x and y, float32 [rows, columns]."""
    across, down = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)[:, None]
    x, y, depth = (np.float32(a) * across + (np.float32(b) * down + np.float32(c))
                   for a, b, c in matrix / matrix[2, 2])
    depth[np.abs(depth) < 1e-6] = 1e-6
    return x / depth, y / depth
