"""What augmentation will do to many images, found without their pixels: strengths, movements and sizes.

The random numbers are those that `augment` draws for one image after another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recog.images import augment, ink, warp
from recog.images.uniforms import uniforms

if TYPE_CHECKING:
    from ml_collections import ConfigDict

EACH = 2 * warp.RIPPLES  # numbers that each of the three properties of waves takes


class Drawn(NamedTuple):
    """What was drawn for N images."""

    strengths: dict[str, np.ndarray]  # [N], of what is switched on; 0 where it is not applied
    sizes: np.ndarray  # heights and widths [N, 2] once they are augmented
    back: np.ndarray  # [N, 3, 3]: where the pixels of the augmented image come from, before bend and ripples
    bend: np.ndarray  # [N], as the following in `warp.Warp`
    ripple: np.ndarray  # [N]
    waves: np.ndarray  # [N, 2, RIPPLES, 3]


def change_sizes(rule: ConfigDict) -> bool:
    """Whether `config.image.augment` has anything that changes sizes."""
    return any(name in augment.switched_on(rule) for name in warp.NAMES)


def draw(given: np.ndarray, seed: int, epoch: int, rows: np.ndarray, rule: ConfigDict,
         room: warp.Room) -> Drawn:
    """What is drawn for these rows [N], whose images have these sizes [N, 2] and are moved as pixels."""
    strengths, numbers, place = _strengths(seed, epoch, rows, rule, rule.elastic or rule.perspective)
    amounts = {name: strengths.get(name, np.zeros(len(rows))) for name in warp.NAMES}
    matrix = warp.matrices(given, amounts, _shifts(amounts, numbers, place))
    bend, ripple = warp.bends(given, amounts), amounts['elastic']
    low, extent = warp.outlines(given, bend, ripple, matrix)
    moved = np.any([amounts[name] != 0 for name in warp.NAMES], axis=0)
    sizes = np.where(moved[:, None], warp.canvases(extent, room), given)
    back = np.where(moved[:, None, None], warp.ways_back(matrix, low, extent, room), np.eye(3))
    waves = np.zeros((len(rows), 2, warp.RIPPLES, 3))
    if ripple.any():
        waves = _waves(given, numbers, place)
    return Drawn(strengths, sizes, back, bend, ripple, waves)


def sizes(given: np.ndarray, inked: np.ndarray, seed: int, epoch: int, rule: ConfigDict,
          room: warp.Room) -> np.ndarray:
    """Heights and widths [N, 2] that images of the given ones [N, 2] do not exceed once they are augmented.

    `inked` [N] says which have their strokes, which are drawn anew. Of others the sizes are exact.
    """
    rows = np.arange(len(given))
    found = given.copy()
    if not inked.all():
        found = draw(given, seed, epoch, rows, rule, room).sizes
    rows = rows[inked]
    if len(rows):
        found[rows] = _of_ink(given[rows], seed, epoch, rows, rule, room)
    return found


def _of_ink(given: np.ndarray, seed: int, epoch: int, rows: np.ndarray, rule: ConfigDict,
            room: warp.Room) -> np.ndarray:
    """As `sizes`, of ink whose bitmaps have the given ones."""
    strengths, numbers, place = _strengths(seed, epoch, rows, rule, rule.perspective)
    amounts = {name: strengths.get(name, np.zeros(len(rows))) for name in (*warp.NAMES, 'stroke')}
    sheets = given + 2  # the sheet of ink is larger than its bitmap by what rounding took away
    matrix = warp.matrices(sheets, amounts, _shifts(amounts, numbers, place))
    bend, ripple = warp.bends(sheets, amounts), amounts['elastic']
    _, extent = warp.outlines(sheets, bend, ripple, matrix, ink.MARGIN)
    drawn = np.minimum(np.ceil(extent[:, ::-1]).astype(np.int64) + ink.BORDER, room)
    redrawn = np.any([amount != 0 for amount in amounts.values()], axis=0)
    return np.where(redrawn[:, None], drawn, given)


def _strengths(seed: int, epoch: int, rows: np.ndarray, rule: ConfigDict,
               more: float) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The strengths of each row by name, its numbers [N, M], and how many of them it has used [N].

    Only if there is `more` to draw, there are numbers for waves and corners, too.
    """
    every = augment.switched_on(rule)
    numbers = uniforms(seed, epoch, rows, 2 * len(every) + (3 * EACH + 8 if more else 0))
    drawn, place, each = {}, np.zeros(len(rows), np.int64), np.arange(len(rows))
    for name, most in every.items():
        chosen = numbers[each, place] < rule.probability
        low = -most if name in augment.SIGNED else 0.0
        drawn[name] = np.where(chosen, low + (most - low) * numbers[each, place + 1], 0.0)
        place = place + 1 + chosen
    return drawn, numbers, place


def _following(numbers: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """The next numbers of each row.  -> [N, count]"""
    return np.take_along_axis(numbers, place[:, None] + np.arange(count), 1)


def _shifts(amounts: dict[str, np.ndarray], numbers: np.ndarray, place: np.ndarray) -> np.ndarray:
    """How a perspective shifts the corners [N, 4, 2]; it is drawn after the waves, if there are any."""
    if not amounts['perspective'].any():
        return np.zeros((len(place), 4, 2))
    after = place + np.where(amounts['elastic'] > 0, 3 * EACH, 0)
    return 2 * _following(numbers, after, 8).reshape(-1, 4, 2) - 1


def _waves(given: np.ndarray, numbers: np.ndarray, place: np.ndarray) -> np.ndarray:
    found = _following(numbers, place, 3 * EACH).reshape(-1, 3, 2, warp.RIPPLES)
    lengths, angles, phases = found.swapaxes(0, 1)
    return warp.waves(given, lengths, 2 * math.pi * angles, 2 * math.pi * phases)
