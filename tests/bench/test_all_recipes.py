"""The table of measurements of the reference recipes."""

import json
from functools import partial

import pytest
from small import ROOT

from recog.bench import all_recipes
from recog.commands import command_line
from recog.config import experiments
from recog.errors import chosen


@pytest.fixture
def folder(tmp_path):
    """Figures of a recipe with its beam and its rival, and of one that has neither."""
    about = {'device': '1 x cpu', 'processor': 'Some CPU', 'cpus': 2, 'recog': '1', 'jax': '2',
             'date': '2026-01-02', 'precision': 'float32', 'overrides': []}

    def program(speed, bound='arithmetic'):
        return {'images_per_second': speed, 'GFLOP_per_image': 1.5, 'bound_by': bound}

    rare = about | {'config': 'experiments/rare.py:r34', 'trainable_parameters': 1_234_567,
                    'peak_GFLOP_per_second': 200.4}
    found = {'rare-r34': rare | {'infer_1': program(12.345), 'infer_32': program(2345.6),
                                 'beam10_1': program(1.25),
                                 'beam10_8': program(2.5), 'train_16': program(3.5, 'memory')},
             'rare-r34-pytorch': {'infer_1': {'ratio_of_times': 1.155}, 'train_16': {'ratio_of_times': 0.9},
                                  'torch': '3'},
             'can-d28': rare | {'config': 'experiments/can.py:d28', 'infer_1': program(6),
                                'date': '2026-01-03',
                                'overrides': ['--config.image.height=112'], 'image': '112 x 400',
                                'tokens': 40}}
    (tmp_path / 'cpu').mkdir()
    for name, figures in found.items():
        (tmp_path / 'cpu' / f'{name}.json').write_text(json.dumps(figures))
    return tmp_path


def test_the_table_puts_a_recipes_figures_in_one_row(capsys, folder):
    assert command_line.main(['bench', '--table', str(folder)]) == 0
    about, _, _, _, can, rare = capsys.readouterr().out.strip().splitlines()
    assert about == ('1 x cpu (Some CPU, 2 CPUs), 2026-01-02 to 2026-01-03, recog 1, jax 2; '
                     'a matrix product gave 200 to 200 GFLOP/s:')
    assert rare == ('| `rare.py:r34` | float32 | 1,234,567 | 12.3 (batch 1), 2,346 (batch 32) | '
                    '1.25 (batch 1), 2.5 (batch 8) | 3.5 (batch 16) | 1.16 / 0.90 | 1.5 / 1.5 '
                    '| arithmetic, memory |')
    assert can == ('| `can.py:d28`, 112 x 400, 40 tokens | float32 | 1,234,567 | 6 (batch 1) '
                   '| - |  | - | 1.5 | arithmetic |')


def test_a_folder_without_figures_is_named(capsys, tmp_path):
    assert command_line.main(['bench', '--table', str(tmp_path)]) == 2
    assert f'folder {str(tmp_path)!r} holds no figures' in capsys.readouterr().err


def test_every_reference_recipe_is_measured_in_float32_on_a_cpu_and_in_bfloat16_elsewhere(monkeypatch):
    monkeypatch.chdir(ROOT)
    here = list(all_recipes.measurements(True))
    there = list(all_recipes.measurements(False, ['--config.seed=3']))
    assert len({each.recipe for each in here}) == 14
    assert [each.recipe for each in here] == [each.recipe for each in there]
    assert sum(bool(each.searched) for each in here) == 8 and sum(each.rival for each in here) == 12
    assert all(all_recipes.FASTER in each.overrides and each.overrides[-1] == '--config.seed=3'
               and not each.rival for each in there)
    assert not any(all_recipes.FASTER in each.overrides for each in here)
    for each in (*here, *there):
        experiments.load(each.recipe, each.overrides)


def test_recipes_are_measured_and_kept_and_those_that_cannot_be_are_named(capsys, monkeypatch, tmp_path):
    def some(on_cpu, overrides):
        narrow = ('--config.image.width=48', '--config.model.lstm_hidden=8')
        yield all_recipes.Measurement('crnn-demo', 'experiments/crnn.py:demo', narrow, (2,), (3,), 4, False)
        yield all_recipes.Measurement('crnn-odd', 'experiments/crnn.py:demo', narrow, (2,), (), 4, False)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(all_recipes, 'measurements', some)
    monkeypatch.setattr(all_recipes, '_measure', partial(refuse_the_second, all_recipes._measure))
    status = command_line.main(['bench', '--all', str(tmp_path), '--seconds', '0.01', '--devices', '0',
                           '--profile', str(tmp_path / 'p')])
    said = capsys.readouterr()
    assert status == 1 and 'not measured: crnn-odd (out of memory)' in said.err
    figures = json.loads((tmp_path / 'cpu' / 'crnn-demo.json').read_text())
    assert {'infer_2', 'beam10_3', 'train_4'} < set(figures) and figures['train_4']['costliest']
    assert figures['train_4']['memory_MiB'] > figures['infer_2']['memory_MiB'] > 0
    assert said.out.count('`crnn.py:demo`') == 1


def test_only_the_recipes_that_are_named_are_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    every = [each.name for each in all_recipes.measurements(True)]
    assert chosen('--recipes', 'can-d28, crnn-mv3', every) == ['can-d28', 'crnn-mv3']
    assert chosen('--recipes', '', every) == every
    assert command_line.main(['bench', '--all', str(tmp_path), '--recipes', 'can', '--devices', '0']) == 2
    assert "--recipes 'can'" in (said := capsys.readouterr().err) and 'must be of crnn-r34' in said
    assert command_line.main(['bench', '--config', 'experiments/crnn.py:demo', '--recipes', 'can-d28']) == 2
    assert '--recipes can-d28: these are of --all FOLDER' in capsys.readouterr().err


def refuse_the_second(measure, each, *others):
    if each.name == 'crnn-odd':
        raise RuntimeError('out of memory')
    measure(each, *others)
