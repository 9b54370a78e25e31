"""What `recog bench --paddle` refuses, and that rivals equal our networks in all their forms; the last needs
Paddle."""

import importlib
import re
import sys

import jax
import narrow_models
import pytest
from small import ROOT

from recog import models
from recog.bench import programs
from recog.bench.rivals import equality as ours
from recog.bench.rivals import listed
from recog.bench.rivals.frameworks import PADDLE
from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.text import vocabulary

NARROW = ('--config.image.width=48', '--config.model.lstm_hidden=8', '--config.model.mobilenet_scale=0.35')
BENT = ('--config.model.rectify=small', '--config.model.fiducials=8', '--config.model.attention=8')
RECIPES = {recipe: experiments.load(f'{ROOT}/experiments/{recipe}', NARROW + more)
           for recipe, more in (('crnn.py:mv3', ()), ('crnn.py:r34', ()), ('rare.py:mv3', BENT),
                                ('rare.py:r34', BENT))} | {'srn.py:r50': narrow_models.RECIPES['srn']}


def refused(capsys, recipe, *arguments):
    assert command_line.main(['bench', '--config', f'{ROOT}/experiments/{recipe}', '--paddle',
                              *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == '' and said.err.count('\n') == 1
    return said.err


@pytest.mark.parametrize('recipe, field', [
    ('can.py', "config.model.name='can'"), ('comer.py', "config.model.name='comer'"),
    ('crnn.py:vgg', "config.model.backbone='vgg'"), ('crnn.py:modern', 'config.train.ema=0.9999'),
    ('rare.py:scheduled', "config.model.teaching='scheduled'"),
    ('rare.py:stop', 'config.model.skip_ends=False'), ('srn.py:modern', "config.model.positions='learned'"),
    ('srn.py:no_gsrm', 'config.model.semantic=False')])
def test_a_recipe_without_a_rival_is_refused_with_those_that_have_one(capsys, recipe, field):
    message = refused(capsys, recipe)
    assert f'--paddle: {field} has no rival; there is one for r34 and mv3 of crnn and rare' in message
    assert 'and for r50 of srn, and what differs from them' in message


def test_bfloat16_is_not_compared(capsys):
    message = refused(capsys, 'crnn.py:mv3', '--config.train.precision=bfloat16', '--only', 'train')
    assert message.endswith('has a rival in training alone, in PyTorch: --pytorch --only train\n')


def test_what_does_not_compare_is_refused_beside_it(capsys):
    assert '--paddle: leave --collectives out' in refused(capsys, 'crnn.py:mv3', '--collectives')


def test_two_frameworks_at_once_are_refused(capsys):
    assert 'leave one of them out' in refused(capsys, 'crnn.py:mv3', '--pytorch')


def test_several_devices_are_refused(capsys):
    assert '--paddle compares on one CPU, not on 8 x' in refused(capsys, 'crnn.py:mv3')


def test_without_paddle_the_command_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'paddle', None)  # as if it were not there
    message = refused(capsys, 'crnn.py:mv3', '--devices', '0')
    assert message.endswith('--paddle needs Paddle: pip install paddlepaddle\n')


def rival_of(config):
    """A rival, after Paddle has been found."""
    pytest.importorskip('paddle')
    build = importlib.import_module(f'recog.bench.paddle.{config.model.name}').build
    return build(config, len(vocabulary.from_config(config.text)))


@pytest.mark.parametrize('name', RECIPES)
def test_a_rival_has_our_logits_texts_and_loss_and_learns(name):
    config = RECIPES[name]
    rival, model = rival_of(config), models.build(config, vocabulary.from_config(config.text))
    from recog.bench.paddle import equality, training

    assert equality.check(model, rival, config) < ours.EQUAL
    variables, batch = model.init(jax.random.key(0)), programs.random_batch(config, 2)
    equality.load(rival, model, variables)
    wanted = ours.loss(model, variables, batch)
    (step,) = training.steps(rival, model, config, batch, wanted).values()
    network, *_, given = step.args
    for _ in range(3):
        step()
    with pytest.raises(ConfigError, match='the loss of the rival in training is'):
        equality.check_loss(network, given, wanted)
    assert float(equality.quiet(network).loss(*given)) < wanted


@pytest.mark.parametrize('name', RECIPES)
def test_the_engine_finds_what_the_eager_rival_finds(name):
    rival = rival_of(RECIPES[name])
    from recog.bench.paddle import forms

    calls, missing = forms.forms(rival, programs.random_batch(RECIPES[name], 2), RECIPES[name])
    assert set(calls) == set(forms.NAMES) and not missing


def test_an_array_of_another_size_is_refused_with_its_name():
    narrow, wide = RECIPES['crnn.py:mv3'], experiments.load(f'{ROOT}/experiments/crnn.py:mv3')
    rival, model = rival_of(narrow), models.build(wide, vocabulary.from_config(wide.text))
    from recog.bench.paddle import equality

    with pytest.raises(ConfigError, match=re.escape('conv.weight is (24, 8, 1, 1) instead of (32, 8')):
        equality.load(rival, model, model.init(jax.random.key(0)))


def test_what_a_rival_supports_is_read_without_the_framework():
    assert all(listed.fields(PADDLE, name) for name in ('crnn', 'rare', 'srn'))
    assert listed.fields(PADDLE, 'can') is None
