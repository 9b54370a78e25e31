"""The plan for images of any size: every row once per epoch, in a batch whose canvas it fits,
with few different shapes."""

import collections

import cv2
import numpy as np
import pytest
from small import ROOT, prepared

from recog.config import experiments
from recog.data import bucketed, plan, shapes
from recog.data.batches import Batches, Steps, measure, unpack_notes
from recog.data.planning import copied, make_plan, work
from recog.data.rows import Row
from recog.data.sets import open_set
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
    made = bucketed.Bucketed(sizes, lengths, SHAPES, order, 3)
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
    made = bucketed.Bucketed(sizes, lengths, SHAPES, 'shuffle', 0)
    owner = shapes.fitting(sizes, lengths, SHAPES)
    moved = sum((owner[made.rows(step)[0]] != SHAPES.index(made.shape(step))).sum()
                for step in range(made.epoch))
    assert moved < SHAPES[0].rows + SHAPES[1].rows


def test_what_fills_no_batch_goes_to_the_first_later_shape_that_holds_it():
    given = [plan.Shape(4, 16, 32, 5), plan.Shape(4, 8, 80, 5), plan.Shape(4, 16, 80, 5),
             plan.Shape(4, 64, 90, 5)]
    # Five of the first, three of the second, which the first does not fit, and six of the last.
    sizes = np.array([(16, 32)] * 5 + [(8, 80)] * 3 + [(64, 90)] * 6)
    made = bucketed.Bucketed(sizes, np.ones(14, int), given, 'file', 0)
    batches = {given.index(made.shape(step)): made.rows(step)[0].tolist() for step in range(made.epoch)}
    assert batches == {0: [0, 1, 2, 3], 2: [4, 5, 6, 7], 3: [8, 9, 10, 11]}


