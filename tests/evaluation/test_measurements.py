"""What is measured of a run is added to what its folder holds: by set and by how it was measured."""

import csv
import json

import pytest

from recog.config.test_sets import SETS
from recog.errors import ConfigError
from recog.evaluation import compare, measurements, results, runs
from recog.evaluation.write import write_results
from recog.metrics.words import judge, word_figures

ABOUT = {'model': 'crnn', 'step': 7, 'protocol': '36', 'beam': 1, 'precision': 'float32', 'max length': 25,
         'width rule': 'fixed', 'seed': 0, 'recipe': 'a', 'run': 'x', 'commit': '1'}


def measured(folder, sets, own=False, **about):
    """Add sets, given by the verdicts of their words: {'svt:test': [True, ...]}."""
    about = {**ABOUT, **about}
    found = []
    for name, verdicts in sets.items():
        pairs = [('word', 'word' if right else 'worm') for right in verdicts]
        read = [results.Prediction(str(number), name, *pair, 0.5, *judge(*pair, about['protocol']))
                for number, pair in enumerate(pairs)]
        figures = {**word_figures(*zip(*pairs, strict=True), about['protocol']), 'unreadable': 0}
        found.append(results.Result(name, figures, read, [], []))
    return write_results(folder, found, [], about, own)


def right(folder):
    """By way of measuring: whether training reported it, and how many words of each set are right."""
    return [(each.own, {name: figures['right'] for name, figures in each.sets.items()},
             sum(prediction.right for prediction in each.predictions)) for each in measurements.read(folder)]


def test_what_training_reported_stays_whatever_is_measured(tmp_path):
    measured(tmp_path, {'mine': [True, False]}, own=True, command='recog train')
    reported = json.loads((tmp_path / 'results.json').read_text())
    read = (tmp_path / 'predictions.tsv').read_bytes()
    measured(tmp_path, {'svt:test': [True] * 3}, commit='2')
    measured(tmp_path, {'mine': [True, True]})
    measured(tmp_path, {'mine': [False, False]}, beam=5)
    after = json.loads((tmp_path / 'results.json').read_text())
    assert len(after.pop('more')) == 2 and after == reported and after['own'] is True
    assert (tmp_path / 'predictions.tsv').read_bytes() == read
    assert right(tmp_path) == [(True, {'mine': 1}, 1), (False, {'svt:test': 3, 'mine': 2}, 5),
                               (False, {'mine': 0}, 0)]


@pytest.mark.parametrize('change', [{'step': 8}, {'protocol': '94'}, {'protocol': '36+nfkd'}, {'beam': 5},
                                    {'precision': 'bfloat16'}, {'max length': 12}, {'width rule': 'widest'}])
def test_what_is_measured_in_another_way_stands_beside_and_in_the_same_way_replaces_its_row_alone(
        tmp_path, change):
    measured(tmp_path, {'mine': [True, True], 'svt:test': [True]})
    measured(tmp_path, {'mine': [True, False]}, **change)
    assert right(tmp_path) == [(False, {'mine': 2, 'svt:test': 1}, 3), (False, {'mine': 1}, 1)]
    measured(tmp_path, {'mine': [False, False]}, commit='2')
    assert right(tmp_path) == [(False, {'mine': 0, 'svt:test': 1}, 1), (False, {'mine': 1}, 1)]
    first = measurements.read(tmp_path)[0].document
    assert first['commit'] == '2' and first['earlier'] == {'svt:test': {'commit': '1'}}
    with (tmp_path / 'results.csv').open(encoding='utf-8', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['kind'] == 'set']
    assert [(row['name'], row['right'], row['commit']) for row in rows] == [
        ('mine', '0', '2'), ('svt:test', '1', '1'), ('mine', '1', '1')]
    page = (tmp_path / 'results.md').read_text(encoding='utf-8')
    assert page.count('# Measured: step ') == 2 and '| mine | 2 | 0 | 0.00% |' in page
    assert '- svt:test, which was measured before, differs in commit: 1' in page


