"""Loggers of other programs: what is refused, and that one that fails ends no training.

tests/programs/loggers.py checks them with the real programs.
"""

import importlib.util
import json

import pytest
from small import DEMO, NARROW

from recog.commands import command_line
from recog.config import recipe
from recog.data.sets import open_set
from recog.evaluation.results import Prediction, Result
from recog.train.loggers.examples import examples
from recog.train.loggers.opened import Loggers


class Recorded:
    """A logger that keeps what it is given, and fails from a step on."""

    def __init__(self, fails=99):
        self.given, self.fails = [], fails

    def write(self, step, values):
        if step >= self.fails:
            raise OSError('the server\nis down')
        self.given.append((step, values))

    def close(self, ended):
        self.given.append(ended)


@pytest.mark.parametrize('name', ['wandb', 'mlflow'])
def test_a_package_that_is_missing_is_one_line_before_training(tmp_path, capsys, monkeypatch, name):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda module: module != name and found(module) or None)
    line = ['train', '--config', DEMO, *NARROW, f'--config.log.to={name}', '--workdir', str(tmp_path / 'run')]
    assert command_line.main(line) == 2 and not (tmp_path / 'run' / 'config.json').exists()
    assert capsys.readouterr().err == (f"recog train: config.log.to has '{name}', which is not installed: "
                                       f"pip install 'recog[{name}]'\n")


def test_a_logger_that_fails_is_left_out_and_named_and_the_others_go_on(capsys):
    one, other, loggers = Recorded(), Recorded(fails=2), Loggers()
    loggers.add('one', one)
    loggers.add('other', other)
    for step in (1, 2, 3):
        loggers.write(step, {'set@1/loss': 0.5})
    loggers.ended = 'finished'
    loggers.close()
    assert one.given == [*((step, {'set_1/loss': 0.5}) for step in (1, 2, 3)), 'finished']
    assert other.given == [(1, {'set_1/loss': 0.5})]
    said = capsys.readouterr().err
    assert said.count('warning') == 1 and 'other failed' in said and 'the server is down' in said


def test_a_workdir_of_an_earlier_version_logs_where_it_did():
    for before, now in ((True, ('tensorboard',)), (False, ())):
        old = recipe.base(name='crnn').to_dict()
        old['log'] = {'every': 50, 'tensorboard': before}
        config = recipe.from_json(json.dumps(old))
        assert config.log.to == now and 'tensorboard' not in config.log


def test_the_examples_of_a_set_are_its_readable_images_in_rgb(folder, narrow):
    root = folder('words', [('a.png', 'a'), ('b.png', 'b'), ('c.png', 'c')], broken=('b.png',))
    source = open_set('words', narrow(), root)
    read = [Prediction(name, 'words', name, name, 1.0, True, 0) for name in 'ac']
    shown = examples(source, Result('words', {}, read, [('b.png', 'is not an image')], []))
    assert [each.prediction.truth for each in shown] == ['a', 'c']
    pixels = next(iter(source.rows([2]))).image
    assert (shown[1].image == pixels[:, :, ::-1]).all()
