"""What photographs do to words: neighbours at the edge, loose and tight crops, few pixels, slant views,
letters that stand out, are worn or faint, too much light."""

import math
from typing import NamedTuple

import numpy as np

from recog.data.drawn.dice import Dice
from recog.data.drawn.fonts import face
from recog.data.drawn.lexicon import DIGITS, LETTERS
from recog.data.drawn.painting import texture

NEIGHBOURS = LETTERS + LETTERS.upper() + DIGITS


class Box(NamedTuple):
    """Where a word stands in its layers."""

    left: int
    top: int
    wide: int
    tall: int


class View(NamedTuple):
    """How a word is seen: ranges of what is drawn for its place in the picture."""

    stretch: tuple[float, float]  # logarithms of width over height
    slant: float
    steepest: float  # angle of a word that is not long
    turn: float  # share of the angle that a word as long as its height many times may have
    lift: float  # of a corner, share of the height
    margins: tuple[float, float]  # shares of the height; below 0 the word is cut


def view(difficulty: float) -> View:
    """That of a word which is drawn by itself."""
    spread = 0.05 + 0.25 * difficulty
    return View((-spread, spread), 0.35 * difficulty, 0.26 * difficulty, 0.6 * difficulty, 0.16 * difficulty,
                (0.04, 0.08 + 0.09 * difficulty))


PHOTOGRAPHED = View((-0.6, 0.3), 0.35, 0.45, 0.8, 0.22, (-0.08, 0.3))


def crafted(layers: list[np.ndarray], extra: str, dice: Dice) -> tuple[list[np.ndarray], str]:
    """The layers of letters as signs have them: some stand out, so that their sides are seen, and some are
    unevenly painted, lit or worn."""
    import cv2

    if not extra and dice.chance(0.2):
        depth, across, down = dice.whole(2, 6), dice.pick((-1, 0, 1)), dice.pick((-1, 1))
        letters = np.pad(layers[-1], depth)
        sides = letters
        for step in range(1, depth + 1):
            sides = np.maximum(sides, np.roll(letters, (step * down, step * across), (0, 1)))
        layers, extra = [sides, letters], 'sides'
    if dice.chance(0.15):
        tall, wide = layers[-1].shape
        light = cv2.resize(texture(dice, (32, max(8, round(32 * wide / tall)))), (wide, tall))
        least = dice.uniform(0.3, 0.7)  # textures reach from about 64 to 192
        light = cv2.addWeighted(light, (1 - least) * 2, light, 0, 255 * (least - (1 - least) / 2))
        layers = [*layers[:-1], cv2.multiply(layers[-1], light, scale=1 / 255)]
    return layers, extra


def surrounded(layers: list[np.ndarray], dice: Dice, font: str) -> tuple[list[np.ndarray], Box]:
    """The layers with a piece of another word or line beside some words, and where the word is."""
    tall, wide = layers[0].shape
    if not dice.chance(0.35):
        return layers, Box(0, 0, wide, tall)
    text = ''.join([dice.pick(NEIGHBOURS) for _ in range(dice.whole(1, 8))])
    other = face(font).word(text, 0.0, 0)
    gap, room = round(dice.uniform(0.1, 0.4) * tall), round(0.6 * tall)
    side = dice.pick(('left', 'right', 'above', 'below'))
    canvas = [np.pad(layer, room) for layer in layers]
    if side in ('left', 'right'):
        left = room - gap - other.shape[1] if side == 'left' else room + wide + gap
        _put(canvas[-1], other, room + (tall - other.shape[0]) // 2, left)
    else:
        near = round(dice.uniform(0.02, 0.3) * tall)
        top = room - near - other.shape[0] if side == 'above' else room + tall + near
        _put(canvas[-1], other, top, room + dice.whole(-room, max(0, wide - room)))
    return canvas, Box(room, room, wide, tall)


def _put(layer: np.ndarray, piece: np.ndarray, top: int, left: int) -> None:
    """Draw a piece into a layer, as far as it lies within."""
    up, back = max(0, -top), max(0, -left)
    piece = piece[up:layer.shape[0] - top, back:layer.shape[1] - left]
    if piece.size:
        window = layer[top + up:top + up + piece.shape[0], left + back:left + back + piece.shape[1]]
        np.maximum(window, piece, out=window)


def photographed(picture: np.ndarray, dice: Dice) -> np.ndarray:
    """The picture out of focus, in other light, and of fewer pixels."""
    import cv2

    height, width = picture.shape[:2]
    if dice.chance(0.5):
        picture = cv2.GaussianBlur(picture, (0, 0), (0.3 + 1.2 * dice.random() ** 2) * height / 32)
    if dice.chance(0.2):  # too much light makes letters thicker or thinner than they are
        gain = math.exp(dice.uniform(-0.7, 0.7))
        picture = cv2.addWeighted(picture, gain, picture, 0, 128 * (1 - gain) + dice.uniform(-50, 50))
    if dice.chance(0.4):
        share = math.exp(dice.uniform(math.log(0.28), 0.0))
        size = max(6, round(width * share)), max(6, round(height * share))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture
