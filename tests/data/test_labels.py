"""Labels as rows of a batch: what counts in their length, and what takes room."""

from recog.data import labels
from recog.text.vocabulary import Vocab

FORMULAS = Vocab(('x', '+', '^'), case='keep', separator=' ')


def test_tokens_that_are_dropped_take_no_room_in_a_bucket():
    label = labels.encode(FORMULAS, r'x \limits ^ x', 5, room=3)
    assert label.ids == (0, 2, 0) and label.changed
    assert labels.encode(FORMULAS, r'x \limits ^ x', 5, room=2) == labels.Label((), 'too long')


def test_they_count_in_the_length_of_the_recipe_as_in_the_reference():
    assert labels.encode(FORMULAS, r'x \limits ^ x', 3) == labels.Label((), 'too long')
