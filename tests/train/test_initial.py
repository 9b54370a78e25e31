"""Training that starts from weights: another run's or a file's, all of them or parts."""

import contextlib
import io
import json
import re
import string

import cv2
import jax
import numpy as np
import pytest
from golden import fill
from pytorch_files import Tensor, zipped
from runs import trained
from small import DEMO, NARROW, ROOT

from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.models.peers import from_peer
from recog.text import vocabulary
from recog.train import initial
from recog.workdir.description import read_config
from recog.workdir.opened import open_workdir

RUN = (*NARROW, '--config.render.count=64', '--config.eval.sets=words', '--config.eval.report=absent',
       '--config.eval.every=0 steps', '--config.train.length=2 steps')


def command(workdir, root, *flags):
    """Run the whole command on one device; returns its status."""
    return command_line.main(['train', '--config', DEMO, '--workdir', str(workdir), '--data', str(root),
                              '--devices', '0', *RUN, *flags])


def train(first, workdir, *flags):
    """Train in another workdir, starting from the first run."""
    flags = [*RUN, f'--config.init={first}', *flags]
    return trained(experiments.load(DEMO, flags), workdir, root=first.parent)


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    """A narrow run of two steps."""
    folder = tmp_path_factory.mktemp('first') / 'run'
    (folder.parent / 'words').mkdir()
    cv2.imwrite(str(folder.parent / 'words' / 'a.png'), np.full((20, 50), 200, np.uint8))
    (folder.parent / 'words' / 'labels.tsv').write_text('a.png\tword\n')
    assert command(folder, folder.parent) == 0
    return folder


def parameters(workdir):
    return models.flatten(jax.device_get(open_workdir(workdir).variables['params']))


def loaded(start, *overrides, recipe=DEMO):
    flags = [*NARROW, f'--config.init={start}', *(f'--config.{override}' for override in overrides)]
    config = experiments.load(recipe, flags)
    vocab = vocabulary.from_config(config.text)
    return initial.load(config, vocab, models.build(config, vocab))


def test_a_run_goes_on_from_the_weights_of_another(first, tmp_path, capsys):
    workdir = train(first, tmp_path / 'run', '--config.optimizer.rate=1e-9')
    assert f'starts from {first}: ' in capsys.readouterr().out
    before, after = parameters(first), parameters(workdir)
    assert all(np.abs(after[path] - before[path]).max() < 1e-6 for path in before)


def test_a_run_whose_report_sets_are_not_there_is_measured_on_its_validation_and_says_so(first):
    results = json.loads((first / 'results.json').read_text())
    assert list(results['sets']) == ['words'] and results['missing'] == ['absent']


@pytest.fixture(scope='module')
def tuned(first, tmp_path_factory):
    """The narrow run fine-tuned in two steps by another vocabulary, and what the command printed."""
    folder = tmp_path_factory.mktemp('tuned')
    (folder / 'characters.txt').write_text('\n'.join(f'\u00e9{string.ascii_lowercase[::-1]}123456789'),
                                           encoding='utf-8')
    flags = ['--config.data.train=words,rendered:train', '--config.eval.sets=words',
             '--config.eval.report=words', '--config.train.length=2 steps',
             '--config.train.batch=4', '--config.train.ema=0', '--config.optimizer.rate=1e-3',
             '--config.optimizer.taken=0', '--config.optimizer.decay=0', '--config.eval.batch=64',
             '--config.image.augment.probability=0', '--config.log.to=']
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = command_line.main([
            'train', '--config', DEMO.replace(':demo', ':finetune'), '--workdir', str(folder / 'run'),
            '--data', str(first.parent), '--devices', '0', f'--config.init={first}',
            f'--config.text.charset={folder / "characters.txt"}', *flags])
    assert status == 0
    return folder / 'run', said.getvalue()


def test_a_fine_tuning_has_the_sizes_of_its_start_but_what_the_command_line_sets(first, tuned):
    before, after = read_config(first), read_config(tuned[0])
    assert after.model == before.model and after.image.width == before.image.width == 48
    assert after.text.charset.endswith('characters.txt') and after.train.batch == 4


