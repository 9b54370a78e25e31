"""Symbols as lines: the letters that mathtext draws, thinned to where a pen would have gone."""

import threading
from functools import cache
from typing import NamedTuple

import numpy as np

from recog.text.latex import to_latex

# Fonts that matplotlib always has, the plainest first. Letters are italic; slanting sets them upright.
FONTS = ('stixsans', 'dejavusans', 'cm', 'stix', 'dejavuserif')
FONTS_OF = {'a': ('cm', 'stix')}  # nobody writes the a that the others have
EM = 64  # pixels of the letters that are thinned; at CROHME's size a step is two thirds of a pixel
TALL = frozenset(r'( ) [ ] | \{ \} \int \sum'.split())  # these are stretched, so their points lie closer
INK = 60  # of 255; the dots of some fonts are faint
# A pixel's neighbours, clockwise from the one above.
AROUND = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
_LOCK = threading.Lock()  # mathtext shares its fonts between threads


class Glyph(NamedTuple):
    """A symbol in shares of an EM: x from its left edge, y downwards from the baseline."""

    points: np.ndarray  # float32 [2, P], x and y
    width: float
    top: float
    bottom: float


@cache
def glyph(token: str, font: str) -> Glyph:
    """The line of a token in one of the fonts."""
    size = EM * 3 if token in TALL else EM
    picture, baseline = _letters(token, font, size)
    rows, columns = np.nonzero(thinned(picture > INK))
    points = np.stack([columns - columns.min(), rows - baseline]).astype(np.float32) / size
    return Glyph(points, float(points[0].max()), float(points[1].min()), float(points[1].max()))


def _letters(token: str, font: str, size: int) -> tuple[np.ndarray, int]:
    """The picture uint8 [H, W] of a token, and the row of its baseline."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    with _LOCK:
        properties = FontProperties(size=size, math_fontfamily=font)
        drawn = MathTextParser('agg').parse(f'${to_latex([token])}$', 72, properties)
        picture = np.array(drawn.image)
    return picture, picture.shape[0] - round(drawn.depth)


def thinned(ink: np.ndarray) -> np.ndarray:
    """The middle lines of ink, one pixel wide.  bool [H, W] -> bool [H, W]

    Guo, Hall 1989, Parallel Thinning with Two-Subiteration Algorithms.
    """
    ink = np.pad(ink, 1)
    while True:
        before = ink.sum()
        for turn in (0, 4):
            around = [np.roll(ink, step, (0, 1)) for step in AROUND]
            around = around[turn:] + around[:turn]
            pairs = [one | other for one, other in zip(around, around[1:] + around[:1], strict=True)]
            lines = sum((~around[k] & pairs[k + 1]).astype(np.int8) for k in (0, 2, 4, 6))
            few = np.minimum(sum(pair.astype(np.int8) for pair in pairs[::2]),
                             sum(pair.astype(np.int8) for pair in pairs[1::2]))
            kept = (around[4] | around[5] | ~around[7]) & around[6]
            ink = ink & ~((lines == 1) & (few >= 2) & (few <= 3) & ~kept)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]
