"""Reproducing a row of the results: what is checked first, what is trained, and what its record holds."""

import json
import shutil

import pytest
from small import DEMO, NARROW, ROOT

from recog.commands.command_line import main
from recog.config import experiments
from recog.data import file_hashes
from recog.errors import ConfigError
from recog.reproduce import record, rows, table

EXPERIMENT = f'''
"""A narrow recipe."""

from recog import config as configs

ALLOWED = {{}}
VARIANTS = {{'small': {{}}, 'drawn': {{'data.train': ('rendered:train',), 'data.nominal': 0}}}}
RESULTS = {{'small': {{'title': 'CRNN on eight words', 'published': '12 %'}},
            'drawn': {{'title': 'CRNN on drawn words', 'pack': True}}}}


def get_config(variant='small'):
    config = configs.load({DEMO!r}, {NARROW!r})
    config.data.train, config.data.nominal, config.render.count = ('words/train',), 8, 64
    config.eval.sets, config.eval.report = ('words/validation',), ('words/test', 'svt:test')
    return configs.variant(config, VARIANTS, variant)
'''
WORDS = [(f'{number}.png', f'word{number}') for number in range(8)]


@pytest.fixture
def place(tmp_path, monkeypatch, folder):
    """A folder with an experiment and its sets, sealed, from which the command is run."""
    for split, words in (('train', WORDS), ('validation', WORDS[:3]), ('test', WORDS[:4])):
        folder(f'words/{split}', words)
        file_hashes.seal(tmp_path / 'data' / 'words' / split)
    (tmp_path / 'experiments').mkdir()
    (tmp_path / 'experiments' / 'tiny.py').write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reproduce(*arguments):
    return main(['reproduce', *arguments, '--workdir', 'runs/a', '--data', 'data', '--out', 'records'])


def test_a_row_is_trained_measured_and_recorded_with_all_that_somebody_needs_to_do_it_again(place, capsys):
    assert reproduce('tiny-small', '--seed', '3', '--config.log.every=2') == 0
    said = capsys.readouterr()
    found = json.loads((place / 'records' / 'tiny-small.seed3.json').read_text())
    assert 'words/train: 8 images, whole' in said.out and 'on this machine' in said.out
    assert 'svt:test is not there and will not be measured' in said.err
    assert found['recipe'] == 'experiments/tiny.py:small' and found['seed'] == 3
    assert found['overrides'] == ['--config.log.every=2', '--config.seed=3']
    assert found['config']['train.batch'] == 16 and found['published'] == '12 %'
    assert found['data']['words/train']['images'] == 8 and len(found['data']['words/train']['sha256']) == 64
    assert found['missing'] == ['svt:test'] and set(found['sets']) == {'words/test'}
    assert found['sets']['words/test']['count'] == 4 and len(found['sets']['words/test']['interval']) == 2
    assert found['steps'] == 4 and found['images'] == 64 and found['hours'] > 0
    assert found['checkpoint']['chosen by'] == 'words/validation'
    assert [step for step, _ in found['loss']] == [1, 2, 4] and found['evaluations'][-1]['step'] == 4


def test_a_run_that_its_minutes_stopped_goes_on_by_the_same_line(place, capsys):
    line = ('tiny-drawn', '--minutes', '0.0001')
    assert reproduce(*line) == 0
    assert 'the same command goes on from there' in capsys.readouterr().out
    assert not (place / 'records').exists()
    assert reproduce('tiny-drawn') == 0
    found = json.loads((place / 'records' / 'tiny-drawn.json').read_text())
    assert found['config']['data.train'] == ['packed/tiny-drawn'] and found['steps'] == 4


def test_packed_words_that_were_drawn_by_another_recipe_are_refused(place, capsys):
    assert reproduce('tiny-drawn', '--minutes', '0.0001') == 0
    file = place / 'experiments' / 'tiny.py'
    file.write_text(file.read_text().replace('    return', '    config.render.difficulty = 0.5\n    return'))
    shutil.rmtree(place / 'runs')
    assert reproduce('tiny-drawn') == 2
    assert 'render.difficulty' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (('tiny-smal',), "did you mean 'tiny-small'"),
    (('tiny-small', '--config.train.batch=8'), 'is trained as its recipe says'),
    (('tiny-small', '--seed', '-1'), '--seed -1'),
])
def test_what_is_no_row_or_would_be_another_recipe_is_refused(place, capsys, arguments, message):
    assert reproduce(*arguments) == 2
    assert message in capsys.readouterr().err and not (place / 'runs').exists()


def test_data_that_are_not_whole_are_refused_before_anything_is_trained(place, capsys):
    (place / 'data' / 'words' / 'train' / '3.png').write_bytes(b'x' * 10)
    assert reproduce('tiny-small') == 2
    assert '3.png has 10 bytes' in capsys.readouterr().err and not (place / 'runs').exists()


def test_data_of_another_size_than_the_recipe_counts_are_refused(place, capsys):
    file = place / 'experiments' / 'tiny.py'
    file.write_text(file.read_text().replace(', 8, 64', ', 9, 64'))
    assert reproduce('tiny-small') == 2
    assert 'hold 8 images; the recipe counts 9' in capsys.readouterr().err


def test_the_table_has_a_line_for_each_row_and_the_mean_of_several_seeds(place):
    cost = {'hours': 0.5, 'images': 2_000_000, 'device': '1 x cpu', 'processor': 'Z80'}
    for seed, accuracy in ((0, 0.25), (1, 0.75)):
        figures = {'count': 4, 'right': 4 * accuracy, 'accuracy': accuracy}
        record.write({'name': 'tiny-small', 'seed': seed, **cost, 'sets': {'words/test': figures}},
                     place / 'records')
    lines = table.lines(place / 'records')
    assert lines[2] == ('| `tiny-small` | CRNN on eight words | 12 % | '
                        'words/test 50.00% ± 35.36% (2 seeds) | 2 M, 30 min, Z80 |')
    assert lines[3] == '| `tiny-drawn` | CRNN on drawn words | - | not run |  |'


def test_a_row_that_is_no_variant_is_refused(place):
    file = place / 'experiments' / 'tiny.py'
    file.write_text(file.read_text().replace("'small': {'title'", "'big': {'title'"))
    with pytest.raises(ConfigError, match="RESULTS has 'big'"):
        experiments.declared('experiments/tiny.py')


def test_the_readme_has_the_rows_of_the_records_that_have_a_figure(monkeypatch):
    monkeypatch.chdir(ROOT)
    said = [line for line in table.lines(record.FOLDER) if '| - | not run |' not in line]
    assert '\n'.join(said) in (ROOT / 'README.md').read_text()
    assert {each.name for each in rows.rows()} >= set(record.read(record.FOLDER))
