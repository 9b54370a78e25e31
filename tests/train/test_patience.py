"""Patience: when the rate is reduced and training ends, and that a stopped run does as if it had not been."""

import pytest
from runs import differences, lines, trained

from recog.train.loop import Trainer
from recog.train.patience import Patience, restored


@pytest.fixture
def recipe(narrow):
    return narrow('schedule.name=constant', 'schedule.warmup=0 steps', 'schedule.plateau.patience=2',
                  'schedule.plateau.factor=0.5', 'schedule.plateau.least=0.2', 'train.patience=5',
                  'train.length=12 steps', 'eval.every=1 steps', 'checkpoint.every=5 steps',
                  'optimizer.rate=0.004', 'render.count=64')


def test_what_evaluations_come_to(recipe):
    counted, found = Patience(), []
    for accuracy in (0.0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.6, 0.5):
        counted = counted.after(accuracy, recipe)
        found.append((counted.since, counted.scale(recipe), counted.is_over(recipe)))
    assert found == [(0, 1, False), (0, 1, False), (1, 1, False), (2, 0.5, False), (3, 0.5, False),
                     (4, 0.25, False), (0, 0.25, False), (1, 0.25, False)]
    assert Patience(since=5, reductions=4).is_over(recipe) and Patience(reductions=4).scale(recipe) == 0.2
    assert restored({}) == Patience() and restored({'patience': counted._asdict()}) == counted


def test_a_run_that_was_stopped_reduces_its_rate_and_ends_alike(recipe, tmp_path, monkeypatch, capsys):
    accuracies = {1: 0.1, 2: 0.3}
    monkeypatch.setattr(Trainer, '_evaluate',
                        lambda self, position: {'accuracy': accuracies.get(position, 0.2)})
    whole, parts = trained(recipe, tmp_path / 'whole'), trained(recipe, tmp_path / 'parts', stop=5)
    said = capsys.readouterr().out
    trained(recipe, parts)
    assert differences(whole, parts, 7) == []
    rates = [round(line['rate'], 6) for line in lines(whole) if 'rate' in line]
    assert rates == [0.004, 0.004, 0.004, 0.004, 0.002, 0.002, 0.001]
    assert 'step 4: no better for 2 evaluations' in said and 'step 7: no better for 5 evaluations' in said
    trained(recipe, parts)  # is at its end
    assert len(lines(parts)) == 7
