"""Sources, the plan that says which rows make which batch, and the pipelines."""

import collections
import subprocess
import sys

import cv2
import numpy as np
import pytest

from recog.data import plan as plans
from recog.data.batches import Batches, Steps, unpack_notes
from recog.data.joined import Joined
from recog.data.pipeline import read_batches
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.text import vocabulary

LABELS = [('a.png', 'Hello'), ('b.png', "don't"), ('c.png', '???'), ('d.png', 'w' * 26), ('e.png', 'world')]


def rows_of(plan, steps):
    return np.concatenate([plan.rows(step)[0] for step in steps])


@pytest.mark.parametrize('order', ['shuffle', 'file'])
def test_an_epoch_visits_every_row_once(order):
    plan = Plan([30, 18], (), 12, order, 3)
    assert plan.epoch == 4
    for epoch in range(3):
        assert sorted(rows_of(plan, range(4 * epoch, 4 * epoch + 4))) == list(range(48))


def test_every_epoch_is_shuffled_anew_and_file_order_is_not():
    shuffled, ordered = (Plan([40], (), 10, order, 0) for order in ('shuffle', 'file'))
    assert (rows_of(shuffled, range(4)) != rows_of(shuffled, range(4, 8))).any()
    assert rows_of(ordered, range(4)).tolist() == rows_of(ordered, range(4, 8)).tolist() == list(range(40))


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    batches = [Plan([1000], (), 16, 'shuffle', seed).rows(37)[0].tolist() for seed in (5, 5, 6)]
    assert batches[0] == batches[1] != batches[2]


def test_the_order_of_each_of_many_mixed_sets_is_drawn_once_an_epoch(monkeypatch):
    drawn, draw = [], plans.generator
    monkeypatch.setattr(plans, 'generator', lambda *where: (drawn.append(where), draw(*where))[1])
    made = Plan([51, 52, 53, 54, 55], (1, 2, 3, 4, 5), 15, 'shuffle', 987)
    for step in range(10):
        made.rows(step)
    assert sorted(where for where in drawn if where[1] == 'order') == [
        (987, 'order', stream, 0) for stream in range(5)]


@pytest.mark.parametrize('weights', [(0.5, 0.5), (0.9, 0.1), (1, 2)])
def test_mixing_gives_each_source_its_share_and_visits_all_of_it(weights):
    plan = Plan([50, 20], weights, 8, 'shuffle', 0)
    rows = rows_of(plan, range(100))
    share = (rows < 50).mean()
    assert abs(share - weights[0] / sum(weights)) < 0.005
    counts = np.bincount(rows, minlength=70)
    assert np.ptp(counts[:50]) <= 1 and np.ptp(counts[50:]) <= 1  # all rows of a source before any repeats


def test_a_batch_larger_than_the_data_repeats_it():
    rows, _ = Plan([3], (), 8, 'file', 0).rows(0)
    assert rows.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def batches(narrow, folder, *overrides, labels=LABELS, broken=(), places=None):
    config = narrow('train.batch=8', *overrides)
    root = folder('words/train', labels, broken)
    source = open_set('words:train', config, root)
    plan = Plan([len(source)], (), 8, config.data.order, 0)
    where = np.arange if places is None else places
    return Batches(source, plan, where, vocabulary.from_config(config.text), config, 100), config


def test_labels_that_cannot_be_coded_become_rows_of_weight_zero_and_are_named(narrow, folder):
    made, _ = batches(narrow, folder, 'data.order=file', broken=('e.png',))
    batch = made[0]
    assert batch['weight'].tolist() == [1, 1, 0, 0, 0, 1, 1, 0]
    assert batch['index'].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert not batch['image'][2].any() and batch['length'].tolist() == [5, 4, 0, 0, 0, 5, 4, 0]
    notes = {(row, reason) for row, _, reason, _ in unpack_notes(batch['notes'])}
    assert notes == {(1, 'changed'), (2, 'empty'), (3, 'too long'), (4, 'is not an image')}


