"""Ink of formulas: strokes, drawn like the bitmaps on which WAP, BTTR, CAN and most others train.

The rule was recovered from those bitmaps: of the 9,820 in CROHME's training and 2014 test sets it draws 9,819
pixel by pixel.
"""

from collections.abc import Sequence

import numpy as np

HEIGHT = 28.0  # pixels: mean height of the strokes that are not nearly flat
FLAT = 10      # a stroke is, below this part of the tallest one
MARGIN = 13    # pixels from the border to the middle of the outermost line
BORDER = 2 * MARGIN + 1  # pixels by which an image may be larger than its points span
PEN = 3        # pixels
LARGEST = 8192  # pixels a side; only nonsense is larger (CROHME: 2,116)
PAPER = 96, 1536  # pixels: height and largest width of the ink on paper
NIB = 0.11  # width of the pen there, as a share of the height
FARTHEST = 1e9  # of a coordinate; only nonsense is farther (CROHME: 65,000)


def trace(text: str) -> np.ndarray:
    """The points [N, 2] of an InkML trace: x and y, without what else a pen recorded."""
    points = np.array([point.split()[:2] for point in text.split(',') if point.strip()], np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < FARTHEST).all():
        raise ValueError(f'no points x y, x y, ...: {text.strip()[:40]!r}')
    return points


def whole(strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The strokes in whole numbers: as they are, or in thousandths where one has a fraction."""
    if all(np.array_equal(stroke, np.trunc(stroke)) for stroke in strokes):
        return [stroke.astype(np.float64) for stroke in strokes]
    return [np.floor(stroke.astype(np.float64) * 1000 + 0.5) for stroke in strokes]


def joined(strokes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Strokes as in a record: all points [P, 2] float32, and how many belong to each stroke, [S] int32."""
    points = np.concatenate([*strokes, np.zeros((0, 2))]).astype(np.float32)
    return points, np.array([len(stroke) for stroke in strokes], np.int32)


def parted(points: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The strokes of a record."""
    return np.split(points, np.cumsum(lengths)[:-1]) if len(lengths) else []


def pixels(strokes: Sequence[np.ndarray], height: float = HEIGHT) -> list[np.ndarray]:
    """The strokes where `draw` draws them, but before they are rounded: x and y in pixels, float64."""
    strokes = whole([stroke for stroke in strokes if len(stroke)])
    scale = float(_scale(*_boxes(strokes), height))
    corner = np.concatenate(strokes).min(0) * scale - MARGIN
    return [stroke * scale - corner for stroke in strokes]


def room(canvas: tuple[int, int]) -> tuple[int, int]:
    """Height and width that the points of ink may span in pixels, so that `draw` stays within the canvas."""
    height, width = (max(1, side - BORDER) for side in canvas)
    return height, width


def draw(strokes: Sequence[np.ndarray], *, height: float | None = HEIGHT, pen: int = PEN,
         margin: int = MARGIN) -> np.ndarray:
    """White ink on black, uint8 [H, W]: strokes of a mean `height` by a square `pen`, by default CROHME's.

    Strokes may be turned, bent or stretched before. Their unit does not matter; without a height: pixels.
    """
    import cv2

    strokes = [stroke for stroke in strokes if len(stroke)]
    if not strokes:
        raise ValueError('there is no stroke to draw')
    if height is None:
        placed = [np.trunc(stroke).astype(np.int64) for stroke in strokes]
    else:
        strokes = whole(strokes)
        scale = _scale(*_boxes(strokes), height)
        placed = [np.trunc(stroke.astype(np.float32) * scale).astype(np.int64) for stroke in strokes]
    corner = np.concatenate(placed).min(0) - margin
    placed = [stroke - corner for stroke in placed]
    width, tall = np.concatenate(placed).max(0) + margin
    image = np.zeros((tall, width), np.uint8)
    lines = _lines(placed)
    image[lines[:, 1], lines[:, 0]] = 255
    return cv2.dilate(image, np.ones((pen, pen), np.uint8)) if pen > 1 else image


def on_paper(strokes: Sequence[np.ndarray]) -> np.ndarray:
    """Black ink on white as on a photograph, uint8 [H, W, 3]: the pen is as wide as letters of that height
    have their strokes."""
    import cv2

    strokes = [stroke for stroke in strokes if len(stroke)]
    if not strokes:
        raise ValueError('there is no stroke to draw')
    points = np.concatenate(strokes)
    across, down = points.max(0) - points.min(0)
    scale = min(PAPER[0] / max(down, across / 8, 1e-9), PAPER[1] / max(across, 1e-9))
    pen = max(2, round(min(down * scale, PAPER[0]) * NIB), round(PAPER[0] * NIB / 2))
    corner = points.min(0) * scale - 2 * pen
    width, height = np.ceil(points.max(0) * scale - corner + 2 * pen).astype(int) + 1
    image = np.full((height, width, 3), 255, np.uint8)
    for stroke in strokes:
        placed = np.round((stroke * scale - corner) * 16).astype(np.int32)  # in sixteenths of a pixel
        ends = placed if len(placed) > 1 else placed.repeat(2, 0)  # a dot is a line, too
        cv2.polylines(image, [ends], False, (0, 0, 0), pen, cv2.LINE_AA, 4)
    return image


def drawn_size(low: np.ndarray, high: np.ndarray) -> tuple[int, int]:
    """Height and width of what `draw` draws of strokes in whole numbers between these corners [S, 2]."""
    scale = _scale(low.astype(np.float64), high.astype(np.float64), HEIGHT)
    first, last = (np.trunc(corner.astype(np.float32) * scale) for corner in (low.min(0), high.max(0)))
    width, height = (last - first).astype(int) + 2 * MARGIN
    return int(height), int(width)


def _boxes(strokes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest x and y of each stroke, [S, 2] each."""
    return np.array([stroke.min(0) for stroke in strokes]), np.array([stroke.max(0) for stroke in strokes])


def _scale(low: np.ndarray, high: np.ndarray, height: float) -> np.float32:
    """Pixels per unit; single precision and a rounded mean give exactly the sizes of CROHME's bitmaps."""
    extent = high.max(0) - low.min(0)
    for axis in (1, 0):  # what is all flat, a dash, is measured by its width
        lengths = (high - low)[:, axis]
        lengths = lengths[lengths > lengths.max() / FLAT]
        if len(lengths):
            scale = np.float32(height) / np.float32(lengths.sum() // len(lengths))
            break
    else:
        scale = np.float32(1)  # dots
    if extent.max() * scale > LARGEST:
        scale = np.float32(LARGEST / extent.max())
    return scale


def _lines(strokes: list[np.ndarray]) -> np.ndarray:
    """The pixels [P, 2] of all lines: one for each pixel of the longer side, halves away from the start."""
    ends = np.concatenate(strokes)
    starts = np.concatenate([np.concatenate([stroke[:1], stroke[:-1]]) for stroke in strokes])
    steps = np.maximum(np.abs(ends - starts).max(1), 1)
    line = np.repeat(np.arange(len(steps)), steps + 1)
    step = np.arange(len(line)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    way = step[:, None] * (ends - starts)[line]
    total = steps[line][:, None]
    return starts[line] + np.sign(way) * ((2 * np.abs(way) + total) // (2 * total))
