"""Folders that an earlier version wrote: its runs, exports and packed sets open, read and resume as before.

Their README says how they were made. Only the command and `recog.load` are used, because everything else may
change.
"""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

import recog
from recog.commands import command_line

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb'
STEP = 1500  # its last
NEAR = pytest.approx


@pytest.fixture(scope='module')
def older(tmp_path_factory):
    """A copy of what the earlier version wrote."""
    return shutil.copytree(WRITTEN, tmp_path_factory.mktemp('older') / 'folders')


@pytest.fixture
def command(capsys):
    """Run a command of recog, and return what it printed."""
    def run(*arguments):
        capsys.readouterr()
        status = command_line.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out
    return run


@pytest.fixture
def continued(older, command, tmp_path):
    """Continue training in a copy of the run, with overrides: what was printed, and the metrics by step."""
    def run(*overrides):
        folder = shutil.copytree(older / 'run', tmp_path / 'continued')
        said = command('train', '--change', '--workdir', folder, '--data', older / 'data', '--devices', 0,
                       '--config.log.every=1',
                       *(f'--config.{override}' for override in overrides))
        found = {}
        for line in records(folder / 'metrics.jsonl'):
            found.setdefault(line['step'], {}).update(line)
        return said, found
    return run


def records(file):
    return [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines()]


def predictions(folder):
    with (folder / 'predictions.tsv').open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file, delimiter='\t'))


@pytest.mark.parametrize(('name', 'devices'), [('run', '0'), ('export-onnx', ''), ('export-stablehlo', '0')])
def test_a_run_and_its_exports_read_the_samples_as_they_did(older, name, devices):
    known = records(older / 'read.jsonl')
    answers = recog.load(older / name, devices=devices)([older / line['file'] for line in known])
    assert [answer.text for answer in answers] == [line['text'] for line in known]
    # What that version called the confidence is the mean probability of the tokens.
    assert [answer.mean_token for answer in answers] == NEAR([line['confidence'] for line in known], abs=1e-3)
    assert all(0 < answer.confidence < answer.mean_token < 1 for answer in answers)


def test_predict_prints_the_lines_that_it_printed(older, command):
    known = records(older / 'read.jsonl')
    printed = command('predict', older / 'export-onnx', older / 'run' / 'samples', '--json').splitlines()
    found = [json.loads(line) for line in printed]
    assert [line.pop('confidence') for line in found] == NEAR([math.exp(line.pop('score')) for line in found],
                                                              abs=1e-3)
    means = NEAR([line.pop('confidence') for line in known], abs=1e-3)  # as that version called them
    assert [line.pop('mean_token') for line in found] == means
    assert found == [{**line, 'file': str(older / line['file'])} for line in known]


def test_evaluate_finds_the_results_that_stand_in_the_run(older, command, tmp_path):
    command('evaluate', older / 'run', '--data', older / 'data', '--out', tmp_path / 'measured',
            '--devices', 0)
    known, found = predictions(older / 'run'), predictions(tmp_path / 'measured')
    assert len(known) == 24
    confidences = [float(line.pop('confidence')) for line in known]
    assert [float(line.pop('mean_token')) for line in found] == NEAR(confidences, abs=1e-3)
    assert [float(line.pop('confidence')) for line in found] == NEAR(
        [math.exp(float(line.pop('score'))) for line in found], abs=1e-3)
    assert found == known
    before, now = (json.loads((folder / 'results.json').read_text())
                   for folder in (older / 'run', tmp_path / 'measured'))
    assert now['step'] == before['step'] == STEP
    for name, figures in before['sets'].items():
        newer = {'ece', 'auroc', 'symlg', 'symlg_within_1', 'symlg_within_2'}  # than that version
        assert now['sets'][name].keys() - figures.keys() == newer
        assert {key: now['sets'][name][key] for key in figures} == figures


@pytest.mark.slow
def test_training_goes_on_from_the_checkpoint_on_the_packed_set(older, continued):
    said, found = continued('data.train=packed', f'train.length={STEP + 3} steps', 'schedule.name=constant')
    assert f'starting at step {STEP}\n' in said and '24 images in packed' in said
    kept = {line['step']: line for line in records(older / 'run' / 'metrics.jsonl') if 'loss' in line}
    assert {step for step in found if step <= STEP} == set(kept)
    # The second and third step show whether the optimizer went on, too.
    for known in records(older / 'continued.jsonl'):
        for name in ('loss', 'grad_norm', 'rate', 'rows'):
            assert found[known['step']][name] == NEAR(known[name], rel=2e-3), name


@pytest.mark.slow
def test_training_goes_on_with_the_recipe_that_stands_in_the_run(continued):
    said, found = continued(f'train.length={STEP + 1} steps')
    assert f'starting at step {STEP}\n' in said and max(found) == STEP + 1
    assert f'checkpoint {STEP} has no averages of batch-norm statistics: they start from its last' in said
    assert found[STEP + 1]['loss'] < 2 < found[1]['loss']


@pytest.mark.slow
def test_report_writes_its_page_of_a_run(older, command, tmp_path):
    page = tmp_path / 'page.html'
    said = command('report', older / 'run', '--data', older / 'data', '--out', page, '--devices', 0)
    assert said == f'{page}\n'
    text = page.read_text(encoding='utf-8')
    assert '79.17%' in text
    for part in ('run', 'curves', 'results'):
        assert f'<section id="{part}"' in text
    # Pictures of the packed set's images, and of what the model made of them.
    for part, kind in (('mistakes', 'img'), ('features', 'svg'), ('attention', 'img')):
        assert f'<{kind}' in text.partition(f'<section id="{part}"')[2].partition('<section ')[0], part


def test_the_packed_set_is_what_was_sealed(older, command):
    assert command('check', older / 'data') == f'{older}/data/packed: sound\n'
