"""What `recog bench --pytorch` refuses, and how it alternates between programs;
the comparison itself needs PyTorch."""

import functools

import pytest
from small import ROOT

from recog.bench import timing
from recog.commands import command_line


def refused(capsys, recipe, *arguments):
    assert command_line.main(['bench', '--config', f'{ROOT}/experiments/{recipe}', '--pytorch',
                              *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == '' and said.err.count('\n') == 1
    return said.err


@pytest.mark.parametrize('recipe', ['can.py', 'latex_ocr.py'])
def test_an_algorithm_without_a_rival_is_refused_with_those_that_have_one(capsys, recipe):
    message = refused(capsys, recipe)
    assert f"config.model.name='{recipe.removesuffix('.py')}' has no rival" in message
    assert 'there is one for r34 and mv3 of crnn and rare and for r50 of srn' in message


@pytest.mark.parametrize('recipe, field', [
    ('crnn.py:vgg', "config.model.backbone='vgg'"), ('crnn.py:x4', 'config.train.norm_group=256'),
    ('crnn.py:modern', "config.train.precision='bfloat16'"),
    ('rare.py:demo', "config.model.backbone='small'"),
    ('rare.py:scheduled', "config.model.teaching='scheduled'"),
    ('rare.py:stop', 'config.model.skip_ends=False'),
    ('srn.py:modern', "config.model.positions='learned'"), ('srn.py:no_gsrm', 'config.model.semantic=False')])
def test_a_variant_that_computes_something_else_is_refused_with_its_field(capsys, recipe, field):
    message = refused(capsys, recipe)
    assert f'{field} has no rival' in message and 'there is one for r34 and mv3' in message


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
