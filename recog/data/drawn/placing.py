"""Words put into their pictures: stretched, slanted, turned, in perspective, bent."""

import math

import numpy as np

from recog.data.drawn import scene
from recog.data.drawn.dice import Dice

Curve = tuple[float, float, float, bool]  # start, unit and bend of a bent baseline, whether it is a wave


def place(mask: np.ndarray, dice: Dice, difficulty: float,
           box: scene.Box | None = None) -> tuple[np.ndarray, int, int, Curve | None]:
    """A mask [H, W] stretched, slanted, turned, in perspective, bent, scaled: matrix, picture size, curve.

    A word that stands in a box of its mask is seen as in a photograph.
    """
    tall, wide = (box.tall, box.wide) if box else mask.shape
    view = scene.PHOTOGRAPHED if box else scene.view(difficulty)
    bend = dice.pick((-1, 1)) * dice.uniform(0.1, 0.5) * tall if dice.chance(0.25 * difficulty) else 0.0
    bent = tall + abs(bend)
    stretch = math.exp(dice.uniform(*view.stretch))
    slant = dice.uniform(-view.slant, view.slant) if dice.chance(0.5) else 0.0
    # Long words turn less, or they would shrink to nothing.
    steepest = min(view.steepest, view.turn * tall / wide) + 0.01
    angle = dice.uniform(-steepest, steepest) if dice.chance(0.6) else 0.0

    cosine, sine = math.cos(angle), math.sin(angle)
    corners = ((0.0, 0.0), (stretch * wide, 0.0),
               (stretch * wide - slant * bent, bent), (-slant * bent, bent))
    across = [cosine * x - sine * y for x, y in corners]
    down = [sine * x + cosine * y for x, y in corners]
    if dice.chance(0.4):
        lift = view.lift * tall  # of the corners, for the perspective
        shift = min(lift, 0.15 * wide)  # narrow words would fold over
        across = [x + dice.uniform(-shift, shift) for x in across]
        down = [y + dice.uniform(-lift, lift) for y in down]
    height = 26 + int(23 * dice.random() ** 3)
    margins = [dice.uniform(*view.margins) * height for _ in range(4)]
    first, top = min(across), min(down)
    scale = (height - margins[0] - margins[1]) / (max(down) - top)
    width = max(8, round((max(across) - first) * scale + margins[2] + margins[3]))
    matrix = projection([(x - first) * scale + margins[2] for x in across],
                         [(y - top) * scale + margins[0] for y in down], wide, bent)
    start = 0.0
    if box:
        start = box.left
        matrix = matrix @ np.array(((1, 0, -box.left), (0, 1, -box.top), (0, 0, 1.0)))
    return matrix, height, width, (start, 2 / wide, bend, dice.chance(0.3)) if bend else None


def projection(across: list[float], down: list[float], wide: float, tall: float) -> np.ndarray:
    """The matrix [3, 3] that takes a rectangle's corners to these, clockwise, without solving equations.

    Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, page 19.
    """
    (x0, x1, x2, x3), (y0, y1, y2, y3) = across, down
    right_x, right_y, below_x, below_y = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    rest_x, rest_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3  # 0 in a parallelogram
    area = right_x * below_y - below_x * right_y
    g, h = (rest_x * below_y - below_x * rest_y) / area, (right_x * rest_y - rest_x * right_y) / area
    return np.array((((x1 - x0 + g * x1) / wide, (x3 - x0 + h * x3) / tall, x0),
                     ((y1 - y0 + g * y1) / wide, (y3 - y0 + h * y3) / tall, y0), (g / wide, h / tall, 1.0)))


def warped(layers: list[np.ndarray], matrix: np.ndarray, height: int, width: int,
            curve: Curve | None) -> list[np.ndarray]:
    """The layers [H, W] put into a picture, all in one resampling."""
    import cv2

    if not curve:
        return [cv2.warpPerspective(layer, matrix, (width, height), flags=cv2.INTER_LINEAR)
                for layer in layers]
    x, y = _curve(cv2.invert(matrix)[1], height, width, *curve)
    return [cv2.remap(layer, x, y, cv2.INTER_LINEAR) for layer in layers]


def _curve(matrix: np.ndarray, height: int, width: int, start: float, unit: float, bend: float,
           wave: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, x and y [H, W]: by a matrix [3, 3] and an arc or wave of the baseline."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f), (g, h, i) = (matrix / matrix[2, 2]).tolist()
    across, down = a * x + (b * y + c), d * x + (e * y + f)
    if g or h:
        depth = g * x + (h * y + 1)
        across /= depth
        down /= depth
    shape = (across - start) * unit
    shape -= 1  # -1 to 1 along the word
    shape = np.sin(shape * math.pi) * 0.5 + 0.5 if wave else np.square(shape, out=shape)
    if bend < 0:
        shape -= 1
    shape *= bend
    down -= shape
    return across, down
