"""What the page asks for besides readings: places, hints, examples, and formulas that are typed."""

import base64

import cv2
import numpy as np
from counting import READ, Counting, asked, one, picture, serving

from recog.config import recipe
from recog.reading.places import along_frames, seen
from recog.reading.read import Reading
from recog.server import described, hints
from recog.server.batching import Reader
from recog.text.vocabulary import Vocab

WORDS = {'formula': False, 'shape': (32, 100)}


def text_lines(count, width=600):
    """A white sheet with so many lines of text."""
    sheet = np.full((40 * count + 40, width, 3), 255, np.uint8)
    for top in range(50, 40 * count + 50, 40):
        cv2.putText(sheet, 'some words of text', (20, top), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    return sheet


def test_a_page_of_text_and_odd_shapes_get_a_hint_and_words_do_not():
    assert '4 lines of text' in hints.hint(text_lines(4), WORDS)
    assert '4 lines' in hints.hint(255 - text_lines(4), WORDS)
    assert 'higher than wide (20 x 200)' in hints.hint(np.zeros((200, 20, 3), np.uint8), WORDS)
    assert '20 times as wide' in hints.hint(np.zeros((20, 400, 3), np.uint8), WORDS)
    assert hints.hint(text_lines(1), WORDS) == hints.hint(text_lines(4), WORDS | {'formula': True}) == ''


def test_rendered_words_of_the_test_set_get_no_hint():
    from recog.data.drawn.words import Words

    rows = Words(recipe.base(name='crnn').render, 'test', seed=0).rows(range(200))
    assert sum(bool(hints.hint(row.image, WORDS)) for row in rows) <= 2


def test_the_hint_comes_with_the_answer():
    sheet = cv2.imencode('.png', text_lines(5))[1].tobytes()
    assert 'crop a word' in one(sheet).json()['hint'] and 'hint' not in one(picture(1, 8, 16)).json()


def test_frames_are_given_to_the_tokens_along_the_likeliest_path():
    frames = np.full((6, 3), 0.05)
    for frame, label in enumerate((1, 1, 0, 1, 2, 0)):
        frames[frame, label] = 0.9
    weights = along_frames(frames, [0, 0, 1])
    assert [np.flatnonzero(each[0]).tolist() for each in weights] == [[0, 1], [3], [4]]
    assert weights.max() == 0.9 and along_frames(frames, []).shape == (0, 1, 6)


def test_places_lie_over_the_image_without_its_padding():
    rule = recipe.base(name='crnn').image
    details = {'tokens': np.array([1, 0, -1]), 'token_confidence': np.array([0.9, 0.4, 0]),
               'image': np.zeros((32, 100, 3), np.uint8), 'size': np.array([32, 50]),
               'attention': np.ones((3, 1, 20))}
    found = seen(Reading(0, 'ba', details=details), Vocab(('a', 'b')), rule)
    assert [each.token for each in found.places] == ['b', 'a'] and found.image.shape == (32, 50, 3)
    assert found.places[0].weights.shape == (1, 10)


def test_places_need_a_server_that_explains():
    assert '--explain' in one(picture(1), '?places=1').json()['error']


def test_a_typed_formula_is_drawn_and_given_as_mathml_if_it_is_well_formed():
    async def work(client):
        return [await client.post('/v1/formula', content=text)
                for text in ('x ^ { 2 }', r'\frac{1', 'x' * 1001)]
    right, wrong, long = serving(work, Reader('fake', Counting(), batch=1))
    assert right.json()['latex'] == 'x^{2}' and '<msup>' in right.json()['mathml']
    assert base64.b64decode(right.json()['svg'].partition(',')[2]).startswith(b'<?xml')
    assert not wrong.json()['well_formed'] and 'svg' not in wrong.json() and long.status_code == 413


def test_formulas_come_without_needless_blanks_too():
    reader = Reader('fake', Counting(formula=True, texts={1: r'\sin x ^ { 2 }'}), batch=1)
    answer = one(picture(1), '?draw=1', reader=reader).json()
    assert answer['text'] == r'\sin x ^ { 2 }' and answer['latex'] == r'\sin x^{2}'


def test_examples_are_drawn_here_and_formulas_are_dark_on_light():
    async def work(client):
        return (await client.get('/v1/models/fake/examples')).json()['examples']
    for formula in (False, True):
        recognizer = Counting(formula=formula)
        recognizer.config = recipe.base(name='crnn')
        recognizer.about['ink'] = 'light' if formula else ''
        found = serving(work, Reader('fake', recognizer, batch=1))
        assert len(found) == described.EXAMPLES
        images = [cv2.imdecode(np.frombuffer(base64.b64decode(each.partition(',')[2]), np.uint8), 1)
                  for each in found]
        assert all(image.shape[1] <= described.WIDEST for image in images)
        assert not formula or all(np.median(image) == 255 for image in images)


def test_what_a_model_reads_is_said_in_words():
    about = {'formula': False, 'max_length': 25, 'tokens': tuple('0123456789abcdefghijklmnopqrstuvwxyz')}
    assert described.reads(about) == 'one word of up to 25 characters: digits and small letters'
    about['tokens'] += (' ', 'é')
    assert described.reads(about).startswith('one line of up to 25')
    assert described.reads(about).endswith('digits, small letters and 1 other character')
    assert described.reads(about | {'formula': True}).startswith('one formula of up to 25 LaTeX tokens')


def test_requests_for_a_model_that_is_not_there_are_refused():
    async def work(client):
        return await client.get('/v1/models/other/examples')
    assert serving(work, Reader('fake', Counting(), batch=1)).status_code == 404
    assert asked((READ, {'content': picture(3)}))[0].json()['text'] == '3'
