"""The plan for images of any size: every row once per epoch, in a batch whose canvas it fits,
with few different shapes."""

import collections

import numpy as np
import pytest

from recog.data import plan
from recog.data.batches import Batches, Steps, measure_sizes, unpack_notes
from recog.data.rows import Row
from recog.errors import ConfigError
from recog.text import vocabulary

SHAPES = [plan.Shape(4, 16, 32, 5), plan.Shape(4, 32, 64, 5), plan.Shape(2, 64, 128, 5)]


def rows(count, seed=0):
    """Sizes of images and lengths of labels."""
    rng = np.random.default_rng(seed)
    return rng.integers((4, 8), (64, 128), (count, 2)), rng.integers(1, 6, count)


@pytest.mark.parametrize('order', ['shuffle', 'file'])
def test_an_epoch_visits_every_row_at_most_once_and_leaves_out_less_than_a_batch(order):
    sizes, lengths = rows(101)
    made = plan.Bucketed(sizes, lengths, SHAPES, order, 3)
    for epoch in range(3):
        seen = collections.Counter()
        for step in range(epoch * made.epoch, (epoch + 1) * made.epoch):
            shape, (which, epochs) = made.shape(step), made.rows(step)
            assert len(which) == shape.rows and set(epochs) == {epoch}
            assert (sizes[which] <= (shape.height, shape.width)).all()
            seen.update(which.tolist())
        assert max(seen.values()) == 1 and len(seen) > 101 - SHAPES[-1].rows


def test_each_row_is_in_the_smallest_shape_it_fits_but_for_what_fills_no_batch():
    sizes, lengths = rows(400)
    made = plan.Bucketed(sizes, lengths, SHAPES, 'shuffle', 0)
    owner = plan.fitting(sizes, lengths, SHAPES)
    moved = sum((owner[made.rows(step)[0]] != SHAPES.index(made.shape(step))).sum()
                for step in range(made.epoch))
    assert moved < SHAPES[0].rows + SHAPES[1].rows


def test_a_batch_is_a_pure_function_of_seed_and_number():
    sizes, lengths = rows(60)
    one, same, other = (plan.Bucketed(sizes, lengths, SHAPES, 'shuffle', seed) for seed in (1, 1, 2))
    steps = [40, 3, 17]
    forwards = [one.rows(step)[0].tolist() for step in steps]
    assert forwards == [same.rows(step)[0].tolist() for step in reversed(steps)][::-1]
    assert [one.rows(step)[0].tolist() for step in steps] != [other.rows(step)[0].tolist() for step in steps]


def test_the_order_of_each_of_many_mixed_sets_is_drawn_once_an_epoch(monkeypatch):
    drawn, draw = [], plan.generator
    monkeypatch.setattr(plan, 'generator', lambda *where: (drawn.append(where), draw(*where))[1])
    made = plan.Plan([51, 52, 53, 54, 55], (1, 2, 3, 4, 5), 15, 'shuffle', 987)
    for step in range(10):
        made.rows(step)
    assert sorted(where for where in drawn if where[1] == 'order') == [
        (987, 'order', stream, 0) for stream in range(5)]


def test_labels_decide_too():
    given = [plan.Shape(2, 64, 128, 3), plan.Shape(2, 64, 128, 9)]
    assert plan.fitting(np.array([[10, 10], [10, 10]]), np.array([3, 4]), given).tolist() == [0, 1]


def test_a_few_rows_still_make_a_batch():
    made = plan.Bucketed(np.array([[8, 8]]), np.array([1]), SHAPES, 'shuffle', 0)
    assert made.epoch == 1 and made.rows(5)[0].tolist() == [0, 0]


def recipe(narrow, *overrides, buckets='16x32,32x32'):
    return narrow('image.fit=none', 'image.height=32', 'image.width=64', f'data.buckets={buckets}',
                  *overrides)


def test_shapes_are_listed_smallest_first_with_the_largest_canvas_last(narrow):
    given = plan.shapes(recipe(narrow, 'text.max_length=7', buckets='16x32x3,32x32'), 8, 1)
    assert given == [plan.Shape(8, 16, 32, 3), plan.Shape(8, 32, 32, 7), plan.Shape(8, 32, 64, 7)]


