"""Training that starts from weights: another run's or a file's, all of them or parts."""

import json

import cv2
import jax
import numpy as np
import pytest
from golden import fill
from pytorch_files import Tensor, zipped
from runs import trained
from small import DEMO, NARROW

from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.models.peers import from_peer
from recog.text import vocabulary
from recog.train import initial
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


def test_with_another_vocabulary_what_depends_on_it_is_made_anew_and_named(first):
    start = loaded(first, 'text.charset=62', 'text.case=keep')
    found = models.flatten(start.variables)
    assert ('params', 'head', 'kernel') not in found and any(path[1] == 'backbone' for path in found)
    assert any('made anew, as the vocabulary is another: head/' in line for line in start.lines)


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
])
def test_what_does_not_fit_is_refused_in_one_line(start, overrides, said, first):
    with pytest.raises(ConfigError, match=said) as refused:
        loaded(start.format(first=first), *overrides)
    assert '\n' not in str(refused.value)


def test_a_start_that_is_not_there_leaves_no_workdir(first, tmp_path, capsys):
    assert command(tmp_path / 'run', first.parent, '--config.init=nowhere') == 2
    assert 'neither a workdir' in capsys.readouterr().err and not (tmp_path / 'run').exists()


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
