"""Readers by their names, in every command that takes a workdir or a folder."""

import re
import shutil

import jax
import numpy as np
import pytest
from readers import DATA, READ, RUN, SAMPLES

import recog
from recog import models
from recog.commands import command_line
from recog.reading import named
from recog.text import vocabulary
from recog.train import initial
from recog.workdir import published
from recog.workdir.description import read_config
from recog.workdir.opened import open_workdir

MOST = {'words': 6_000_000, 'formulas': 8_000_000}  # bytes that a reader may add to the wheel


@pytest.fixture(autouse=True)
def came(reader, tmp_path, monkeypatch):
    """A reader `words` that came with recog, an empty current folder, and no reader `formulas`."""
    (tmp_path / 'readers').mkdir()
    (tmp_path / 'readers' / 'words').symlink_to(reader)
    monkeypatch.setattr(named, 'PLACE', tmp_path / 'readers')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'readers' / 'words'


@pytest.fixture
def run(capsys):
    def command(*arguments):
        status = command_line.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert 'Traceback' not in said.err
        return status, said.out, said.err
    return command


def test_predict_and_load_read_with_a_name(run):
    status, out, err = run('predict', 'words', *SAMPLES, '--devices', 0)
    assert status == 0 and err == '' and [line.split('\t')[1] for line in out.splitlines()] == READ
    assert recog.load('words', devices='0')(SAMPLES[0]).text == READ[0]


def test_evaluate_and_report_write_beside_a_reader_and_not_into_it(run, came, tmp_path):
    before = {file.name: file.read_bytes() for file in came.iterdir()}
    status, out, _ = run('evaluate', 'words', '--set', 'packed', '--data', DATA, '--devices', 0)
    assert status == 0 and re.search('^packed +24 ', out, re.M) and out.endswith('results in words-results\n')
    assert run('report', 'words', '--data', DATA, '--devices', 0)[:2] == (0, 'words-report.html\n')
    assert 'packed' in (tmp_path / 'here' / 'words-report.html').read_text()
    assert {file.name for file in (tmp_path / 'here').iterdir()} == {'words-results', 'words-report',
                                                                     'words-report.html'}
    assert {file.name: file.read_bytes() for file in came.iterdir()} == before


def test_export_and_bench_take_a_name(run, tmp_path):
    status, out, _ = run('export', 'words', 'out', '--format', 'stablehlo')
    assert status == 0 and 'of step 1500 as stablehlo' in out
    status, out, _ = run('bench', 'words', 'out', '--seconds', '0.01', '--batch', 1, '--devices', 0)
    assert status == 0 and [line.split()[0] for line in out.splitlines()[:3]] == ['form', 'workdir',
                                                                                  'stablehlo']


def test_a_training_starts_from_a_name(came):
    config = read_config(RUN)
    config.init = 'words'
    vocab = vocabulary.from_config(config.text)
    start = initial.load(config, vocab, models.build(config, vocab))
    assert start.lines[0].startswith('starts from words: ')
    found, wanted = (models.flatten(jax.device_get(each))
                     for each in (start.variables, open_workdir(came).variables))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[path], wanted[path]) for path in wanted)


def test_serve_takes_names_and_demo_serves_what_came_with_recog_unless_demos_are_asked_for(
        run, came, monkeypatch):
    from recog.server import demo as demos
    from recog.server import serve

    served = []
    monkeypatch.setattr(serve, 'serve', lambda folders, *_: served.append(folders) or 0)
    monkeypatch.setattr(demos, 'demos', lambda folder: {'own': None})
    assert run('serve', 'words', f'mine={RUN}', '--port', 0)[0] == 0
    assert run('demo', '--port', 0)[0] == run('demo', '--only', 'own', '--port', 0)[0] == 0
    assert served == [{'words': str(came), 'mine': str(RUN)}, {'words': str(came)},
                      {'own': 'runs/demo-own'}]
    assert "reader 'formulas' (handwritten formulas) does not come with" in run('serve', 'formulas')[2]
    monkeypatch.setattr(named, 'PLACE', came / 'none')
    assert run('demo', '--port', 0)[0] == 0 and served[-1] == {'own': 'runs/demo-own'}


def test_a_workdir_of_the_name_goes_first_and_that_is_said(run, tmp_path):
    place = shutil.copytree(RUN, tmp_path / 'here' / 'words')
    status, out, err = run('predict', 'words', SAMPLES[0], '--devices', 0)
    assert status == 0 and out and err == f'recog: words: {place}, not the reader of that name\n'


def test_a_folder_of_the_name_that_holds_no_model_does_not_hide_the_reader(came, tmp_path):
    (tmp_path / 'here' / 'words').mkdir()
    assert named.find('words') == came


@pytest.mark.parametrize(('name', 'said'), [
    ('formulas', "reader 'formulas' (handwritten formulas) does not come with this version of recog yet, and "
     'there is no folder of that name'),
    ('wrds', "workdir 'wrds' does not exist (did you mean 'words'?)"),
    ('hf://me/none', 'hf://me/none is not here yet: recog pull hf://me/none')])
def test_a_name_that_is_not_here_is_refused_in_a_line(run, name, said):
    assert run('predict', name, SAMPLES[0]) == (2, '', f'recog predict: {said}\n')


def test_readers_says_what_is_here_and_what_is_not(run, came):
    status, out, _ = run('readers')
    assert status == 0 and out.startswith('words: latex_ocr, ')
    for said in (' 12,648 parameters in float16', '109 tokens of LaTeX: ', str(came),
                 'packed: 79.17% of 24 (59.53% to 90.76%); protocol latex', ' ms an image of 32 x 80, ',
                 'licences: code: Apache-2.0; weights: Apache-2.0; data: formulas of the tests, '):
        assert said in out
    assert out.splitlines()[-1].startswith('formulas: does not come with this version of recog yet')
    assert run('readers', 'words')[1] == (came / 'card.md').read_text()
    assert run('readers', RUN)[2] == f'recog readers: {RUN} is no published reader; it has no card\n'


@pytest.mark.parametrize('name', named.COMES_WITH)
def test_a_reader_that_comes_with_recog_is_whole_and_small(name, monkeypatch):
    monkeypatch.undo()
    place = named.PLACE / name
    if not place.exists():
        pytest.skip('it does not come with recog yet')
    found = published.read(place)
    assert sum(file.stat().st_size for file in place.iterdir()) <= MOST[name]
    assert {file.name for file in place.iterdir()} == {*found.manifest['files'], 'reader.json'}
    assert all(found.manifest['licences'].values())


def test_a_reader_whose_facts_are_made_up_is_named_among_the_others(run, reader, tmp_path, monkeypatch):
    place = shutil.copytree(reader, tmp_path / 'made up' / 'words')
    (place / 'results.json').write_text('{"sets": {"a": {}}, "protocol": "36", "seed": 0}')
    monkeypatch.setattr(named, 'PLACE', place.parent)
    status, out, _ = run('readers')
    assert status == 0 and out.startswith(f'words: {place}/results.json: what it h')