def test_averages_are_over_all_sets_that_were_measured_in_the_same_way(tmp_path):
    names = list(SETS)
    for part in (names[:4], names[4:]):
        measured(tmp_path, {f'{name}:test': [True] * (SETS[name] // 2) + [False] * -(-SETS[name] // 2)
                            for name in part})
    found = {each['name']: each['value'] for each in measurements.read(tmp_path)[0].document['averages']}
    assert found['all ten, weighted'] == sum(count // 2 for count in SETS.values()) / 12067
    assert found['PARSeq, 7,248 images'] is not None


def test_a_later_report_of_training_comes_first_and_no_file_is_mistaken_for_another(tmp_path):
    measured(tmp_path, {'mine': [True, True]}, step=3)  # in the middle of the run
    measured(tmp_path, {'mine': [True, False]}, own=True, step=5)
    assert right(tmp_path) == [(True, {'mine': 1}, 1), (False, {'mine': 2}, 2)]
    measured(tmp_path, {'mine': [False, False]}, own=True, step=9)  # it went on
    assert right(tmp_path) == [(True, {'mine': 0}, 0), (True, {'mine': 1}, 1), (False, {'mine': 2}, 2)]
    measured(tmp_path, {'mine': [True, True]}, own=True, step=5)
    assert right(tmp_path) == [(True, {'mine': 2}, 2), (True, {'mine': 0}, 0), (False, {'mine': 2}, 2)]
    named = {each.document['predictions'] for each in measurements.read(tmp_path)}
    assert {file.name for file in tmp_path.iterdir()} == {
        'results.json', 'results.csv', 'results.md', 'suspects.tsv', *named}


@pytest.mark.parametrize('command, own', [('recog train --workdir x', True), ('recog evaluate x', False)])
def test_results_of_an_older_version_are_the_first_and_what_training_reported_is_kept(tmp_path, command, own):
    measured(tmp_path, {'mine': [True, False]}, command=command)
    old = json.loads((tmp_path / 'results.json').read_text())
    for name in ('own', 'predictions', 'notes', 'precision', 'max length', 'width rule', 'run'):
        del old[name]
    (tmp_path / 'results.json').write_text(json.dumps(old))
    assert right(tmp_path) == [(own, {'mine': 1}, 1)]
    measured(tmp_path, {'mine': [True, True]})
    assert right(tmp_path) == ([(True, {'mine': 1}, 1), (False, {'mine': 2}, 2)] if own else
                               [(False, {'mine': 2}, 2)])
    measured(tmp_path, {'mine': [False, False]}, precision='bfloat16')
    assert [each.results['sets']['mine']['right'] for each in runs.load(tmp_path)] == [2, 0]


@pytest.mark.parametrize('text', ['', '{', '[]', '{"sets": {}}', '{"sets": {"a": {}}, "protocol": "36"}'])
def test_a_damaged_file_of_results_is_named_and_not_overwritten(tmp_path, text):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(ConfigError, match='results.json holds no results; measure again: remove it, then '):
        measured(tmp_path, {'mine': [True]})
    assert (tmp_path / 'results.json').read_text() == text


def test_a_folder_with_the_results_of_another_run_is_refused(tmp_path):
    measured(tmp_path, {'mine': [True]})
    stored = measurements.read(tmp_path)
    measurements.refuse_another_run(stored, {**ABOUT, 'step': 8, 'beam': 5}, tmp_path)
    for change in ({'run': 'y'}, {'seed': 1}):
        with pytest.raises(ConfigError, match='holds the results of another run .* choose another folder'):
            measurements.refuse_another_run(stored, {**ABOUT, **change}, tmp_path)


def rows(markdown):
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in markdown.splitlines() if line.startswith('| ')]


def test_runs_are_compared_under_each_protocol_and_in_each_way(tmp_path):
    a, b = tmp_path / 'a', tmp_path / 'b'
    for folder, recipe, verdicts in ((a, 'a', [True, False]), (b, 'b', [True, True])):
        measured(folder, {'mine': verdicts}, own=True, recipe=recipe)
        measured(folder, {'mine': [True, True]}, beam=5, recipe=f'{recipe}5')
        measured(folder, {'mine': verdicts, folder.name: [True]}, protocol='94', recipe=f'{recipe}94')
    measured(a, {'mine': [False, False]}, step=3)
    measured(a, {'a': [False, False]}, step=4)
    said = compare.table([a, b])
    assert rows(said) == [
        ['run', 'seeds', 'mine'],
        ['a', '0', '50.00%'], ['a, beam 5', '0', '100.00%'], ['a, step 3', '0', '0.00%'],
        ['b', '0', '100.00%'], ['b, beam 5', '0', '100.00%'],
        ['run', 'seeds', 'mine'], ['a', '0', '50.00%'], ['b', '0', '100.00%']]
    assert 'protocol 36' in said and 'protocol 94' in said and f'a of {a}' in said
    pairs = compare.pair(a, b)
    assert pairs.count('A is') == 3 and f'A is {a} (step 7, protocol 36, beam 5, precision float32' in pairs
    assert [row[2:5] for row in rows(pairs) if row[0] == 'mine'] == [
        ['50.00%', '100.00%', '+50.00%'], ['100.00%', '100.00%', 'none'], ['50.00%', '100.00%', '+50.00%']]


def test_seeds_are_one_row_though_one_of_them_was_measured_in_more_ways(tmp_path):
    folders = [tmp_path / f'r34-seed{seed}' for seed in range(2)]
    for seed, folder in enumerate(folders):
        measured(folder, {'mine': [True, bool(seed)]}, own=True, seed=seed, step=70 + seed)
    measured(folders[0], {'mine': [False, False]}, beam=5, step=70)
    assert rows(compare.table(folders))[1:] == [['r34', '0, 1', '75.00% ± 35.36%'],
                                                ['r34, beam 5', '0', '0.00%']]


def test_of_a_set_that_was_measured_again_the_later_figures_are_compared(tmp_path):
    measured(tmp_path / 'a', {'mine': [True, False], 'svt:test': [True]}, own=True)
    measured(tmp_path / 'a', {'mine': [True, True]})
    assert rows(compare.table([tmp_path / 'a']))[1] == ['a', '0', '100.00%', '100.00%']
    found = runs.labels_and_verdicts(runs.load(tmp_path / 'a')[0], ['mine', 'svt:test'])
    assert len(found) == 3 and all(right for _, right in found.values())
