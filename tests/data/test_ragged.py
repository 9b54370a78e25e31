"""Packed sets of images of any size: the same batches as the set that was packed, augmented too."""

import cv2
import numpy as np
import pytest
from small import DEMO, prepared

from recog.commands import command_line
from recog.config import experiments
from recog.data import pack
from recog.data.batches import Batches, Steps, unpack_notes
from recog.data.joined import joined
from recog.data.packed import Packed
from recog.data.planning import make_plan
from recog.data.ragged import Ragged
from recog.data.rows import Row
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.images import ink
from recog.text import vocabulary

LABELS = [('a.png', 'Hello'), ('b.png', 'w-orld'), ('c.png', '!!'), ('d.png', 'x' * 40), ('e.png', 'broken'),
          *((f'{number}.png', f'word{number}') for number in range(12))]
FLAGS = ['--config.image.fit=none', '--config.image.height=40', '--config.image.width=120',
         '--config.image.channels=grey', '--config.train.batch=2', '--config.data.order=file']
BUCKETS = '--config.data.buckets=24x60,24x90'
MOVED = ['--config.image.augment.probability=0.7', '--config.image.augment.scale=0.3',
         '--config.image.augment.rotation=9.0', '--config.image.augment.stroke=1.0']


def recipe(*overrides, buckets=BUCKETS):
    return experiments.load(DEMO, [*FLAGS, buckets, *overrides])


def packed(root, name, *flags):
    return command_line.main(['pack', 'words', '--config', DEMO, *FLAGS, '--data', str(root), '--name', name,
                              '--workers', '1', *flags])


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Words of several sizes, and packed: one too large for the recipe, and a broken one."""
    data = prepared(tmp_path_factory.mktemp('ragged'), 'words', LABELS, broken=('e.png',))
    cv2.imwrite(str(data / 'words' / '11.png'), np.full((90, 30, 3), 7, np.uint8))
    assert packed(data, 'packed') == 0
    return data


def batches(config, sources):
    vocab = vocabulary.from_config(config.text)
    plan = make_plan(config, vocab, sources, 1)
    return Batches(joined(sources), plan, np.arange, vocab, config, 100), plan.epoch


def same(one, other):
    """Whether the two have the same batches in two epochs, and how many of their rows can be used."""
    (first, epoch), (second, length) = one, other
    assert epoch == length
    used = 0
    for step in range(2 * epoch):
        want, got = first[step], second[step]
        assert set(want) == set(got)
        for key in want:
            if key != 'notes':
                np.testing.assert_array_equal(got[key], want[key], err_msg=key)
        assert unpack_notes(got['notes']) == unpack_notes(want['notes'])
        used += int(want['weight'].sum())
    return used


@pytest.mark.parametrize('flags', [(), MOVED])
@pytest.mark.parametrize('copies', [1, 2])
def test_training_takes_the_same_batches_and_says_the_same_of_their_rows(root, flags, copies):
    config = recipe(*flags)
    sources = {name: [open_set(name, config, root) for _ in range(copies)] for name in ('words', 'packed')}
    assert all(isinstance(source, Ragged) for source in sources['packed'])
    used = same(*(batches(config, each) for each in sources.values()))
    assert used >= 2 * copies * 11 - 8


def test_an_evaluation_reads_it_as_the_set_that_was_packed(root):
    config = recipe()
    one, other = (Steps(open_set(name, config, root), np.arange, 4, config, 0)
                  for name in ('words', 'packed'))
    assert len(one) == len(other)
    for step in range(len(one)):
        for key, want in one[step].items():
            np.testing.assert_array_equal(other[step][key], want, err_msg=key)


def test_images_may_be_read_in_colours_that_other_recipes_see_in_grey(root):
    for channels in ('rgb', 'bgr'):
        config = recipe(f'--config.image.channels={channels}', *MOVED)
        assert same(*(batches(config, [open_set(name, config, root)]) for name in ('words', 'packed'))) > 10


def test_canvases_may_change_and_what_decides_pixels_or_labels_may_not(root):
    config = recipe('--config.image.height=30', '--config.train.batch=1', buckets='--config.data.buckets=()')
    made, epoch = batches(config, [open_set('packed', config, root)])
    notes = [note for step in range(epoch) for note in unpack_notes(made[step]['notes'])]
    assert (16, '11.png', 'larger than 30 x 120', 'word11') in notes
    for override, said in (('text.max_length=9', '25'), ('image.fit=pad', "'none'")):
        with pytest.raises(ConfigError, match=f"set 'packed' was packed with .*{said}.*pack it again"):
            open_set('packed', recipe(f'--config.{override}', buckets='--config.data.buckets=()'), root)


def test_what_stands_by_the_rows_is_that_of_the_batches(root):
    config = recipe()
    source = open_set('packed', config, root)
    rows = np.arange(len(source))
    codes = source.codes(rows)
    reasons = {note[1]: note[2] for note in source.notes(rows, codes)}
    assert reasons == {'b.png': 'changed', 'c.png': 'empty', 'd.png': 'too long', 'e.png': 'is not an image',
                       '11.png': 'larger than 40 x 120'}
    assert source.labelled(rows)['weight'].tolist() == [1, 1, 0, 0, 0] + [1] * 11 + [0]
    two = joined([source, source])
    np.testing.assert_array_equal(two.image(18), source.image(1))
    assert two.labelled(np.array([18, 0]))['length'].tolist() == [5, 5]
    assert two.notes(np.array([34 - 1]), two.codes(np.array([34 - 1])))[0][:2] == (33, '11.png')


class Written:
    """Formulas written by hand."""

    name = 'written'

    def __init__(self, count):
        random = np.random.default_rng(0)
        self.hands = [[np.cumsum(random.integers(-40, 60, (8, 2)), 0).astype(np.float32)
                       for _ in range(1 + number % 3)] for number in range(count)]

    def __len__(self):
        return len(self.hands)

    def labels(self, indices):
        return [(str(i), 'word') for i in indices]

    def rows(self, indices):
        return [Row(str(i), 'word', ink.draw(self.hands[i]), '', self.hands[i]) for i in indices]


def test_ink_is_packed_and_moved_as_in_the_set_that_was_packed(tmp_path, monkeypatch):
    config = recipe(*MOVED, '--config.image.height=220', '--config.image.width=300')
    written = Written(9)
    monkeypatch.setattr(pack, 'open_set', lambda *_: written)
    monkeypatch.setattr(pack, '_OPENED', {'source': written, 'config': config,
                                          'vocab': vocabulary.from_config(config.text)})
    monkeypatch.setattr(pack, '_chunks', lambda *_: (pack._chunk(start, start + 3) for start in (0, 3, 6)))
    pack.pack('written', config, tmp_path, tmp_path / 'packed', 1)
    source = open_set('packed', config, tmp_path)
    assert source.measured().inked.all() and len(source.rows([4])[0].strokes) == 2
    assert same(batches(config, [written]), batches(config, [source])) > 12


def test_rows_of_a_set_on_one_canvas_are_bgr_too(root):
    flags = ['--config.image.fit=pad', '--config.image.channels=rgb']
    assert packed(root, 'canvas', *flags) == 0
    config = recipe(*flags, buckets='--config.data.buckets=()')
    steps = [Steps(open_set(name, config, root), np.arange, 4, config, 0) for name in ('words', 'canvas')]
    assert isinstance(steps[1].source, Packed)
    np.testing.assert_array_equal(steps[0][0]['image'], steps[1][0]['image'])