def test_a_budget_of_pixels_makes_batches_of_large_images_smaller(narrow):
    given = plan.shapes(recipe(narrow, 'data.pixels=8192'), 12, 2)
    assert [shape.rows for shape in given] == [12, 8, 4]


@pytest.mark.parametrize(('buckets', 'words'), [
    ('16x', 'must be HEIGHTxWIDTH'), ('axb', 'must be HEIGHTxWIDTH'), ('64x64', 'must be at most 32x64x25')])
def test_a_bucket_that_cannot_be_is_refused(narrow, buckets, words):
    with pytest.raises(ConfigError, match=f'config.data.buckets: .*{words}'):
        plan.shapes(recipe(narrow, buckets=f'{buckets},'), 8, 1)


def test_one_canvas_may_have_several_lengths_and_nothing_else(narrow):
    given = plan.shapes(narrow('data.buckets=32x48x4,32x48x9'), 8, 1)
    assert [shape[2:] for shape in given] == [(48, 4), (48, 9), (48, 25)]
    said = "'16x48x4' must begin with 32x48, the one canvas of config.image.fit='pad'"
    with pytest.raises(ConfigError, match=said):
        narrow('data.buckets=16x48x4,')
    with pytest.raises(ConfigError, match='must be .. with config.data.resident'):
        narrow('data.buckets=32x48x4,', 'data.resident=True')


class Sized:
    """Plain images of given sizes, each of its own grey."""

    name = 'sized'

    def __init__(self, sizes):
        self.given = sizes

    def __len__(self):
        return len(self.given)

    def rows(self, indices):
        return [Row(str(i), 'word', np.full((*self.given[i], 3), i + 1, np.uint8)) if self.given[i] else
                Row(str(i), 'word', None, 'broken') for i in indices]

    def labels(self, indices):
        return [(str(i), 'word') for i in indices]


def test_training_batches_hold_images_at_their_own_size_and_name_those_too_large(narrow):
    config = recipe(narrow)
    source = Sized([(10, 20), (30, 60), (12, 30), (30, 30), (40, 70), (16, 32)])
    given = plan.shapes(config, 2, 1)
    made = plan.Bucketed(measure_sizes(source, 6), np.zeros(6, int), given, 'file', 0)
    batches = Batches(source, made, np.arange, vocabulary.from_config(config.text), config, 10)
    seen = {}
    for step in range(made.epoch):
        batch = batches[step]
        assert batch['image'].shape[1:3] in {(shape.height, shape.width) for shape in given}
        for place, index in enumerate(batch['index'].tolist()):
            height, width = batch['size'][place]
            seen[index] = (height, width), int(batch['weight'][place])
            assert (batch['image'][place, :height, :width] == index + 1).all()
            assert batch['image'][place].sum() == 3 * (index + 1) * height * width
    assert seen[0] == ((10, 20), 1) and seen[1] == ((30, 60), 1) and seen[4] == ((0, 0), 0)


def test_evaluation_sorts_by_size_shrinks_what_is_too_large_and_visits_all(narrow):
    config = recipe(narrow)
    source = Sized([(30, 60), (10, 20), (64, 64), None, (12, 12)])
    steps = Steps(source, np.arange, 2, config, 0)
    seen, notes = {}, []
    for step in range(len(steps)):
        batch = steps[step]
        notes += unpack_notes(batch['notes'])
        seen |= {int(index): (tuple(size), batch['image'].shape[1:3], int(weight)) for index, size, weight in
                 zip(batch['index'], batch['size'].tolist(), batch['weight'], strict=True) if index >= 0}
    assert seen == {0: ((30, 60), (32, 64), 1), 1: ((10, 20), (16, 32), 1), 2: ((32, 32), (32, 64), 1),
                    3: ((0, 0), (16, 32), 0), 4: ((12, 12), (16, 32), 1)}
    assert sorted(note[:3] for note in notes) == [(2, '2', 'shrunk to 0.50 of its size'), (3, '3', 'broken')]
