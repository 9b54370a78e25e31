"""Training that starts from weights: another run's or a file's, all of them or parts."""

import json

import cv2
import jax
import numpy as np
import pytest
from golden import fill
from pytorch_files import Tensor, zipped
from small import DEMO, NARROW

from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.models.peers import from_peer
from recog.text import vocabulary
from recog.train import initial
from recog.workdir.opened import open_workdir

ONE = ('--devices', '0')
RUN = (*NARROW, '--config.render.count=64', '--config.eval.sets=words', '--config.eval.report=absent',
       '--config.eval.every=0 steps', '--config.train.length=2 steps')


def train(capsys, first, *arguments):
    status = command_line.main(['train', '--config', DEMO, *ONE, *RUN, '--data', str(first.parent), *map(str, arguments)])
    out = capsys.readouterr()
    assert 'Traceback' not in out.err
    return status, out.out, out.err


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    """A narrow run of two steps."""
    folder = tmp_path_factory.mktemp('first') / 'run'
    (folder.parent / 'words').mkdir()
    cv2.imwrite(str(folder.parent / 'words' / 'a.png'), np.full((20, 50), 200, np.uint8))
    (folder.parent / 'words' / 'labels.tsv').write_text('a.png\tword\n')
    assert command_line.main(['train', '--config', DEMO, '--workdir', str(folder), *ONE, *RUN, '--data', str(folder.parent)]) == 0
    return folder


def parameters(workdir):
    return models.flatten(jax.device_get(open_workdir(workdir).variables['params']))


def given(start, *overrides, recipe=DEMO):
    config = experiments.load(recipe, [*NARROW, f'--config.init={start}', *(f'--config.{override}' for override in overrides)])
    vocab = vocabulary.from_config(config.text)
    return initial.load(config, vocab, models.build(config, vocab))


def test_a_run_goes_on_from_the_weights_of_another(first, tmp_path, capsys):
    status, out, _ = train(capsys, first, '--workdir', tmp_path / 'run', f'--config.init={first}', '--config.optimizer.rate=1e-9')
    assert status == 0 and f'starts from {first}: ' in out
    before, after = parameters(first), parameters(tmp_path / 'run')
    assert all(np.abs(after[path] - before[path]).max() < 1e-6 for path in before)


def test_a_run_whose_report_sets_are_not_there_is_measured_on_its_validation_and_says_so(first):
    results = json.loads((first / 'results.json').read_text())
    assert list(results['sets']) == ['words'] and results['missing'] == ['absent']


def test_with_another_vocabulary_what_depends_on_it_is_made_anew_and_named(first):
    start = given(first, 'text.charset=62', 'text.case=keep')
    found = models.flatten(start.variables)
    assert ('params', 'head', 'kernel') not in found and any(path[1] == 'backbone' for path in found)
    assert any('made anew, as the vocabulary is another: head/' in line for line in start.lines)


def test_parts_are_taken_by_pattern_and_the_others_named(first):
    start = given(first, "init_parts=('backbone/*',)")
    assert {path[1] for path in models.flatten(start.variables)} == {'backbone'}
    assert any(line.startswith('not taken, by config.init_parts: ') for line in start.lines)


def test_a_frozen_part_keeps_its_weights(first, tmp_path, capsys):
    frozen = "--config.optimizer.groups=('backbone/*=0',)"
    status, _, _ = train(capsys, first, '--workdir', tmp_path / 'run', f'--config.init={first}', frozen)
    assert status == 0
    before, after = parameters(first), parameters(tmp_path / 'run')
    same = {path: np.array_equal(before[path], after[path]) for path in before}
    assert all(same[path] == (path[0] == 'backbone') for path in same)


@pytest.mark.parametrize(('start', 'overrides', 'said'), [
    ('nowhere', (), "config.init='nowhere' is neither a workdir of recog nor a file"),
    ('{first}', ("init_parts=('backbones/*',)",), r"'backbones/\*' fits no parameter \(did you mean 'backbone/\*'\?\)"),
    ('{first}', ('model.lstm_hidden=16',), 'does not fit: of another shape .* config.init_parts'),
])
def test_what_does_not_fit_is_refused_in_one_line(start, overrides, said, first):
    with pytest.raises(ConfigError, match=said) as refused:
        given(start.format(first=first), *overrides)
    assert '\n' not in str(refused.value)


def test_a_start_that_is_not_there_leaves_no_workdir(first, tmp_path, capsys):
    status, _, err = train(capsys, first, '--workdir', tmp_path / 'run', '--config.init=nowhere')
    assert status == 2 and 'neither a workdir' in err and not (tmp_path / 'run').exists()


def test_a_published_file_is_a_start_too(tmp_path):
    recipe = DEMO.replace(':demo', ':mv3')
    config = experiments.load(recipe, NARROW)
    vocab = vocabulary.from_config(config.text)
    model = models.build(config, vocab)
    shapes = models.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    state = {}
    for key, peer in model.peers.items():
        shape = np.array(shapes[peer.path].shape)
        axes = models.TURNS[peer.turn]
        state[key] = fill('/'.join(peer.path), shape if axes is None or len(axes) != len(shape) else shape[np.argsort(axes)])
    file = zipped(tmp_path / 'weights.pth', {key: Tensor(array) for key, array in state.items()})
    found = models.flatten(given(file, recipe=recipe).variables)
    want = models.flatten(from_peer(model, state))
    assert found.keys() == want.keys() and all(np.array_equal(found[path], want[path]) for path in want)
