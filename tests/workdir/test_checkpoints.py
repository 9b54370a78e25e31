"""Checkpoints: what is kept, what is opened, and what is refused."""

import math

import jax
import numpy as np
import pytest

from recog import models
from recog.config import recipe
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import open_workdir


@pytest.fixture
def saved(narrow, tmp_path):
    """Save steps with these accuracies; every variable of a checkpoint is the number of its step."""
    def save(accuracies, keep=1, folder='run'):
        config, workdir = narrow(), tmp_path / folder
        vocab = vocabulary.from_config(config.text)
        description.write(workdir, config, vocab)
        shapes = jax.eval_shape(models.build(config, vocab).init, jax.random.key(0))
        record = {'position': 0, 'config': recipe.to_json(config), 'vocab': vocab.to_json(),
                  'vocab_hash': vocab.hash,
                  'rows': {}}
        checkpoints = Checkpoints(workdir, keep)
        for step, accuracy in enumerate(accuracies, 1):
            variables = jax.tree.map(lambda leaf, step=step: np.full(leaf.shape, step, leaf.dtype), shapes)
            checkpoints.save(step, {'variables': variables, 'optimizer': {'step': np.int32(step)}}, record,
                             {} if accuracy is None else {'accuracy': accuracy})
        checkpoints.close()
        return workdir
    return save


def steps(workdir):
    checkpoints = Checkpoints(workdir, writing=False)
    found = checkpoints.steps()
    checkpoints.close()
    return found


def test_the_best_and_the_two_newest_are_kept(saved):
    assert steps(saved([0.1, 0.9, 0.3, 0.2, 0.1])) == [2, 4, 5]
    assert steps(saved([0.1, 0.9, 0.3, 0.8, 0.2, 0.1, None], keep=2, folder='two')) == [2, 4, 6, 7]


def test_an_accuracy_that_is_no_number_never_wins(saved):
    workdir = saved([0.5, math.nan, 0.4])
    assert steps(workdir) == [1, 2, 3] and open_workdir(workdir).step == 1


def test_the_best_step_opens_unless_another_is_asked_for(saved):
    workdir = saved([0.1, 0.9, 0.3])
    for step, asked in ((2, None), (3, 3)):
        opened = open_workdir(workdir, asked)
        assert opened.step == step
        assert all((np.asarray(leaf) == step).all() for leaf in jax.tree.leaves(opened.variables))
    with pytest.raises(ConfigError, match='--step 7: .* holds steps 2, 3'):
        open_workdir(workdir, 7)


def test_without_any_metric_the_newest_opens(saved):
    assert open_workdir(saved([None, None])).step == 2


def test_leftovers_of_a_killed_save_are_cleared(saved):
    workdir = saved([0.5])
    leftover = workdir / 'checkpoints' / '2.orbax-checkpoint-tmp'
    leftover.mkdir()
    Checkpoints(workdir).close()
    assert not leftover.exists() and steps(workdir) == [1]


def test_a_folder_without_a_run_is_refused(tmp_path, saved):
    with pytest.raises(ConfigError, match='does not exist'):
        open_workdir(tmp_path / 'nothing')
    with pytest.raises(ConfigError, match='no config.json'):
        open_workdir(tmp_path)
    with pytest.raises(ConfigError, match='holds no checkpoint yet'):
        open_workdir(saved([]))


@pytest.mark.parametrize('override',
                         ['model.lstm_hidden=9', 'text.max_length=9', 'image.width=64',
                          'optimizer.name=momentum',
                                      'model.backbone=vgg'])
def test_a_workdir_of_another_experiment_is_refused(narrow, saved, override):
    config = narrow(override)
    with pytest.raises(ConfigError, match=f'holds another experiment: config.{override.partition("=")[0]}'):
        description.compare(saved([0.5]), config, vocabulary.from_config(config.text))


def test_what_changes_a_run_is_refused_with_both_values_unless_it_is_asked_for(narrow, saved):
    config, workdir = narrow('train.batch=8', 'optimizer.rate=0.5'), saved([0.5])
    vocab = vocabulary.from_config(config.text)
    with pytest.raises(ConfigError, match=r'config.train.batch: 16 -> 8.* --change goes on .*'
                                          f'--workdir NEW --config.init={workdir}'):
        description.compare(workdir, config, vocab)
    changes = description.compare(workdir, config, vocab, change=True)
    assert sorted(changes) == ['config.optimizer.rate: 0.002 -> 0.5', 'config.train.batch: 16 -> 8']


@pytest.mark.parametrize('override', [
    'data.train=words', 'data.order=shuffle', 'init=x', 'schedule.warmup=1 steps', 'render.count=7',
    'train.length=9 steps', 'eval.sets=words', 'eval.limit=3', 'seed=1'])
def test_each_change_of_what_comes_of_a_run_is_refused(narrow, saved, override):
    config = narrow(override)
    with pytest.raises(ConfigError, match=f'config.{override.partition("=")[0]}: .*--change'):
        description.compare(saved([0.5]), config, vocabulary.from_config(config.text))


def test_how_a_run_is_carried_out_may_change(narrow, saved):
    config = narrow('log.every=7', 'data.threads=2', 'eval.report=words', 'checkpoint.keep=3')
    changes = description.compare(saved([0.5]), config, vocabulary.from_config(config.text))
    assert len(changes) == 4


def go_on(workdir, config, accuracies):
    """Save steps 10, 12, ... with these accuracies, measured as the config says."""
    vocab = vocabulary.from_config(config.text)
    checkpoints = Checkpoints(workdir, 1, measure=description.measure(config))
    assert checkpoints.is_best({'accuracy': 0.01})
    for number, accuracy in enumerate(accuracies):
        record = description.record(config, vocab, 0, {}, {})
        checkpoints.save(10 + 2 * number, {'variables': {'x': np.zeros(2)}}, record, {'accuracy': accuracy})
    found = checkpoints.best()
    checkpoints.close()
    return found


def test_accuracies_of_different_sets_are_not_compared(narrow, saved):
    workdir = saved([0.9, 0.5])
    assert go_on(workdir, narrow('eval.sets=words'), [0.1, 0.2, 0.15, 0.1]) == 12
    assert steps(workdir) == [12, 14, 16]


def test_the_checkpoint_whose_results_stand_is_kept(narrow, saved):
    workdir = saved([0.9])
    (workdir / 'results.json').write_text('{"step": 1}')
    assert go_on(workdir, narrow('eval.sets=words'), [0.5, 0.4, 0.3]) == 10
    assert steps(workdir) == [1, 10, 12, 14]


def test_a_dictionary_that_changed_is_refused(narrow, saved, tmp_path):
    config = narrow()
    with pytest.raises(ConfigError, match='its vocabulary differs'):
        description.compare(saved([0.5]), config, vocabulary.Vocab(('a', 'b')))
