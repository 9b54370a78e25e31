"""Results whose form is damaged: what can be used is used, and the rest is named."""

import copy
import json

import pytest

from recog.errors import ConfigError
from recog.evaluation import compare, measurements, stored
from recog.evaluation.results import Prediction, Result
from recog.evaluation.write import write_results
from recog.metrics.words import word_figures
from recog.workdir import files

PAIRS = [('a', 'a'), ('b', 'c')]


@pytest.fixture
def folder(tmp_path):
    """A folder with the results of two sets of two words each."""
    def write(name):
        results = [Result(each, {**word_figures(*zip(*PAIRS, strict=True), '36'), 'unreadable': 0},
                          [Prediction(str(number), each, *pair, 0.5, pair[0] == pair[1], 1)
                           for number, pair in enumerate(PAIRS)], [], []) for each in ('words', 'more')]
        write_results(tmp_path / name, results, [], {'protocol': '36', 'seed': 0, 'step': 4, 'beam': 1}, True)
        return tmp_path / name
    return write


def edit(folder, change):
    held = files.read_results(folder)
    change(held)
    (folder / files.RESULTS).write_text(json.dumps(held))


def test_sound_results_stay_as_they_are(folder):
    held = files.read_results(folder('one'))
    assert stored.sound(copy.deepcopy(held)) == (held, [])


@pytest.mark.parametrize('change, lost', [
    (lambda held: held['sets']['more'].update(right='x'), 'set more'),
    (lambda held: held['sets']['more'].update(right=3), 'set more'),
    (lambda held: held['sets']['more'].update(lexicons=[1]), 'set more'),
    (lambda held: held['sets'].update(more=None), 'set more'),
    (lambda held: held['averages'].append({'value': 1}), 'averages'),
    (lambda held: held.update(predictions='../../etc/passwd'), 'predictions'),
    (lambda held: held.update(beam=10 ** 9), 'beam'),
    (lambda held: held.update(notes=['\ud800']), 'notes'),
    (lambda held: held.update(differences={'words': 1}), 'differences'),
])
def test_a_part_without_its_form_is_left_out_and_named(folder, change, lost):
    one = folder('one')
    edit(one, change)
    [found], [said] = measurements.read_sound(one)
    assert said == f'{one / "results.json"}: what it holds of {lost} cannot be read'
    assert 'words' in found.sets and ('more' in found.sets) == (lost != 'set more')
    with pytest.raises(ConfigError, match='cannot be read; measure again: remove it'):
        measurements.read(one)  # whoever adds to it would lose the rest


def test_lines_of_predictions_that_cannot_be_read_are_counted(folder):
    one = folder('one')
    file = one / files.PREDICTIONS
    lines = file.read_bytes().split(b'\n')
    lines[1], lines[2] = lines[1].replace(b'0.5000', b'nan'), lines[2].replace(b'\tc\t', b'\t\xff\t')
    file.write_bytes(b'\n'.join(lines))
    [found], [said] = measurements.read_sound(one)
    assert said == f'{file}: 2 lines cannot be read'
    assert [each.set for each in found.predictions] == ['more', 'more']
    file.write_bytes(b'\n'.join(lines[:1] + lines[3:]))
    assert measurements.read_sound(one)[1] == [f'{file}: 0 of 2 lines of words are left']


def test_runs_are_compared_by_what_can_be_read_of_them(folder, capsys):
    one, other = folder('one'), folder('other')
    edit(one, lambda held: held['sets']['more'].update(accuracy=[]))
    said = compare.report([one, other])
    assert '50.00%' in said and f'left out, as not all runs have it: more of {other}' in said
    assert f'{one / "results.json"}: what it holds of set more cannot be read' in capsys.readouterr().err
