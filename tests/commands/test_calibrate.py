"""A fitted temperature: where it is kept, and all that prints a confidence with it."""

import json
import math
import shutil

import pytest
from readers import DATA, RUN, SAMPLES, WRITTEN, publish, sealed

import recog
from recog.commands import command_line
from recog.errors import ConfigError
from recog.evaluation import calibrate, measurements
from recog.evaluation.results import Prediction
from recog.export import write
from recog.reading.exported import digest
from recog.workdir import calibration
from recog.workdir.opened import open_workdir


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A copy of a run with a fitted temperature."""
    folder = tmp_path_factory.mktemp('calibrated') / 'run'
    shutil.copytree(RUN, folder)
    assert command_line.main(['calibrate', str(folder), '--set', 'packed', '--data', str(DATA)]) == 0
    return folder


@pytest.fixture(scope='module')
def recognizer(run):
    return recog.load(run)


@pytest.fixture
def predicted(recognizer, monkeypatch, capsys):
    """What `recog predict` prints of the samples, without compiling the run again."""
    monkeypatch.setattr('recog.reading.recognizer.load', lambda *_, **__: recognizer)

    def lines(*options):
        capsys.readouterr()
        assert command_line.main(['predict', str(recognizer.opened.workdir), *options, *SAMPLES]) == 0
        return capsys.readouterr()
    return lines


def test_it_is_kept_for_its_step_and_used_by_evaluate_predict_and_python(run, predicted, recognizer):
    opened = open_workdir(run)
    found = json.loads((run / 'calibration.json').read_text())['steps'][str(opened.step)]
    assert found['sets'] == ['packed'] and (found['count'], found['right']) == (24, 19)
    assert found['after']['nll'] < found['before']['nll'] and found['kept'][0] == [0.0, 24, 19]
    assert opened.temperature == found['temperature'] != 1 and calibration.read(run, opened.step + 1) == {}
    read = [json.loads(line) for line in predicted('--json').out.splitlines()]
    for each in read:
        assert each['confidence'] == pytest.approx(math.exp(each['score'] / opened.temperature), abs=2e-4)
    assert [answer.confidence for answer in recognizer(SAMPLES)] == pytest.approx(
        [each['confidence'] for each in read], abs=1e-4)
    assert command_line.main(['evaluate', str(run), '--set', 'packed', '--data', str(DATA)]) == 0
    later = [each for each in measurements.read(run) if 'temperature' in each.document][-1]
    assert all(each.confidence == pytest.approx(math.exp(each.score / opened.temperature), abs=2e-4)
               for each in later.predictions)


def test_texts_below_a_threshold_are_left_out_and_counted(run, predicted, capsys):
    every = [json.loads(line) for line in predicted('--json').out.splitlines()]
    least = sorted(each['confidence'] for each in every)[len(every) // 2] - 1e-4
    few = sum(each['confidence'] < least for each in every)
    said = predicted('--at-least', f'{least:.6f}')
    assert f'{few} of {len(every)} texts are less sure than' in said.err and 0 < few
    for line, each in zip(said.out.splitlines(), every, strict=True):
        fields = line.split('\t')
        assert fields[1] == ('' if each['confidence'] < least else each['text'])
        assert fields[-1].startswith('below') == (each['confidence'] < least)
    read = [json.loads(line) for line in predicted('--at-least', '1', '--json').out.splitlines()]
    assert [each['unsure'] for each in read] == [each['text'] for each in every]
    assert all(each['text'] == '' and each['below'] == 1 for each in read)
    assert command_line.main(['predict', str(run), '--at-least', '1.5', SAMPLES[0]]) == 2
    assert '--at-least 1.5 must be from 0 to 1' in capsys.readouterr().err


def test_a_published_reader_and_an_export_bring_it_along(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('readers.RUN', run)
    place, wanted = tmp_path / 'reader', calibration.read(run, open_workdir(run).step)
    assert publish(place) == 0
    assert open_workdir(place).temperature == wanted['temperature']
    card = (place / 'card.md').read_text()
    assert f'Temperature {wanted["temperature"]:.3f}, fitted to 24 answers in packed' in card
    assert command_line.main(['calibrate', str(place), '--set', 'packed', '--data', str(DATA)]) == 2
    assert 'is a published reader, which stays as it is' in capsys.readouterr().err
    manifest = json.loads((place / 'reader.json').read_text())
    (place / 'reader.json').write_text(json.dumps({**manifest, 'calibration': {'temperature': -1}}))
    sealed(place)
    with pytest.raises(ConfigError, match="temperature '-1' must be a number from 0.01 to 100"):
        open_workdir(place)

    assert write._manifest(open_workdir(run), 'onnx', 1, str(run))['calibration'] == wanted
    shutil.copytree(WRITTEN / 'export-onnx', tmp_path / 'export')
    plain = recog.load(tmp_path / 'export')(SAMPLES)
    manifest = json.loads((tmp_path / 'export' / 'manifest.json').read_text()) | {'calibration': wanted}
    (tmp_path / 'export' / 'manifest.json').write_text(json.dumps({**manifest, 'digest': digest(manifest)}))
    fitted = recog.load(tmp_path / 'export')(SAMPLES)
    assert [each.confidence for each in fitted] == pytest.approx(
        [each.confidence ** (1 / wanted['temperature']) for each in plain])


def test_what_cannot_be_fitted_is_refused(run, tmp_path, capsys):
    read = Prediction('a', 'b', 'x', 'x', 0.5, True, 0, -0.5)
    with pytest.raises(ConfigError, match='of 2 answers all are right'):
        calibrate.fitted([read, read])
    assert command_line.main(['calibrate', str(run), '--set', 'formulas:test']) == 2
    assert '--set formulas:test is a test set' in capsys.readouterr().err
    (tmp_path / 'calibration.json').write_text('{"steps": 3}')
    with pytest.raises(ConfigError, match='is damaged; remove it, then recog calibrate'):
        calibration.read(tmp_path, 1)
