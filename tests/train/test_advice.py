"""What is said of a training that may come to nothing."""

from types import SimpleNamespace

import pytest

from recog.data.files import Files
from recog.train import advice


class Counted(list):
    """Sources together, as long as their rows."""

    def __init__(self, sources):
        self.sources = sources

    def __len__(self):
        return sum(map(len, self.sources))


@pytest.fixture
def said(narrow):
    """The warnings before a training on so many images of a folder."""
    def get(*overrides, count=6_725, start=0):
        source = Counted([Files('mine:train', [''] * count)])
        return advice.before(SimpleNamespace(config=narrow('data.order=shuffle', *overrides), source=source),
                             start)
    return get


def test_few_words_from_random_weights_are_said_before_an_evening_is_lost(said):
    one, = said('data.train=mine:train')
    assert '6,725 images are few' in one and '49.7 %' in one and '--config.init=' in one
    assert '--config.data.train=mine:train,rendered:train' in one
    assert said('data.train=mine:train', count=20_000) == said('data.train=mine:train', start=10) == []
    assert said('data.train=mine:train,rendered:train') == said('data.train=mine:train', 'init=runs/a') == []


def test_the_order_of_a_folder_of_pictures_is_said(said):
    one, = said('data.train=mine:train', 'data.order=file', count=30_000)
    assert 'mine:train is read in the order of its labels.tsv (config.data.order=file)' in one


@pytest.mark.parametrize(('overrides', 'named', 'not_named'), [
    ((), ['--config.init=', '--overfit 16'], ['data.train']),
    (('data.train=mine:train', 'init=runs/a'), ['mine:train,rendered:train', '--overfit 16'],
     ['--config.init']),
    (('data.train=mine:train', 'eval.protocol=latex'), ['mine:train,formulas:train'], ['rendered:train'])])
def test_the_next_steps_are_those_that_the_recipe_does_not_take(narrow, overrides, named, not_named):
    words = advice.next_steps(SimpleNamespace(config=narrow(*overrides)))
    assert all(part in words for part in named) and not any(part in words for part in not_named)
