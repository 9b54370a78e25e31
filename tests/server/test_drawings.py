"""What the server makes of strokes: who gets them, and what is refused before anything is drawn."""

import json

import numpy as np
import pytest
from counting import READ, asked

from recog.config import recipe
from recog.images import ink
from recog.reading import adapt, drawings
from recog.reading.recognizer import Arrays
from recog.server import strokes
from recog.server.intake import Limits, Refused

HEADERS = {'content-type': 'application/json'}
CROSS = [[[0, 0], [20, 28]], [[20, 0], [0, 28]]]


def posted(content, **others):
    """The answer to strokes."""
    content = content if isinstance(content, bytes) else json.dumps({'strokes': content}).encode()
    return asked((READ, {'content': content, 'headers': HEADERS}), **others)[0]


def test_a_drawing_reaches_the_model_as_its_strokes():
    response = posted([[[1, 2]], [[3, 4.5], [5, 6]], [[7, 8]]])
    assert response.status_code == 200 and response.json()['text'] == '3'


@pytest.mark.parametrize('content, status, words', [
    (b'\x89PNG', 400, 'not JSON'), (b'[' * 100_000, 400, 'not JSON'), (b'[]', 400, 'must be {"strokes"'),
    (b'{"strokes": [], "pen": 3}', 400, 'must be'), (b'{"strokes": {}}', 400, 'must be'),
    (b'{"strokes": [[[1, NaN]]]}', 400, 'numbers nearer'), (b'{"strokes": [[[1, 1e999]]]}', 400, 'numbers'),
    (b'{"strokes": [[[1, 9' + b'9' * 5000 + b']]]}', 400, 'not JSON'), ([[[1, '2']]], 400, 'numbers'),
    ([[[1, True]]], 400, 'numbers'), ([[[1, 2, 3]]], 400, 'numbers'), ([[1, 2]], 400, 'numbers'),
    ([1], 400, 'must be'), ([], 400, 'is empty'), ([[], []], 400, 'is empty'),
    ([[[0, 0]]] * 1001, 413, 'too many strokes (1,001, at most 1,000)'),
    ([[[0, 0]] * 50_001], 413, 'too many points (50,001, at most 50,000)')])
def test_what_is_no_drawing_or_too_much_is_refused_in_one_line(content, status, words):
    response = posted(content)
    assert response.status_code == status and words in response.json()['error']


def test_a_drawing_that_would_fill_the_memory_is_refused():
    sparse = [[[number * 3_000, 0], [number * 3_000, 1]] for number in range(500)]
    wide = posted([*sparse, [[0, 40_000], [0, 40_001]]], limits=Limits(pixels=100_000))
    assert wide.status_code == 413 and 'at most 100,000' in wide.json()['error']
    zigzag = strokes.parsed(json.dumps({'strokes': [[[number % 2 * 4000, number / 20]
                                                     for number in range(20_000)]]}).encode())
    with pytest.raises(Refused, match='lines of the drawing are too long'):
        strokes.size(zigzag, 10**9)


@pytest.mark.parametrize('kind, expected', [('light', 255), ('dark', 0)])
def test_recipes_of_ink_get_the_strokes_as_crohmes_bitmaps(kind, expected):
    rule = recipe.base(name='crnn').image
    rule.ink, rule.symbol = kind, 28.0
    row, = Arrays([drawings.Drawing(CROSS)], rule=rule).rows([0])
    bitmap = ink.draw([np.array(stroke, float) for stroke in CROSS])
    np.testing.assert_array_equal(row.image, bitmap if kind == 'light' else 255 - bitmap)
    assert row.image[ink.MARGIN, ink.MARGIN] == expected
    alone, = adapt.Adapted(Arrays([drawings.Drawing([[[0, 0], [9, 0]]])], rule=rule), rule, 'auto').rows([0])
    assert alone.image.shape[0] == 2 * ink.MARGIN  # a dash is not enlarged to the height of a letter


@pytest.mark.parametrize('scale', [0.1, 1, 50])
def test_other_recipes_get_a_picture_whose_pen_does_not_depend_on_the_size_of_the_writing(scale):
    rule = recipe.base(name='crnn').image
    row, = Arrays([drawings.Drawing([[[scale * x, scale * y] for x, y in stroke] for stroke in CROSS])],
                  rule=rule).rows([0])
    same, = Arrays([drawings.Drawing(CROSS)], rule=rule).rows([0])
    assert row.image.shape == same.image.shape == (*same.image.shape[:2], 3)
    assert np.abs(row.image.astype(int) - same.image).mean() < 2
    assert 0.1 < (same.image[..., 0] < 128).mean() < 0.4 and same.image[0].min() == 255


@pytest.mark.parametrize('given', [[[[5, 5]]], [[[0, 0], [100, 0]]], [[[0, 0], [0, 100]]]])
def test_dots_and_dashes_are_drawn(given):
    drawn = ink.on_paper([np.array(stroke, float) for stroke in given])
    assert (drawn < 128).any() and max(drawn.shape) < 2000 and min(drawn.shape[:2]) > 5


