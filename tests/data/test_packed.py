"""Packed sets: the same batches as the set that was packed, for the same recipe only, whole or not at all."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from small import DEMO, ROOT

from recog.commands import command_line
from recog.config import experiments
from recog.data.batches import Batches, unpack_notes
from recog.data.joined import joined
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.train.run import make_run

LABELS = [('a.png', 'Hello'), ('b.png', 'w-orld'), ('c.png', '!!'), ('d.png', 'x' * 40), ('e.png', 'broken'),
          ('f.png', 'last')]
FLAGS = ['--config', DEMO, '--config.image.width=48']


@pytest.fixture
def root(folder):
    """A set with a label that changes, two that cannot be used and a broken image."""
    return folder('words', LABELS, broken=('e.png',))


def pack(root, name='packed', *flags):
    return command_line.main(['pack', 'words', *FLAGS, '--data', str(root), '--name', name,
                              '--workers', '1', *flags])


def batches(config, root, *names):
    opened = joined([open_set(name, config, root) for name in names])
    plan = Plan([len(source) for source in opened.sources], (), 4, 'shuffle', 0)
    return Batches(opened, plan, np.arange, vocabulary.from_config(config.text), config, 100)


def recipe(*overrides):
    return experiments.load(DEMO, [*FLAGS[2:], *overrides])


def test_training_takes_the_same_batches_and_says_the_same_of_their_rows(root, capsys):
    assert pack(root) == 0
    out = capsys.readouterr().out
    assert out.endswith('6 rows: 2 kept, 1 changed, 1 empty, 1 too long, 1 is not an image\n')
    config = recipe()
    assert pack(root, 'again') == 0
    for names, twins in ((['words'], ['packed']), (['words', 'words'], ['packed', 'again'])):
        plain, fast = batches(config, root, *names), batches(config, root, *twins)
        assert fast.packed and not plain.packed
        for step in range(4):
            want, got = plain[step], fast[step]
            assert set(got) == set(want)
            used = want['weight'] > 0
            for key in want:
                assert got[key].dtype == want[key].dtype
                if key not in ('notes', 'rows'):
                    np.testing.assert_array_equal(got[key][used], want[key][used])
            np.testing.assert_array_equal(got['weight'], want['weight'])
            assert sorted(unpack_notes(got['notes'])) == sorted(unpack_notes(want['notes']))


def test_batches_have_the_length_that_their_labels_need_packed_or_not(root):
    assert pack(root) == 0
    found = {}
    for name in ('words', 'packed'):
        config = recipe('--config.data.buckets=32x48x4,', f'--config.data.train={name},',
                        '--config.train.batch=1')
        run = make_run(config, vocabulary.from_config(config.text), root, jax.devices()[:1])
        steps = Batches(run.source, run.plan, np.arange, run.vocab, config, run.plan.epoch)
        found[name] = {int(steps[step]['index'][0]): steps[step] for step in range(run.plan.epoch)}
        assert sorted(found[name]) == list(range(len(LABELS)))
    for row, batch in found['words'].items():
        other = found['packed'][row]
        assert batch['tokens'].shape[1] == (25 if LABELS[row][1] in ('Hello', 'w-orld', 'broken') else 4)
        assert other['weight'] == batch['weight'] and other['tokens'].shape == batch['tokens'].shape
        if batch['weight']:
            np.testing.assert_array_equal(other['tokens'], batch['tokens'])
            assert batch['length'] == sum(letter.isalnum() for letter in LABELS[row][1])


def test_rows_and_labels_are_those_of_the_set_as_fitted(root):
    pack(root)
    source = open_set('packed', recipe(), root)
    assert source.labels([0, 3]) == [('a.png', 'Hello'), ('d.png', 'x' * 40)]
    whole, unused, broken = source.rows([0, 2, 4])
    assert whole.text == 'Hello' and whole.image.shape[0] == 32
    assert unused.image is not None and broken.image is None and broken.reason == 'is not an image'


def test_rows_that_follow_one_another_are_those_that_are_read_by_number(root):
    pack(root)
    source = open_set('packed', recipe(), root)
    whole, mixed = source.arrays(np.arange(len(source))), source.arrays(np.arange(len(source))[::-1])
    for part, values in whole.items():
        np.testing.assert_array_equal(values, mixed[part][::-1])
        assert values.flags.writeable


def test_augmentation_still_changes_packed_images(root):
    pack(root)
    plain, changed = (batches(recipe(f'--config.image.augment.noise={noise}'), root, 'packed')
                      for noise in (0.0, 50.0))
    assert plain.packed and not changed.packed
    assert any((plain[step]['image'] != changed[step]['image']).any() for step in range(3))


@pytest.mark.parametrize('override', ['image.width=64', 'image.channels=grey', 'text.charset=62',
                                      'text.max_length=9'])
def test_a_recipe_that_would_fit_or_encode_otherwise_is_refused(root, override):
    pack(root)
    with pytest.raises(ConfigError, match="set 'packed' was packed with .*; pack it again: recog pack words"):
        open_set('packed', recipe(f'--config.{override}'), root)


def test_one_and_two_workers_write_the_same_bytes(root, monkeypatch):
    pack(root, 'one')
    monkeypatch.setattr('recog.data.pack.CHUNK', 2)
    pack(root, 'two', '--workers', '2')
    for file in (root / 'one').glob('*.npy'):
        assert file.read_bytes() == (root / 'two' / file.name).read_bytes()


def test_what_is_there_is_not_overwritten_and_an_unknown_set_leaves_nothing(root, capsys):
    pack(root)
    assert pack(root) == 2 and 'exists already' in capsys.readouterr().err
    assert command_line.main(['pack', 'nothing', *FLAGS, '--data', str(root)]) == 2
    assert sorted(file.name for file in root.iterdir()) == ['packed', 'words']


def test_packing_that_is_interrupted_leaves_no_set(tmp_path):
    root = tmp_path / 'data'
    root.mkdir()
    line = [sys.executable, '-m', 'recog', 'pack', 'rendered:train', *FLAGS, '--config.render.count=200000',
            '--name', 'packed', '--data', str(root), '--workers', '1']
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, 'PYTHONUNBUFFERED': '1'})
    part = root / 'packed.incomplete' / 'image.npy'
    end = time.monotonic() + 60
    while not part.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and 'interrupted' in said, said
    assert not list(root.iterdir())


def test_a_file_of_another_size_is_named(root):
    pack(root)
    with (root / 'packed' / 'image.npy').open('ab') as file:
        file.write(b'x')
    with pytest.raises(ConfigError, match='file image.npy has .* bytes instead of'):
        open_set('packed', recipe(), root)
    assert command_line.main(['check', str(root)]) == 1


def test_the_speed_of_reading_a_set_is_printed(root, capsys):
    pack(root)
    for name in ('words', 'packed'):
        line = ['bench', '--set', name, '--data', str(root), '--seconds', '0.1', *FLAGS]
        assert command_line.main(line) == 0
        said = capsys.readouterr().out
        assert 'cold images/s per worker' in said and 'warm images/s per worker' in said
