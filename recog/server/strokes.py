"""The strokes of a request, checked before anything is drawn of them."""

import json
from typing import Any

import numpy as np

from recog.images import ink
from recog.reading.drawings import Drawing
from recog.server.intake import Refused

MOST_STROKES, MOST_POINTS = 1_000, 50_000
MOST_LINE = 500_000  # pixels of all lines together, as they are drawn
SHAPE = 'must be {"strokes": [[[x, y], [x, y], ...], ...]}, x to the right and y down'


def parsed(data: bytes) -> Drawing:
    """The drawing that a JSON document holds, within the bounds."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, f'the drawing is not JSON; it {SHAPE}') from None
    if not isinstance(given, dict) or set(given) != {'strokes'} or not isinstance(given['strokes'], list):
        raise Refused(400, f'the drawing {SHAPE}')
    strokes = given['strokes']
    if len(strokes) > MOST_STROKES:
        raise Refused(413, f'the drawing has too many strokes ({len(strokes):,}, at most {MOST_STROKES:,})')
    if not all(isinstance(stroke, list) for stroke in strokes):
        raise Refused(400, f'the drawing {SHAPE}')
    count = sum(map(len, strokes))
    if count > MOST_POINTS:
        raise Refused(413, f'the drawing has too many points ({count:,}, at most {MOST_POINTS:,})')
    if not count:
        raise Refused(400, 'the drawing is empty')
    if not all(_is_point(point) for stroke in strokes for point in stroke):
        raise Refused(400, f'the drawing {SHAPE}, numbers nearer to 0 than {ink.FARTHEST:,.0f}')
    return Drawing([np.array(stroke, np.float64) for stroke in strokes if stroke])


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(
        isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < ink.FARTHEST
        for each in point)


def size(drawing: Drawing, most: int) -> int:
    """How many pixels will be drawn of it; too many, or very long lines, are refused."""
    placed = ink.pixels(drawing.strokes)
    width, height = np.ceil(np.concatenate(placed).max(0)).astype(int).tolist()
    width, height = width + ink.MARGIN, height + ink.MARGIN
    if height * width > most:
        raise Refused(413, f'the drawing is too large for the size of its symbols ({width} x {height} '
                           f'pixels, at most {most:,})')
    line = sum(float(np.abs(np.diff(stroke, axis=0)).max(1).sum()) for stroke in placed if len(stroke) > 1)
    if line > MOST_LINE:
        raise Refused(413, f'the lines of the drawing are too long ({line:,.0f} pixels, at most '
                           f'{MOST_LINE:,})')
    return height * width
