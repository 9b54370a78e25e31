"""The sizes that training images will have once they are augmented, found for a whole set without any pixel.

The random numbers are those that `augment` draws, all rows' at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recog.images import augment, ink, warp

if TYPE_CHECKING:
    from ml_collections import ConfigDict

RIPPLING = 3 * 2 * warp.RIPPLES  # numbers that an elastic warp draws before one of perspective
# Of the generator Philox 4 x 64 (Salmon et al. 2011), which numpy has too.
ROUNDS, FACTORS = 10, (0xD2E7470EE14C6C93, 0xCA5A826395121157)
STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def change_sizes(rule: ConfigDict) -> bool:
    """Whether `config.image.augment` has anything that changes sizes."""
    return any(name in augment.switched_on(rule) for name in warp.NAMES)


def sizes(given: np.ndarray, inked: np.ndarray, seed: int, epoch: int, rule: ConfigDict,
          room: warp.Room) -> np.ndarray:
    """Heights and widths [N, 2] that images of the given ones [N, 2] do not exceed once they are augmented.

    `inked` [N] says which have their strokes, which are drawn anew. Of others the sizes are exact.
    """
    strengths, numbers, place = _strengths(len(given), seed, epoch, rule)
    shift = np.zeros((len(given), 4, 2))
    if strengths['perspective'].any():
        place = place + np.where(strengths['elastic'] > 0, RIPPLING, 0)
        shift = np.take_along_axis(numbers, place[:, None] + np.arange(8), 1).reshape(-1, 4, 2) * 2 - 1
    found = given.copy()
    moved = np.any([strengths[name] != 0 for name in warp.NAMES], axis=0)
    redrawn = inked & (moved | (strengths['stroke'] != 0))
    for chosen in (moved & ~inked, redrawn):
        rows, is_ink = np.flatnonzero(chosen), chosen is redrawn
        if not len(rows):
            continue
        # The sheet of ink is larger than its bitmap by what rounding took away.
        sheets = given[rows] + (2 if is_ink else 0)
        theirs = {name: values[rows] for name, values in strengths.items()}
        matrix, bends = warp.matrices(sheets, theirs, shift[rows]), warp.bends(sheets, theirs)
        _, extent = warp.outlines(sheets, bends, theirs['elastic'], matrix, ink.MARGIN if is_ink else -0.5)
        found[rows] = _of_ink(extent, room) if is_ink else warp.canvases(extent, room)
    return found


def _of_ink(extent: np.ndarray, room: warp.Room) -> np.ndarray:
    """The heights and widths [N, 2] of ink that spans so much [N, 2] across and down."""
    return np.minimum(np.ceil(extent[:, ::-1]).astype(np.int64) + ink.BORDER, room)


def _strengths(count: int, seed: int, epoch: int,
               rule: ConfigDict) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What decides sizes as it is drawn for each row, the numbers, and how many of them the row has used."""
    every = augment.switched_on(rule)
    numbers = uniforms(seed, epoch, count, 2 * len(every) + (RIPPLING + 8) * ('perspective' in every))
    drawn, place = {}, np.zeros(count, np.int64)
    rows = np.arange(count)
    for name, most in every.items():
        chosen = numbers[rows, place] < rule.probability
        low = -most if name in augment.SIGNED else 0.0
        amount = low + (most - low) * numbers[rows, place + 1]
        drawn[name], place = np.where(chosen, amount, 0.0), place + 1 + chosen
    return {name: drawn.get(name, np.zeros(count)) for name in (*warp.NAMES, 'stroke')}, numbers, place


def uniforms(seed: int, epoch: int, rows: int, count: int) -> np.ndarray:
    """The first numbers, `count` of them, of `augment.generator(seed, epoch, row).random()` for each row.

    -> [rows, count]
    """
    blocks = -(-count // 4)
    words = [np.broadcast_to(np.arange(1, blocks + 1, dtype=np.uint64), (rows, blocks)),
             np.zeros((rows, blocks), np.uint64), np.zeros((rows, blocks), np.uint64),
             np.broadcast_to(np.arange(rows, dtype=np.uint64)[:, None], (rows, blocks))]
    keys = [seed, epoch]
    for _ in range(ROUNDS):
        (high, low), (other, lower) = _product(words[0], FACTORS[0]), _product(words[2], FACTORS[1])
        words = [other ^ words[1] ^ np.uint64(keys[0]), lower, high ^ words[3] ^ np.uint64(keys[1]), low]
        keys = [(key + step) % 2 ** 64 for key, step in zip(keys, STEPS, strict=True)]
    return (np.stack(words, -1).reshape(rows, -1)[:, :count] >> np.uint64(11)) * 2.0 ** -53


def _product(numbers: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower 64 bits of the products."""
    high, low = numbers >> HALF, numbers & LOW
    other, lower = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    middle = high * lower + (low * lower >> HALF)
    crossed = low * other + (middle & LOW)
    return high * other + (middle >> HALF) + (crossed >> HALF), numbers * np.uint64(factor)
