"""Images and ink bent, rippled, stretched, turned and seen in perspective: one warp for pixels and points."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

NAMES = ('scale', 'stretch', 'rotation', 'perspective', 'curve', 'elastic')
RIPPLES = 4  # waves of each direction that a sheet is rippled by
RIPPLE = (1.0, 3.0)  # heights of the sheet from crest to crest
# 30,000 x 32 pixels, turned, would need a canvas of 450 million; OpenCV's resampling counts in 16 bits.
MOST_PIXELS, LONGEST = 4_000_000, 32_000


Room = tuple[int, int]  # height and width that an image may have at most


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
    sizes, strengths = np.array([size]), {name: np.array([strength[name]]) for name in NAMES}
    ripple, rippling = strength['elastic'], np.zeros((2, RIPPLES, 3))
    if ripple:
        lengths = random.random((1, 2, RIPPLES))
        angles, phases = (random.uniform(0, 2 * math.pi, (1, 2, RIPPLES)) for _ in range(2))
        rippling = waves(sizes, lengths, angles, phases)[0]
    shift = random.uniform(-1, 1, (1, 4, 2)) if strength['perspective'] else np.zeros((1, 4, 2))
    bend, matrix = float(bends(sizes, strengths)[0]), matrices(sizes, strengths, shift)[0]
    return Warp(size, bend, ripple, rippling, matrix)


def waves(sizes: np.ndarray, lengths: np.ndarray, angles: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """`Warp.waves` of sheets [N], by properties [N, 2, RIPPLES]; lengths are from 0 to 1 within `RIPPLE`."""
    least, most = RIPPLE
    turns = 2 * math.pi / (sizes.min(1)[:, None, None] * (least + (most - least) * lengths))
    return np.stack([turns * np.cos(angles), turns * np.sin(angles), phases], -1)


def bends(sizes: np.ndarray, strengths: Mapping[str, np.ndarray]) -> np.ndarray:
    """How many pixels the middle columns of sheets of these sizes [N, 2] move down: `Warp.bend`.  -> [N]"""
    return strengths['curve'] * sizes.min(1)  # shares of the shorter side keep a narrow image in shape


def matrices(sizes: np.ndarray, strengths: Mapping[str, np.ndarray], shift: np.ndarray) -> np.ndarray:
    """`Warp.matrix` of sheets of these sizes [N, 2]; `shift` [N, 4, 2] of their corners, -1 to 1.

    -> [N, 3, 3]
    """
    stretch, scale = strengths['stretch'], 1 + strengths['scale']
    # Both ways only ever enlarge, so that nothing is lost.
    across, down = scale * (1 + np.maximum(stretch, 0)), scale * (1 + np.maximum(-stretch, 0))
    cosine, sine = np.cos(np.radians(strengths['rotation'])), np.sin(np.radians(strengths['rotation']))
    matrix = np.zeros((len(sizes), 3, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = across * cosine, -down * sine
    matrix[:, 1, 0], matrix[:, 1, 1], matrix[:, 2, 2] = across * sine, down * cosine, 1
    rows = np.flatnonzero(strengths['perspective'])
    if len(rows):
        corners = _corners(sizes[rows], bends(sizes, strengths)[rows], strengths['elastic'][rows])
        moved = corners * np.stack([across, down], 1)[rows, None]
        most = strengths['perspective'][rows] * (moved[:, 2] - moved[:, 0]).min(1)
        moved += most[:, None, None] * shift[rows]
        turned = moved @ np.array([(cosine, sine), (-sine, cosine)]).transpose(2, 0, 1)[rows]
        matrix[rows] = _homographies(corners, turned)
    return matrix


def outlines(sizes: np.ndarray, bend: np.ndarray, ripple: np.ndarray, matrix: np.ndarray,
             inset: float = -0.5) -> tuple[np.ndarray, np.ndarray]:
    """Least x and y, and width and height, of sheets [N] that were moved; what lies `inset` from their edges.

    The upper and lower edges are looked at where they are moved and bent, not the corners of a frame.
    -> [N, 2], [N, 2]
    """
    left, right, top, bottom = _sides(sizes, np.zeros(len(sizes)), ripple, inset)
    across = left[:, None] + (right - left)[:, None] * np.linspace(0, 1, 65 if bend.any() else 2)
    arch = _arch(across, sizes[:, 1:], bend[:, None])
    x, y = np.tile(across, 2), np.concatenate([arch + side[:, None] for side in (top, bottom)], 1)
    u, v, depth = (row[:, :1] * x + row[:, 1:2] * y + row[:, 2:] for row in np.moveaxis(matrix, 1, 0))
    places = np.stack([u / depth, v / depth], -1)
    return places.min(1), np.ptp(places, axis=1)


def shrinking(extent: np.ndarray, room: Sequence[float]) -> np.ndarray:
    """The factors, at most 1, that make sheets of width and height [N, 2] fit height and width.  -> [N]"""
    return np.minimum(1.0, (np.array(room)[::-1] / np.maximum(extent, 1e-9)).min(1))


def move_points(warp: Warp, points: np.ndarray) -> np.ndarray:
    """Where points [P, 2], x and y, go."""
    import cv2

    x, y = points.astype(np.float64).T
    across, down = _rippled(warp, x, y)
    there = np.stack([x + across, y + down + _arch(x, warp.size[1], warp.bend)], 1)
    return cv2.perspectiveTransform(there[None], warp.matrix)[0]


def move_image(warp: Warp, image: np.ndarray, room: Room | None = None) -> np.ndarray:
    """The image, resampled once, on a canvas that holds all of it; around it its edges go on.

    It is made smaller where it would not fit the room.
    """
    import cv2

    height, width = warp.size
    low, size = outlines(np.array([warp.size]), np.array([warp.bend]), np.array([warp.ripple]),
                            warp.matrix[None])
    columns, rows = canvases(size, room)[0, ::-1].tolist()
    onto = _onto(warp.matrix[None], low, size, room)[0]
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


def canvases(extent: np.ndarray, room: Room | None) -> np.ndarray:
    """Heights and widths [N, 2] of the canvases of images whose outlines are so wide and high [N, 2]."""
    sides = np.ceil(extent * _scales(extent, room)[:, None] - 1e-3)
    return np.maximum(1, sides).astype(np.int64)[:, ::-1]


def ways_back(matrix: np.ndarray, low: np.ndarray, extent: np.ndarray, room: Room | None) -> np.ndarray:
    """The matrices [N, 3, 3] that take the pixels of these canvases to where they come from on the sheets."""
    return np.linalg.inv(_onto(matrix, low, extent, room))


def _onto(matrix: np.ndarray, low: np.ndarray, extent: np.ndarray, room: Room | None) -> np.ndarray:
    """The matrices [N, 3, 3] that take sheets of these outlines onto their canvases."""
    shrunk, scale = np.tile(np.eye(3), (len(matrix), 1, 1)), _scales(extent, room)[:, None]
    shrunk[:, (0, 1), (0, 1)], shrunk[:, :2, 2] = scale, -0.5 - low * scale
    return shrunk @ matrix


def _scales(extent: np.ndarray, room: Room | None) -> np.ndarray:
    return np.minimum(shrinking(extent, room or (LONGEST, LONGEST)),
                      np.minimum(LONGEST / extent.max(1), np.sqrt(MOST_PIXELS / extent.prod(1))))


def _sides(sizes: np.ndarray, bend: np.ndarray, ripple: np.ndarray,
           inset: float = -0.5) -> tuple[np.ndarray, ...]:
    """Left, right, top and bottom of sheets: the pixels' outer edges, with room for bend and ripples."""
    height, width = sizes.T
    return (inset - ripple, width - 1 - inset + ripple, inset - ripple + np.minimum(bend, 0),
            height - 1 - inset + ripple + np.maximum(bend, 0))


def _corners(sizes: np.ndarray, bend: np.ndarray, ripple: np.ndarray) -> np.ndarray:
    left, right, top, bottom = _sides(sizes, bend, ripple)
    places = (left, top), (right, top), (right, bottom), (left, bottom)
    return np.stack([np.stack(place, -1) for place in places], 1)


def _homographies(corners: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The matrices [N, 3, 3] that take four points [N, 4, 2] to four others, in double precision.

    OpenCV's own takes single precision, which is half a pixel off at the end of a long image.
    """
    x, y, u, v = (side[..., None] for points in (corners, moved) for side in np.moveaxis(points, -1, 0))
    one, zero = np.ones_like(x), np.zeros_like(x)
    first = np.concatenate([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = np.concatenate([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    solved = np.linalg.solve(np.concatenate([first, second], 1), np.concatenate([u, v], 1))[..., 0]
    return np.concatenate([solved, np.ones((len(solved), 1))], 1).reshape(-1, 3, 3)


def _arch(columns: np.ndarray, width: int | np.ndarray, bend: float | np.ndarray) -> np.ndarray:
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
