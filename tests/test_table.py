"""The table of what was measured of the reference recipes."""

import json

import pytest
from conftest import ROOT

from recog import __main__ as command
from recog.bench import table


@pytest.fixture
def folder(tmp_path):
    """Figures of a recipe with its beam and its rival, and of one that has neither."""
    about = {'device': '1 x cpu', 'processor': 'Some CPU', 'cpus': 2, 'recog': '1', 'jax': '2', 'date': '2026-01-02',
             'precision': 'float32', 'overrides': []}

    def program(speed, bound='arithmetic'):
        return {'images_per_second': speed, 'GFLOP_per_image': 1.5, 'bound_by': bound}

    rare = about | {'config': 'experiments/rare.py:r34', 'trainable_parameters': 1_234_567, 'peak_GFLOP_per_second': 200.4}
    found = {'rare-r34': rare | {'infer_1': program(12.345), 'infer_32': program(2345.6), 'train_16': program(3.5, 'memory')},
             'rare-r34-beam10': rare | {'infer_1': program(1.25), 'infer_8': program(2.5)},
             'rare-r34-pytorch': {'infer_1': {'ratio_of_times': 1.155}, 'train_16': {'ratio_of_times': 0.9}, 'torch': '3'},
             'srn-r50': rare | {'config': 'experiments/srn.py:r50', 'infer_1': program(6), 'date': '2026-01-03'}}
    (tmp_path / 'cpu').mkdir()
    for name, figures in found.items():
        (tmp_path / 'cpu' / f'{name}.json').write_text(json.dumps(figures))
    return tmp_path


def test_the_table_puts_a_recipes_figures_in_one_row(capsys, folder):
    assert command.main(['bench', '--table', str(folder)]) == 0
    about, _, _, _, rare, srn = capsys.readouterr().out.strip().splitlines()
    assert about == ('1 x cpu (Some CPU, 2 CPUs), 2026-01-02 to 2026-01-03, recog 1, jax 2; '
                     'a matrix product gave 200 to 200 GFLOP/s:')
    assert rare == ('| `rare.py:r34` | float32 | 1,234,567 | 12.3 (batch 1), 2,346 (batch 32) | 1.25 (batch 1), 2.5 (batch 8) '
                    '| 3.5 (batch 16) | 1.16 / 0.90 | 1.5 / 1.5 | arithmetic, memory |')
    assert srn == '| `srn.py:r50` | float32 | 1,234,567 | 6 (batch 1) | - |  | - |  | arithmetic |'


def test_a_folder_without_figures_is_named(capsys, tmp_path):
    assert command.main(['bench', '--table', str(tmp_path)]) == 2
    assert f'folder {str(tmp_path)!r} holds no figures' in capsys.readouterr().err


def test_every_reference_recipe_is_measured_on_accelerators_in_both_precisions(monkeypatch):
    monkeypatch.chdir(ROOT)
    here, there = list(table.measurements(True)), list(table.measurements(False))
    recipes = {each.recipe for each in here}
    assert recipes == {each.recipe for each in there} and len(recipes) == 7
    assert len({each.name for each in there}) == len(there) == 2 * (7 + 4)
    assert not any(table.FASTER in each.options for each in here)
