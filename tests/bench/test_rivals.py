"""What `recog bench --pytorch` refuses, how it alternates between programs, and that rivals equal our
networks in all their forms; the last needs PyTorch."""

import functools
import importlib

import jax
import narrow_models
import pytest
from small import ROOT

from recog import models
from recog.bench import programs, timing
from recog.bench.rivals import equality as ours
from recog.bench.rivals import listed
from recog.bench.rivals.frameworks import PYTORCH
from recog.commands import command_line
from recog.config.recipe import changed
from recog.text import vocabulary

# Narrow recipes that have a rival, as it computes: in float32, without groups of batch norm.
RECIPES = {name: changed(config, {'train.precision': 'float32', 'train.norm_group': 0})
           for name, config in narrow_models.RECIPES.items() if listed.reads(PYTORCH, config)}


def refused(capsys, recipe, *arguments):
    assert command_line.main(['bench', '--config', f'{ROOT}/experiments/{recipe}', '--pytorch',
                              *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == '' and said.err.count('\n') == 1
    return said.err


@pytest.mark.parametrize('recipe', ['comer.py', 'tamer.py'])
def test_an_algorithm_without_a_rival_is_refused_with_those_that_have_one(capsys, recipe):
    message = refused(capsys, recipe)
    assert f"config.model.name='{recipe.removesuffix('.py')}' has no rival" in message
    assert 'there is one for r34 and mv3 of crnn and rare and for ' in message and 'r50 of srn' in message


@pytest.mark.parametrize('recipe, field', [
    ('crnn.py:vgg', "config.model.backbone='vgg'"), ('crnn.py:x4', 'config.train.norm_group=256'),
    ('crnn.py:modern', 'config.train.ema=0.9999'),
    ('rare.py:demo', "config.model.backbone='small'"),
    ('rare.py:scheduled', "config.model.teaching='scheduled'"),
    ('rare.py:stop', 'config.model.skip_ends=False'),
    ('srn.py:modern', "config.model.positions='learned'"), ('srn.py:no_gsrm', 'config.model.semantic=False')])
def test_a_variant_that_computes_something_else_is_refused_with_its_field(capsys, recipe, field):
    message = refused(capsys, recipe)
    assert f'{field} has no rival' in message and 'there is one for r34 and mv3' in message


def test_bfloat16_is_compared_in_training_alone(capsys):
    precision = '--config.train.precision=bfloat16'
    message = refused(capsys, 'crnn.py:mv3', precision)
    assert message.endswith('has a rival in training alone, in PyTorch: --pytorch --only train\n')
    assert 'compares on one CPU' in refused(capsys, 'crnn.py:mv3', precision, '--only', 'train')


def test_what_does_not_compare_is_refused_beside_it(capsys):
    assert 'leave --profile, --only data out' in refused(capsys, 'crnn.py:mv3', '--profile', 'folder',
                                                         '--only', 'data')


def test_several_devices_are_refused(capsys):
    assert 'compares on one CPU, not on 8 x' in refused(capsys, 'crnn.py:mv3')


def test_without_pytorch_the_command_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)  # as if it were not there
    message = refused(capsys, 'crnn.py:mv3', '--devices', '0')
    assert message.endswith('--pytorch needs PyTorch: pip install torch\n')


def test_all_take_turns_of_an_untimed_call_and_at_least_one_that_counts():
    called = []
    seconds = timing.alternate({name: functools.partial(called.append, name) for name in 'ab'}, 0.0)
    assert called == ['a', 'a', 'b', 'b'] * timing.ROUNDS
    assert set(seconds) == {'a', 'b'}


def rival_of(config):
    """A rival, after PyTorch has been found."""
    pytest.importorskip('torch')
    build = importlib.import_module(f'recog.bench.pytorch.{config.model.name}').build
    return build(config, len(vocabulary.from_config(config.text)))


@pytest.mark.parametrize('name', RECIPES)
def test_a_rival_has_our_logits_texts_and_loss(name):
    config = RECIPES[name]
    rival, model = rival_of(config), models.build(config, vocabulary.from_config(config.text))
    from recog.bench.pytorch import equality

    assert equality.check(model, rival, config) < ours.EQUAL
    variables, batch = model.init(jax.random.key(0)), programs.random_batch(config, 2)
    equality.load(rival, model, variables)
    given = *equality.given(rival, batch, config), *equality.labels(batch)
    equality.check_loss(rival.train(), given, ours.loss(model, variables, batch))


@pytest.mark.parametrize('precision, most', [('float32', 1e-3), ('bfloat16', 0.02)])
def test_a_rivals_step_has_our_loss_within_the_rounding_of_the_precision(precision, most, monkeypatch):
    config = changed(RECIPES['svtrv2'].copy_and_resolve_references(), {'train.precision': precision})
    rival, model = rival_of(config), models.build(RECIPES['svtrv2'], vocabulary.from_config(config.text))
    from recog.bench.pytorch import equality, training

    variables, batch = model.init(jax.random.key(0)), programs.random_batch(config, 2)
    equality.load(rival, model, variables)
    wanted, found = ours.loss(model, variables, batch), []
    calls = training.steps(rival, model, config, batch, wanted)
    plain = type(rival).loss

    def noted(network, *given):
        loss = plain(network, *given)
        found.append(loss.item())
        return loss

    monkeypatch.setattr(type(rival), 'loss', noted)
    for call in calls.values():
        call()
    assert found == pytest.approx([wanted] * len(calls), rel=most)
    assert precision == 'float32' or found[0] != pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize('name', RECIPES)
def test_a_traced_rival_finds_what_the_eager_one_finds(name):
    rival = rival_of(RECIPES[name])
    from recog.bench.pytorch import forms

    calls, missing = forms.forms(rival, programs.random_batch(RECIPES[name], 2), RECIPES[name])
    assert {forms.PLAIN, forms.LAST, forms.TRACED} <= set(calls) and set(missing) <= {forms.OPENVINO}


def missing_traced(monkeypatch, traced):
    """Why the traced form of a narrow rival is missing if it is made like this."""
    config = RECIPES['latex_ocr']
    rival = rival_of(config)
    from recog.bench.pytorch import forms

    monkeypatch.setattr(forms, 'traced', traced)
    return forms.forms(rival, programs.random_batch(config, 2), config)[1][forms.TRACED]


def test_a_form_that_cannot_be_made_is_missing_with_the_reason(monkeypatch):
    def traced(*_):
        raise RuntimeError('no\n trace')

    assert missing_traced(monkeypatch, traced) == 'RuntimeError: no trace'


def test_a_form_that_finds_other_texts_is_missing(monkeypatch):
    def traced(reader, given):
        tokens, *others = reader(*given)
        return lambda *_: (tokens + 1, *others)

    assert missing_traced(monkeypatch, traced) == 'its texts are others'
