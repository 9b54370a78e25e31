"""Images read in four directions: the likeliest reading is kept."""

import math

import numpy as np

from recog.data.rows import Row
from recog.reading.read import Reading
from recog.reading.recognizer import Held
from recog.reading.turned import Turns, likeliest
from recog.text.vocabulary import Vocab


def test_each_image_is_there_four_times_and_decoded_once():
    asked = []

    class Counted(Held):
        def rows(self, indices):
            asked.append(list(indices))
            return super().rows(indices)

    image = np.arange(6).reshape(2, 3)
    source = Turns(Counted([Row('a', '', image), Row('b', '', None, 'is not an image')]))
    rows = list(source.rows(range(8)))
    assert len(source) == 8 and asked == [[0], [1]]
    assert all(np.array_equal(rows[turn].image, np.rot90(image, turn)) for turn in range(4))
    assert [row.reason for row in rows[4:]] == ['is not an image'] * 4


def test_a_long_text_of_sure_tokens_is_likelier_than_a_short_one_or_than_nothing():
    def four(*said):
        return [Reading(row, text, count * math.log(sure)) for row, (text, count, sure) in enumerate(said)]

    vocab = Vocab(tuple('abcdefghl'))
    first = four(('l', 1, 0.95), ('', 1, 0.99), ('abcdefgh', 8, 0.93), ('abcdefgh', 8, 0.4))
    nothing = [reading._replace(row=reading.row + 4) for reading in four(*[('', 1, 0.5)] * 4)]
    broken = [Reading(8 + turn, None, reason='is not an image') for turn in range(4)]
    found = list(likeliest([*first, *nothing, *broken], vocab))
    assert [(each.row, each.text, each.turned) for each in found[:2]] == [(0, 'abcdefgh', 180), (1, '', 0)]
    assert found[2].text is None and found[2].row == 2