def test_characters_that_both_vocabularies_have_keep_their_rows_and_others_are_drawn(first, tuned):
    before, after = parameters(first)['head', 'kernel'], parameters(tuned[0])['head', 'kernel']
    old, new = open_workdir(first).vocab.tokens, open_workdir(tuned[0]).vocab.tokens
    same = [np.array_equal(after[:, 1 + place], before[:, 1 + old.index(token)]) if token in old else None
            for place, token in enumerate(new)]
    # What was taken is frozen here; the new row was drawn, and has learnt.
    assert same == [None] + [True] * (len(new) - 1) and np.array_equal(after[:, 0], before[:, 0])
    assert np.abs(after[:, 1]).max() > 0
    assert "of 36 tokens 35 keep their rows, 1 are drawn ('\u00e9'), 1 are gone ('0')" in tuned[1]


def test_a_fine_tuning_ends_with_a_table_of_before_and_after(tuned):
    found = json.loads((tuned[0] / 'before.json').read_text())
    assert [each['set'] for each in found['sets']] == ['words']
    assert 'newly right' in tuned[1] and (tuned[0] / 'before.md').read_text().count('\n') == 3


def test_parts_are_taken_by_pattern_and_the_others_named(first):
    start = loaded(first, "init_parts=('backbone/*',)")
    assert {path[1] for path in models.flatten(start.variables)} == {'backbone'}
    assert any(line.startswith('not taken, by config.init_parts: ') for line in start.lines)


def test_a_frozen_part_keeps_its_weights(first, tmp_path):
    workdir = train(first, tmp_path / 'run', "--config.optimizer.groups=('backbone/*=0',)")
    before, after = parameters(first), parameters(workdir)
    same = {path: np.array_equal(before[path], after[path]) for path in before}
    assert all(same[path] == (path[0] == 'backbone') for path in same)


@pytest.mark.parametrize(('start', 'overrides', 'said'), [
    ('nowhere', (), "config.init='nowhere' is neither a workdir of recog nor a file"),
    ('{first}', ("init_parts=('backbones/*',)",),
     r"'backbones/\*' fits no parameter \(did you mean 'backbone/\*'\?\)"),
    ('{first}', ('model.lstm_hidden=16',), 'does not fit: of another shape .* config.init_parts'),
    ('{first}', ('model.lstm_hidden=16', 'text.charset=62'), 'of another shape .*head/kernel'),
])
def test_what_does_not_fit_is_refused_in_one_line(start, overrides, said, first):
    with pytest.raises(ConfigError, match=said) as refused:
        loaded(start.format(first=first), *overrides)
    assert '\n' not in str(refused.value)


def test_a_start_that_is_not_there_leaves_no_workdir(first, tmp_path, capsys):
    assert command(tmp_path / 'run', first.parent, '--config.init=nowhere') == 2
    assert 'neither a workdir' in capsys.readouterr().err and not (tmp_path / 'run').exists()


@pytest.mark.parametrize(('recipe', 'start', 'said'), [
    ('crnn.py:finetune', '', r"config.init='' must name a workdir or reader .* config.init_recipe=True"),
    ('crnn.py:finetune', 'labels.tsv', 'must be a workdir of recog or a reader, as config.init_recipe=True'),
    ('rare.py:finetune', 'run', 'is a crnn; take the recipe of its experiment'),
])
def test_a_fine_tuning_that_starts_from_nothing_or_from_another_algorithm_is_refused(
        recipe, start, said, first, tmp_path, capsys):
    place = first.parent / 'words' / start if start == 'labels.tsv' else first if start else ''
    assert command_line.main(['train', '--config', str(ROOT / 'experiments' / recipe), '--workdir',
                              str(tmp_path / 'run'), '--data', str(first.parent),
                              f'--config.init={place}']) == 2
    assert re.search(said, capsys.readouterr().err) and not (tmp_path / 'run').exists()


def test_a_published_file_is_a_start_too(tmp_path):
    recipe = DEMO.replace(':demo', ':mv3')
    config = experiments.load(recipe, NARROW)
    vocab = vocabulary.from_config(config.text)
    model = models.build(config, vocab)
    shapes = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    state = {}
    for key, peer in model.peers.items():
        shape, axes = np.array(shapes[peer.path].shape), models.TURNS[peer.turn]
        is_turned = axes is not None and len(axes) == len(shape)
        state[key] = fill('/'.join(peer.path), shape[np.argsort(axes)] if is_turned else shape)
    file = zipped(tmp_path / 'weights.pth', {key: Tensor(array) for key, array in state.items()})
    found = models.flatten(loaded(file, recipe=recipe).variables)
    want = models.flatten(from_peer(model, state))
    assert found.keys() == want.keys() and all(np.array_equal(found[path], want[path]) for path in want)
