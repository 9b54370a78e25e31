"""`recog average`: a model between what it is and what it started from."""

import json

import jax
import numpy as np
import pytest
from small import DEMO, NARROW, prepared

from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.evaluation import averaged
from recog.publish import card
from recog.text import vocabulary
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import open_workdir


def trained(place, seed, *overrides):
    """A workdir with random weights."""
    config = experiments.load(DEMO, [*NARROW, *overrides])
    vocab = vocabulary.from_config(config.text)
    description.write(place, config, vocab)
    checkpoints = Checkpoints(place)
    checkpoints.save(3, {'variables': models.build(config, vocab).init(jax.random.key(seed))},
                     description.record(config, vocab, 3, {}, {}), {'accuracy': 0.5})
    checkpoints.close()
    return place


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A model, the one that it started from, and images."""
    place = tmp_path_factory.mktemp('average')
    trained(place / 'start', 0)
    trained(place / 'run', 1, f'--config.init={place / "start"}')
    prepared(place, 'mine', [('0.png', 'x'), ('1.png', 'y')])
    return place


def average(place, *options, folder='mean', run='run'):
    return command_line.main(['average', str(place / run), str(place / folder), '--set', 'mine', '--data',
                              str(place / 'data'), *options])


def test_the_mean_is_a_workdir_with_the_weights_in_between(place, capsys):
    assert average(place) == 0
    record = json.loads((place / 'mean' / 'averaged.json').read_text())
    assert list(record['right']) == [str(share) for share in averaged.SHARES] and record['count'] == 2
    assert record['share'] == 1.0  # of equally good ones the one nearest to the model
    assert 'Share of the trained weights: 1;' in capsys.readouterr().out
    opened = open_workdir(place / 'mean')
    jax.tree.map(np.testing.assert_array_equal, opened.variables, open_workdir(place / 'run').variables)
    said = card.provenance(place / 'mean', opened.config)['averaged']
    assert said.startswith('1 of these weights and 0 of those of ') and said.endswith('chosen by mine')


def test_of_several_shares_the_one_that_reads_most_is_taken(place, monkeypatch):
    right = iter([[True, False]] * 3 + [[True, True]] + [[False, True]] * 5)
    monkeypatch.setattr(averaged, '_right', lambda *given: next(right))
    assert average(place, folder='between') == 0
    start, after, between = (open_workdir(place / name).variables['params'] for name in (
        'start', 'run', 'between'))
    for old, new, found in zip(*map(jax.tree.leaves, (start, after, between)), strict=True):
        np.testing.assert_allclose(found, 0.625 * old + 0.375 * new, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('run, options, said', [
    ('start', (), 'did not start from another model (config.init is empty)'),
    ('run', ('--set', 'mine:test'), 'is a test set, to which nothing may be fitted'),
])
def test_what_cannot_be_averaged_is_refused(place, run, options, said, capsys):
    assert average(place, *options, run=run, folder='refused') == 2
    assert said in capsys.readouterr().err and not (place / 'refused').exists()


def test_a_folder_that_is_there_is_kept(place, capsys):
    assert average(place, folder='start') == 2
    assert 'is there already; choose another' in capsys.readouterr().err


def test_a_model_of_another_shape_is_refused(place, capsys):
    trained(place / 'wider', 2, f'--config.init={place / "start"}', '--config.model.lstm_hidden=12')
    assert average(place, run='wider', folder='refused') == 2
    assert 'are not of one network and vocabulary' in capsys.readouterr().err
