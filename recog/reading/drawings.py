"""Drawings: the strokes of a pen, drawn for each recipe as its training images are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.data.rows import Row
from recog.images import ink


class Drawing(NamedTuple):
    """What somebody drew: for each stroke its points [N, 2], x and y downwards, in any unit."""

    strokes: Sequence[np.ndarray]


def row(name: str, drawing: Drawing, rule: ConfigDict) -> Row:
    """The drawing as an example: drawn as CROHME's bitmaps where a recipe trains on ink, else as on paper."""
    strokes = [np.asarray(stroke, np.float64) for stroke in drawing.strokes]
    if not rule.ink:
        return Row(name, '', ink.on_paper(strokes), strokes=strokes)
    drawn = ink.draw(strokes, height=rule.symbol or ink.HEIGHT)
    return Row(name, '', drawn if rule.ink == 'light' else 255 - drawn, strokes=strokes)
