"""The learning rate that is looked for: what the losses say, and the command."""

import math

import numpy as np
import pytest
from small import DEMO, NARROW

from recog.commands import command_line
from recog.errors import ConfigError
from recog.train import rates


def test_the_rate_is_where_the_loss_falls_fastest_before_it_is_least():
    tried = np.geomspace(1e-6, 1, 100)
    losses = 5 - 4 / (1 + (1e-3 / tried) ** 2) + 1e3 * np.maximum(tried - 0.05, 0)
    found = rates.judged(tried.tolist(), [*losses[:90], math.nan, *losses[91:]])
    assert 5e-4 < found.fastest < 4e-3 and len(found.rates) == len(found.smoothed) == 90


def test_losses_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigError, match='--find-rate: the loss is no number after 3 steps'):
        rates.judged([1e-6] * 20, [1.0, 1.0, 1.0, math.nan] * 5)


def test_the_command_draws_and_says_what_it_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rates, 'STEPS', 16)
    line = ['train', '--config', DEMO, *NARROW, '--config.render.count=64', '--devices', '0', '--find-rate']
    assert command_line.main([*line, str(tmp_path / 'rates.svg')]) == 0
    said = capsys.readouterr().out
    assert '--config.optimizer.rate=' in said and (tmp_path / 'rates.svg').read_text().count('<svg') == 1
    assert command_line.main([*line, 'rates.txt']) == 2 and 'must end in .png' in capsys.readouterr().err