def test_two_processes_read_the_two_halves_of_the_same_batch(narrow, folder):
    whole, config = batches(narrow, folder)
    def half(number):
        places = lambda rows: np.split(np.arange(rows), 2)[number]  # noqa: E731
        return Batches(whole.source, whole.plan, places, whole.vocab, config, 100)

    halves = [half(0), half(1)]
    for key in ('image', 'tokens', 'index', 'weight'):
        np.testing.assert_array_equal(whole[5][key], np.concatenate([half[5][key] for half in halves]))


def test_a_stream_begun_later_gives_the_same_batches_with_the_same_augmentation(narrow, folder):
    made, config = batches(narrow, folder, 'image.augment.rotation=20.0', 'image.augment.noise=10.0')
    stream, later = read_batches(made, config), read_batches(made, config, 3)
    kept = [next(stream) for _ in range(5)]
    for expected in kept[3:]:
        found = next(later)
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])
    images = {bytes(batch['image'][list(batch['index']).index(0)]) for batch in kept if 0 in batch['index']}
    assert len(images) > 1  # drawn anew each epoch


def test_worker_processes_give_the_same_batches_as_threads(narrow, folder):
    made, config = batches(narrow, folder)
    threads = read_batches(made, config)
    config = config.copy_and_resolve_references()
    config.data.workers = 1
    workers = read_batches(made, config)
    for _ in range(4):
        expected, found = next(threads), next(workers)
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])


@pytest.mark.parametrize('processes', [1, 2])
def test_evaluation_visits_every_example_once_on_any_number_of_processes(narrow, folder, processes):
    root = folder('words', [(f'{number}.png', 'word') for number in range(11)], ('3.png',))
    config = narrow()
    source = open_set('words', config, root)
    seen = collections.Counter()
    for process in range(processes):
        parts = np.array_split(np.arange(4), processes)
        steps = Steps(source, lambda rows, mine=parts[process]: mine, 4, config, 0)
        assert len(steps) == 3
        for step in range(3):
            batch = steps[step]
            seen.update(batch['index'].tolist())
            assert batch['weight'].tolist() == [float(index not in (-1, 3)) for index in batch['index']]
    assert seen == {**{index: 1 for index in range(11)}, -1: 1}


def test_a_limit_shortens_an_evaluation(narrow, folder):
    root = folder('words', [(f'{number}.png', 'word') for number in range(9)])
    config = narrow()
    steps = Steps(open_set('words', config, root), np.arange, 4, config, 5)
    indices = [index for step in range(len(steps)) for index in steps[step]['index']]
    assert indices == [0, 1, 2, 3, 4, -1, -1, -1]


def test_joined_sources_answer_in_the_order_asked(narrow, folder):
    config = narrow()
    root = folder('one', [('a.png', 'a'), ('b.png', 'b')])
    folder('two', [('c.png', 'c'), ('d.png', 'd'), ('e.png', 'e')])
    joined = Joined([open_set(name, config, root) for name in ('one', 'two')])
    assert len(joined) == 5
    assert [word for _, word in joined.labels([4, 0, 2, 0])] == ['e', 'a', 'c', 'a']
    assert [row.text for row in joined.rows([1, 3])] == ['b', 'd']


def test_a_missing_set_is_refused_with_the_nearest_and_what_is_there(narrow, folder):
    root = folder('words/test', LABELS)
    said = "set 'word/test' is not there .*mean 'words/test'.*there are: rendered"
    with pytest.raises(ConfigError, match=said):
        open_set('word/test', narrow(), root)


def test_a_broken_line_of_labels_is_refused_with_its_number(narrow, folder):
    root = folder('words', LABELS)
    with (root / 'words' / 'labels.tsv').open('a') as file:
        file.write('only-a-file.png\n')
    with pytest.raises(ConfigError, match='labels.tsv, line 6'):
        open_set('words', narrow(), root)


