"""Readers measured on corrupted images: what is kept, shown and compared, and what is refused."""

import json
import shutil

import pytest
from readers import RUN
from small import DEMO, NARROW, prepared

from recog.commands import command_line
from recog.data.corrupted import Corrupted
from recog.errors import ConfigError
from recog.evaluation import robustness
from recog.images.corrupt import CORRUPTIONS


def record(clean, *rights, name='contrast'):
    return {'set': 'words', 'count': 10, 'clean': clean, 'corruptions': {name: list(rights)},
            'protocol': '36', 'step': 1, 'beam': 1}


def test_two_readers_are_measured_and_compared_on_the_same_images(reader, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RUN, 'run')
    line = ['evaluate', 'run', str(reader), '--set', 'formulas:test', '--limit', '6', '--out', 'both']
    assert command_line.main([*line, '--corrupt', 'contrast,occlusion']) == 0
    said = capsys.readouterr().out
    mine, = robustness.read(tmp_path / 'run')
    other, = robustness.read(next(tmp_path.glob('*-results')))
    for each in (mine, other):
        assert each['count'] == 6 and set(each['corruptions']) == {'contrast', 'occlusion'}
        assert len(each['corruptions']['contrast']) == 5 and each['protocol'] == 'latex'
    assert 'difference' in said and 'mean of all corruptions' in said
    assert {file.name for file in (tmp_path / 'both').iterdir()} == {
        'robustness.md', 'robustness-formulas-test.svg', 'robustness-formulas-test.png'}


def test_a_measurement_joins_those_that_were_made_alike(tmp_path):
    robustness.add(tmp_path, [record(9, 5, 4, 3, 2, 1)])
    robustness.add(tmp_path, [record(9, 8, 8, 8, 8, 8, name='size'), record(8, 0, 0, 0, 0, 0)])
    first, second = robustness.read(tmp_path)
    assert first['corruptions'] == {'contrast': [5, 4, 3, 2, 1], 'size': [8] * 5} and second['clean'] == 8
    assert robustness.mean(first) == pytest.approx((0.3 + 0.8) / 2)
    table = robustness.table(first)
    assert '90.00% right as they are, 55.00% in the mean' in table
    row = '| contrast | 50.00% | 40.00% | 30.00% | 20.00% | 10.00% | 30.00% |'
    assert table.index('| size |') < table.index(row)
    compared = robustness.side_by_side({'a': second, 'b': first})
    assert '| as they are | 80.00% | 90.00% | +10.00% |' in compared and '| size |' not in compared


@pytest.mark.parametrize('content', [
    '{', '{"measured": [{}]}', json.dumps({'measured': [record(11, 0, 0, 0, 0, 0)]}),
    json.dumps({'measured': [record(1, 0, name='other')]})])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / 'robustness.json').write_text(content)
    with pytest.raises(ConfigError, match=r'robustness.json is damaged; remove it, then measure again'):
        robustness.read(tmp_path)


def test_what_is_no_corruption_and_what_is_fitted_already_is_refused(capsys):
    for said, options in (
            ("--corrupt 'contrasts' is not one of rotation", ['--corrupt', 'contrasts']),
            ('--limit 5: it is for --corrupt', ['--limit', '5']),
            ('is given twice', [str(RUN), '--corrupt'])):
        assert command_line.main(['evaluate', str(RUN), *options]) == 2
        assert said in capsys.readouterr().err

    class Fitted(list):
        name = 'packed'
        rows = labels = arrays = codes = notes = list.copy
    with pytest.raises(ConfigError, match='packed cannot be corrupted: it is packed for a recipe'):
        Corrupted(Fitted(), 0, 0)


def test_a_training_measures_its_report_under_corruptions_at_its_end(tmp_path, capsys):
    root = prepared(tmp_path, 'words', [(f'{number}.png', 'word') for number in range(3)])
    assert command_line.main([
        'train', '--config', DEMO, '--workdir', str(tmp_path / 'run'), '--data', str(root), '--devices', '0',
        *NARROW, '--config.train.length=1 steps', '--config.render.count=16', '--config.eval.every=0 steps',
        '--config.eval.sets=words', '--config.eval.report=words', '--config.eval.corrupted=2']) == 0
    found, = robustness.read(tmp_path / 'run')
    assert (found['set'], found['count'], found['step']) == ('words', 2, 1)
    assert list(found['corruptions']) == list(CORRUPTIONS)
    assert 'words, 2 images, protocol 36' in capsys.readouterr().out