def test_the_last_shapes_are_left_out_if_no_row_needs_them():
    given = [*SHAPES, plan.Shape(2, 64, 128, 9)]
    sizes, lengths = rows(50)
    for needed, kept in ((lengths, SHAPES), (lengths + 1, given)):
        for drawn in (None, lambda epoch: sizes):
            assert bucketed.Bucketed(sizes, needed, given, 'shuffle', 0, drawn).shapes == kept
    assert bucketed.Bucketed(sizes // 4, lengths, given, 'shuffle', 0).shapes == SHAPES[:1]
    assert bucketed.Bucketed(sizes // 4, lengths, given, 'shuffle', 0, lambda epoch: sizes).shapes == SHAPES


def test_where_sizes_are_drawn_each_epoch_batches_fit_them_and_epochs_stay_as_long():
    sizes, lengths = rows(300)

    def drawn(epoch):
        factor = np.random.default_rng(epoch).uniform(0.7, 1.3, (300, 1))
        return np.minimum((sizes * factor).astype(int), (64, 128))

    made, other = (bucketed.Bucketed(sizes, lengths, SHAPES, 'shuffle', 3, drawn) for _ in range(2))
    counts = []
    for epoch in range(12):
        seen = collections.Counter()
        for step in range(epoch * made.epoch, (epoch + 1) * made.epoch):
            shape, (which, epochs) = made.shape(step), made.rows(step)
            assert set(epochs) == {epoch} and (drawn(epoch)[which] <= (shape.height, shape.width)).all()
            seen.update(which.tolist())
        counts.append(len(seen))
        assert max(seen.values()) == 1 or epoch >= bucketed.PROBED
    assert min(counts) > 0.9 * 300 and 0.95 < sum(counts) / 12 / (made.average * made.epoch) <= 1.02
    assert other.rows(7 * made.epoch + 3)[0].tolist() == made.rows(7 * made.epoch + 3)[0].tolist()
    assert made.rows(3)[0].tolist() != made.rows(made.epoch + 3)[0].tolist()


def test_batches_that_an_earlier_version_made_otherwise_are_known():
    sizes, lengths = rows(20)
    assert plan.Plan([20], (), 4, 'shuffle', 0).since == 1
    assert bucketed.Bucketed(sizes, lengths, SHAPES[1:], 'shuffle', 0).since == 1
    assert bucketed.Bucketed(sizes, lengths, SHAPES, 'shuffle', 0).since == plan.RULE
    assert bucketed.Bucketed(sizes, lengths, SHAPES[1:], 'shuffle', 0, lambda epoch: sizes).since == plan.RULE


def test_a_batch_is_a_pure_function_of_seed_and_number():
    sizes, lengths = rows(60)
    one, same, other = (bucketed.Bucketed(sizes, lengths, SHAPES, 'shuffle', seed) for seed in (1, 1, 2))
    steps = [40, 3, 17]
    forwards = [one.rows(step)[0].tolist() for step in steps]
    assert forwards == [same.rows(step)[0].tolist() for step in reversed(steps)][::-1]
    assert [one.rows(step)[0].tolist() for step in steps] != [other.rows(step)[0].tolist() for step in steps]


def test_with_weights_each_set_has_its_share_of_an_epoch_and_copies_are_augmented_apart():
    of, copy = copies = copied([3, 20, 5], (1, 2, 1))
    edges = (0, 3), (3, 23), (23, 28)
    assert [int(((of >= low) & (of < high)).sum()) for low, high in edges] == [10, 20, 10]
    assert [int((of == row).sum()) for row in range(3)] == [4, 3, 3] and copy.max() == 3
    made = bucketed.Bucketed(np.full((40, 2), 8), np.zeros(40, np.int64), [plan.Shape(4, 8, 8, 5)], 'shuffle',
                             0, None, copies)
    batches = [made.rows(step) for step in range(2 * made.epoch)]
    seen = list(zip(*map(np.concatenate, zip(*batches, strict=True)), strict=True))
    assert len(set(seen)) == len(seen) == 80 and {int(epoch) for _, epoch in seen} == set(range(8))


def test_labels_decide_too():
    given = [plan.Shape(2, 64, 128, 3), plan.Shape(2, 64, 128, 9)]
    assert shapes.fitting(np.array([[10, 10], [10, 10]]), np.array([3, 4]), given).tolist() == [0, 1]


def test_a_few_rows_still_make_a_batch():
    made = bucketed.Bucketed(np.array([[8, 8]]), np.array([1]), SHAPES, 'shuffle', 0)
    assert made.epoch == 1 and made.rows(5)[0].tolist() == [0] * 4 and made.shape(5) == SHAPES[0]
    wide = plan.Shape(3, 16, 900, 5)
    made = bucketed.Bucketed(np.array([[8, 8]] * 8 + [[9, 700]]), np.ones(9, int), [*SHAPES, wide], 'file', 0)
    batches = {made.shape(step): made.rows(step)[0].tolist() for step in range(made.epoch)}
    assert batches == {SHAPES[0]: [4, 5, 6, 7], wide: [8, 8, 8]} and made.epoch == 3


def recipe(narrow, *overrides, buckets='16x32,32x32'):
    return narrow('image.fit=none', 'image.height=32', 'image.width=64', f'data.buckets={buckets}',
                  *overrides)


def test_shapes_are_listed_smallest_first_with_the_largest_canvas_last(narrow):
    given = shapes.shapes(recipe(narrow, 'text.max_length=7', buckets='16x32x3,32x32'), 8, 1)
    assert given == [plan.Shape(8, 16, 32, 3), plan.Shape(8, 32, 32, 7), plan.Shape(8, 32, 64, 7)]


def test_a_budget_of_pixels_makes_batches_of_large_images_smaller(narrow):
    given = shapes.shapes(recipe(narrow, 'data.pixels=8192'), 12, 2)
    assert [shape.rows for shape in given] == [12, 8, 4]


@pytest.mark.parametrize(('buckets', 'words'), [
    ('16x', 'must be HEIGHTxWIDTH'), ('axb', 'must be HEIGHTxWIDTH'), ('64x64', 'must be at most 32x64x25')])
def test_a_bucket_that_cannot_be_is_refused(narrow, buckets, words):
    with pytest.raises(ConfigError, match=f'config.data.buckets: .*{words}'):
        shapes.shapes(recipe(narrow, buckets=f'{buckets},'), 8, 1)


def test_one_canvas_may_have_several_lengths_and_nothing_else(narrow):
    given = shapes.shapes(narrow('data.buckets=32x48x4,32x48x9'), 8, 1)
    assert [shape[2:] for shape in given] == [(48, 4), (48, 9), (48, 25)]
    said = "'16x48x4' must begin with 32x48, the one canvas of config.image.fit='pad'"
    with pytest.raises(ConfigError, match=said):
        narrow('data.buckets=16x48x4,')


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
    given = shapes.shapes(config, 2, 1)
    made = bucketed.Bucketed(measure(source, 6).sizes, np.zeros(6, int), given, 'file', 0)
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


def test_the_reference_recipe_of_can_bounds_the_area_of_an_image_and_not_its_sides():
    """These are the most extreme bitmaps of CROHME, and the reference reads all of them."""
    sizes = np.array([(481, 190), (465, 240), (432, 188), (379, 698), (311, 700), (178, 1734), (183, 2009),
                      (143, 2116)] * 8)
    config = experiments.load(str(ROOT / 'experiments' / 'can.py') + ':d28', [])
    made = bucketed.Bucketed(sizes, np.full(len(sizes), 60), shapes.shapes(config, 8, 1), 'shuffle', 0)
    used = {made.shape(step) for step in range(made.epoch)}
    assert all(shape.height * shape.width <= 1600 * 320 for shape in used) and len(used) > 1
    for step in range(made.epoch):
        assert (sizes[made.rows(step)[0]] <= made.shape(step)[1:3]).all()


def test_augmented_images_are_drawn_as_large_as_their_canvas_was_chosen_for(narrow):
    config = recipe(narrow, 'image.augment.probability=1.0', 'image.augment.scale=0.3',
                    'image.augment.rotation=10.0', 'train.batch=2', 'data.order=file')
    source = Sized([(10, 20), (15, 31), (12, 30), (30, 30), (16, 32), (20, 20), (30, 60), (32, 64)])
    made = make_plan(config, vocabulary.from_config(config.text), [source], 1)
    batches = Batches(source, made, np.arange, vocabulary.from_config(config.text), config, 100)
    larger = smaller = 0
    for step in range(8 * made.epoch):
        batch = batches[step]
        assert batch['weight'].all() and not unpack_notes(batch['notes'])
        drawn = made._drawn(step // made.epoch)[batch['index']]
        np.testing.assert_array_equal(batch['size'], drawn)
        given = np.array(source.given)[batch['index']]
        larger, smaller = larger + (drawn > given).any(1).sum(), smaller + (drawn < given).any(1).sum()
    assert larger > 10 and smaller > 10


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


def test_the_work_of_images_is_counted_with_and_without_padding():
    sizes, lengths = np.array([(16, 32)] * 4 + [(10, 20)] * 4), np.array([5] * 4 + [2] * 4)
    made = bucketed.Bucketed(sizes, lengths, SHAPES, 'shuffle', 0)
    alone, padded = work(made, (8, 16))
    assert alone == ((512 + 200) / 2, 3.5, (2 * 2 * 5 + 2 * 2 * 2) / 2) and padded == (512, 5, 2 * 2 * 5)


def test_images_are_chosen_by_ratio_and_no_ratio_is_lost(tmp_path):
    """Eight images about as wide as high fill their batches exactly, two of another ratio fill none."""
    root = prepared(tmp_path, 'words', [(f'{number}.png', 'a') for number in range(10)])
    for number in range(10):
        cv2.imwrite(str(root / 'words' / f'{number}.png'),
                    np.full((20, 22 if number < 8 else 61, 3), number, np.uint8))
    config = experiments.load(str(ROOT / 'experiments' / 'crnn.py'), [
        '--config.image.fit=ratio', "--config.data.buckets=('64x64',)", '--config.image.width=96',
        '--config.image.resample=bicubic', '--config.train.batch=4', '--config.data.train=words'])
    vocab, source = vocabulary.from_config(config.text), open_set('words', config, root)
    made = make_plan(config, vocab, [source], 1)
    batches = Batches(source, made, np.arange, vocab, config, made.epoch)
    seen = [(batches[step]['image'].shape, sorted({*batches[step]['image'].reshape(4, -1).mean(1)}))
            for step in range(made.epoch)]
    assert sorted(shape for shape, _ in seen) == [(4, 32, 96, 3), (4, 64, 64, 3), (4, 64, 64, 3)]
    assert sorted({row for _, rows in seen for row in rows}) == list(range(10))
    steps = Steps(source, np.arange, 4, config, 0)
    evaluated = [steps[number] for number in range(len(steps))]
    assert sorted(row for batch in evaluated for row in batch['index'] if row >= 0) == list(range(10))
    assert {batch['image'].shape[1:3] for batch in evaluated} == {(32, 96), (64, 64)}