def test_labels_may_hold_unusual_line_ends_and_must_be_utf8(narrow, folder):
    root = folder('words', [('a.png', 'one\u2028two'), ('b.png', 'three')])
    assert open_set('words', narrow(), root).labels([0, 1]) == [('a.png', 'one\u2028two'), ('b.png', 'three')]
    file = root / 'words' / 'labels.tsv'
    file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
    assert open_set('words', narrow(), root).labels([0])[0][0] == 'a.png'
    file.write_bytes(b'a.png\tcaf\xe9\n')
    with pytest.raises(ConfigError, match='labels.tsv must be UTF-8; byte 9 is not'):
        open_set('words', narrow(), root)


PREPARE = '''
import sys, numpy as np, cv2
import tensorflow_datasets as tfds
class Words(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')
    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(None, None, 3), encoding_format='png'),
            'text': tfds.features.Text(), 'id': tfds.features.Text()}))
    def _split_generators(self, download):
        return {'train': self._generate_examples(12), 'test': self._generate_examples(5)}
    def _generate_examples(self, count):
        for i in range(count):
            image = cv2.imencode('.png', np.full((8, 20, 3), i, np.uint8))[1].tobytes()
            yield i, {'image': image, 'text': f'word{i}', 'id': f'source/{i}'}
Words(data_dir=sys.argv[1], file_format='array_record').download_and_prepare()
assert 'tensorflow' not in sys.modules
'''


def test_a_set_that_tfds_prepared_is_read_without_tensorflow(narrow, tmp_path):
    subprocess.run([sys.executable, '-c', PREPARE, str(tmp_path)], check=True, capture_output=True)
    config = narrow()
    names = 'words:train', 'words:test', 'words:train+test'
    train, test, both = (open_set(name, config, tmp_path) for name in names)
    assert (len(train), len(test), len(both)) == (12, 5, 17)
    assert {label for _, label in train.labels(range(12))} == {f'word{i}' for i in range(12)}
    for row in train.rows([3, 1]):
        number = int(row.text.removeprefix('word'))
        assert row.id == f'source/{number}' and row.image.shape == (8, 20, 3) and (row.image == number).all()
    assert [row.text for row in train.rows([3, 1])] == [label for _, label in train.labels([3, 1])]
    with pytest.raises(ConfigError,
                       match="split 'tset' does not exist .did you mean 'test'.*prepare the set again"):
        open_set('words:tset', config, tmp_path)
    shard = next((tmp_path / 'words' / '1.0.0').glob('*-test.array_record*'))
    shard.write_bytes(b'')
    with pytest.raises(ConfigError, match='shard words-test.array_record.* is missing or empty'):
        open_set('words:test', config, tmp_path)
    assert 'tensorflow' not in sys.modules


def test_on_the_canvas_an_image_is_turned_about_its_middle_and_keeps_its_size(narrow, folder, tmp_path):
    names = [(f'{number}.png', 'word') for number in range(8)]
    page = np.full((40, 200, 3), 255, np.uint8)
    page[16:24, 20:180] = 0

    made, config = batches(
        narrow, folder, 'image.fit=thumbnail', 'image.ink=dark', 'image.height=40', 'image.width=200',
        'image.augment.probability=1.0', 'image.augment.rotation=4.0', labels=names)
    for name, _ in names:
        cv2.imwrite(str(tmp_path / 'data' / 'words' / 'train' / name), page)

    def lines(on_canvas):
        """The ink of eight images of a line, each turned by another angle."""
        config.image.augment.on_canvas = on_canvas
        batch = Batches(made.source, made.plan, np.arange, made.vocab, config, 1)[0]
        assert (batch['size'] == (40, 200)).all()
        return 1 - batch['image'][..., 0] / 255

    before, on_canvas = lines(False), lines(True)
    assert on_canvas.sum((1, 2)) == pytest.approx([160 * 8] * 8, rel=0.01)
    assert min(before.sum((1, 2))) < 0.8 * 160 * 8  # the larger canvas of a turned image was shrunk again
    assert len({ink.tobytes() for ink in on_canvas}) == 8
    for ink in on_canvas:
        middle = [(ink * places).sum() / ink.sum() for places in np.mgrid[:40, :200]]
        assert middle == pytest.approx((19.5, 99.5), abs=0.6)
