"""Runs compared by the results that `recog evaluate` wrote: seeds as mean and spread,
two runs word by word."""

import json
import random
import statistics

import numpy as np
import pytest

from recog.commands import command_line
from recog.config.test_sets import SETS
from recog.errors import ConfigError
from recog.evaluation import compare, results, runs, terminal
from recog.evaluation.write import write_results
from recog.metrics.words import judge, word_figures


def run(folder, verdicts, protocol='36', **about):
    """A folder with the results of a run; `verdicts` by set, of its words: {'svt:test': [True, ...]}."""
    found = []
    for name, right in verdicts.items():
        pairs = [('word', 'word' if good else 'worm') for good in right]
        read = [results.Prediction(str(number), name, *pair, 0.5, *judge(*pair, protocol))
                for number, pair in enumerate(pairs)]
        figures = word_figures(*zip(*pairs, strict=True), protocol)
        found.append(results.Result(name, {**figures, 'unreadable': 0}, read, [], []))
    write_results(folder, found, [],
                  {'model': 'crnn', 'protocol': protocol, 'beam': 1, 'seed': 0, 'recipe': 'a', **about})
    return folder


def share(right, count):
    return [True] * right + [False] * (count - right)


def cells(markdown):
    """The rows of the first table."""
    lines = [line for line in markdown.split('\n\n')[0].splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_runs_that_differ_in_their_seeds_are_one_row_with_mean_and_spread(tmp_path):
    folders = [run(tmp_path / f'r34-seed{seed}', {'svt:test': share(right, 100), 'mine': share(50, 100)},
                   seed=seed)
               for seed, right in enumerate((80, 84, 85))]
    folders.append(run(tmp_path / 'mv3-seed0', {'svt:test': share(70, 100), 'mine': share(40, 100)},
                       recipe='b'))
    rows = cells(compare.table(folders))
    spread = 100 * statistics.stdev([0.80, 0.84, 0.85])
    assert rows == [['run', 'seeds', 'svt:test', 'mine'],
                    ['r34', '0, 1, 2', f'83.00% ± {spread:.2f}%', '50.00%'],
                    ['mv3', '0', '70.00%', '40.00%']]
    assert 'protocol 36' in compare.table(folders)


def test_runs_of_the_same_seed_are_no_spread(tmp_path):
    folders = [run(tmp_path / name, {'mine': share(right, 10)})
               for name, right in (('step100', 5), ('step200', 7))]
    assert cells(compare.table(folders))[1:] == [['step100', '0', '50.00%'], ['step200', '0', '70.00%']]
    # A stream with its own seed counts as another seed.
    folders.append(run(tmp_path / 'step300', {'mine': share(9, 10)}, seeds={'data': 4}))
    assert cells(compare.table(folders[1:]))[1] == ['step200, step300', '0, 0 data 4', '80.00% ± 14.14%']


def test_rows_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    folders = [run(tmp_path / parent / 'run', {'mine': share(right, 4)}, recipe=parent)
               for parent, right in (('a', 1), ('b', 2))]
    assert [row[0] for row in cells(compare.table(folders))[1:]] == list(map(str, folders))
    beams = [run(tmp_path / f'beam{beam}', {'mine': share(1, 4)}, beam=beam, seed=beam) for beam in (1, 5)]
    assert len(cells(compare.table(beams))) == 3


def test_averages_have_columns_where_all_runs_have_them(tmp_path):
    whole = {f'{name}:test': share(count // 2, count) for name, count in SETS.items()}
    some = {name: right for name, right in whole.items() if name != 'ic03/860:test'}
    rows = cells(compare.table([run(tmp_path / 'a', whole), run(tmp_path / 'b', some, recipe='b')]))
    assert 'deep-text-recognition-benchmark' in rows[0] and 'MindOCR' not in rows[0]
    assert 'PaddleOCR' not in rows[0]
    # The sets, PaddleOCR's choices with IC03_867, and DTRB, OpenOCR, PARSeq's two.
    assert len(rows[0]) == 2 + 9 + 4 + 4
    said = compare.table([tmp_path / 'a', tmp_path / 'b'])
    assert 'left out, as not all runs have it: ic03/860:test of' in said
    assert 'MindOCR' in cells(compare.table([tmp_path / 'a']))[0]


def test_only_shared_sets_are_compared_and_what_cannot_be_is_refused_by_name(tmp_path):
    one = run(tmp_path / 'one', {'svt:test': share(5, 10), 'mine': share(5, 10)})
    two = run(tmp_path / 'two', {'mine': share(6, 12), 'other': share(1, 2)}, recipe='b')
    said = compare.report([one, two])
    assert cells(said)[0] == ['run', 'seeds', 'mine'] and f'svt:test of {one}' in said
    assert f'other of {two}' in said
    assert f'mine differs: 10 examples in {one}, 12 examples in {two}' in said
    assert '; 2 examples that only one of them has are left out' in said
    three = run(tmp_path / 'three', {'other': share(1, 2)})
    with pytest.raises(ConfigError,
                       match=r'no set is common to all: .*one has svt:test, mine; .*three has other$'):
        compare.table([one, three])
    four = run(tmp_path / 'four', {'mine': share(5, 10)}, protocol='94')
    message = 'protocols differ: .*one was measured under 36, .*four was measured under 94; '
    with pytest.raises(ConfigError, match=message):
        compare.table([one, two, four])
    with pytest.raises(ConfigError, match='one is given twice'):
        compare.table([one, one])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError,
                       match='empty has no results.json; measure it first: recog evaluate .*empty$'):
        compare.table([one, tmp_path / 'empty'])
    with pytest.raises(ConfigError, match=r"onee' does not exist \(did you mean '.*one'\?\)"):
        compare.table([tmp_path / 'onee'])
    (two / 'results.json').write_text('{"sets": {}}')
    with pytest.raises(ConfigError, match='two/results.json holds no results; measure again'):
        compare.table([one, two])


def test_two_runs_are_compared_example_by_example(tmp_path):
    first = {'mine': [True, True, False, False, True], 'svt:test': share(2, 5)}
    second = {'mine': [True, False, True, True, True], 'svt:test': share(5, 5)}
    said = compare.report([run(tmp_path / 'a', first), run(tmp_path / 'b', second, recipe='b')])
    table = said[said.index('A is'):].split('\n\n')[1]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    assert [row[:5] + row[6:] for row in rows if row[0] in ('mine', 'svt:test', 'all')] == [
        ['mine', '5', '60.00%', '80.00%', '+20.00%', '1', '2', '1'],
        ['svt:test', '5', '40.00%', '100.00%', '+60.00%', '0', '3', '0.25'],
        ['all', '10', '50.00%', '90.00%', '+40.00%', '1', '5', '0.22']]
    assert 'A is' not in compare.report([tmp_path / 'a'])


def test_examples_of_the_same_id_are_told_apart_and_other_labels_are_refused(tmp_path):
    def write(name, rows):
        folder = run(tmp_path / name, {'mine': share(1, 2)}, recipe=name)
        lines = ['\t'.join(results.Prediction._fields),
                 *('\t'.join((key, 'mine', truth, 'x', '0.5', right, '1'))
                                                          for key, truth, right in rows)]
        (folder / 'predictions.tsv').write_text('\n'.join(lines) + '\n')
        return folder
    one = write('one', [('a', 'x', 'right'), ('a', 'y', 'wrong'), ('b', 'z', 'right')])
    two = write('two', [('b', 'z', 'wrong'), ('a', 'x', 'wrong'), ('a', 'y', 'right')])
    assert '| mine | 3 | 66.67% | 33.33% | -33.33% |' in compare.pair(one, two)
    three = write('three', [('a', 'x', 'wrong'), ('a', 'w', 'right')])
    with pytest.raises(ConfigError,
                       match="different data: the label of mine a is 'y' in one, 'w' in the other"):
        compare.pair(one, three)
    (three / 'predictions.tsv').unlink()
    with pytest.raises(ConfigError, match='three has no predictions.tsv'):
        compare.pair(one, three)


def test_labels_of_any_kind_survive_their_file(tmp_path):
    odd = ['a"b', '"', "it's", 'tab\there', 'a\u2028b', ' x ', 'a\\b', 'two\nlines', 'ü']
    for name in ('a', 'b'):
        read = [results.Prediction(str(number), 'mine', truth, truth, 1.0, True, 0)
                for number, truth in enumerate(odd)]
        found = results.Result('mine', {**word_figures(odd, odd, 'exact'), 'unreadable': 0}, read, [], [])
        write_results(tmp_path / name, [found], [],
                      {'protocol': 'exact', 'beam': 1, 'seed': 0, 'recipe': name})
    found = runs.labels_and_verdicts(runs.load(tmp_path / 'a')[0], ['mine'])
    assert found == {('mine', str(number), 0): (truth, True) for number, truth in enumerate(odd)}
    said = compare.pair(tmp_path / 'a', tmp_path / 'b')
    assert '| mine | 9 | 100.00% | 100.00% | none | - | 0 | 0 | 1 |' in said


@pytest.mark.parametrize('one, other',
                         [(0, 0), (0, 1), (3, 3), (2, 9), (9, 2), (0, 20), (40, 61), (5000, 5300)])
def test_mcnemars_p_is_the_binomial_tests(one, other):
    total, ways, tail = one + other, 1, 0
    for part in range(min(one, other) + 1):  # ways is the binomial coefficient
        tail, ways = tail + ways, ways * (total - part) // (part + 1)
    exact = min(1.0, 2 * tail / 2 ** total)
    assert compare.mcnemar(one, other) == pytest.approx(exact, rel=1e-9)


def test_p_is_never_said_to_be_nothing(tmp_path):
    folders = [run(tmp_path / name, {'mine': share(right, 5000)}, recipe=name)
               for name, right in (('a', 0), ('b', 5000))]
    said = compare.pair(*folders)
    assert '| < 0.0001 |' in said.replace('&lt;', '<') and '| 0 |' in said


def test_the_mean_difference_over_seeds_is_resampled_by_example():
    mean, low, high = compare.mean_difference([0.5] * 30 + [0.0] * 60 + [-0.5] * 10)
    assert mean == pytest.approx(0.1) and low < 0.1 < high
    assert (low, high) == pytest.approx((0.1 - 1.96 * 0.03, 0.1 + 1.96 * 0.03), abs=0.01)
    assert compare.change(0.0, 0.0, 0.0) == 'none'
    assert compare.change(0.1, -0.02, 0.2) == '+10.00% (-2.00% to +20.00%)'


def test_mcnemars_p_of_published_counts():
    assert compare.mcnemar(1, 8) == pytest.approx(0.0390625)  # 2 (1 + 9) / 512
    assert compare.mcnemar(0, 5) == 0.0625


def test_the_interval_is_that_of_resampled_examples():
    draw = random.Random(3)
    one = [draw.random() < 0.7 for _ in range(400)]
    other = [right if draw.random() < 0.8 else draw.random() < 0.8 for right in one]
    found = compare.paired(one, other)
    difference = np.array(other, int) - np.array(one, int)
    resampled = difference[np.random.default_rng(9).integers(0, 400, (4000, 400))].mean(1)
    assert (found.low, found.high) == pytest.approx(np.percentile(resampled, (2.5, 97.5)), abs=0.003)
    assert found.difference == pytest.approx(difference.mean()) and found.low < found.difference < found.high
    assert (found.only_one, found.only_other) == ((difference < 0).sum(), (difference > 0).sum())
    assert found == compare.paired(one, other)  # the resamples are always the same
    turned = compare.paired(other, one)
    assert (turned.difference, turned.p) == (-found.difference, found.p)


def test_nothing_in_common_is_no_difference():
    assert compare.paired([], [])[:4] == (0, 0.0, 0.0, 0.0) and compare.paired([], []).p == 1


def test_the_command_compares_several_workdirs_without_measuring(tmp_path, capsys):
    folders = [str(run(tmp_path / name, {'mine': share(right, 10)}, recipe=name))
               for name, right in (('a', 4), ('b', 7))]
    assert command_line.main(['evaluate', *folders, '--out', str(tmp_path / 'both')]) == 0
    out = capsys.readouterr().out
    written = (tmp_path / 'both' / 'comparison.md').read_text(encoding='utf-8')
    assert '| a | 0 | 40.00% |' in written and "McNemar's p" in written
    assert out == terminal.shown(written)
    for more, message in (([str(tmp_path / 'c')], "c' does not exist"),
                          (['--set', 'mine'], '--set: several workdirs'),
                          (['--beam', '3'], '--beam: several workdirs are compared')):
        assert command_line.main(['evaluate', *folders, *more]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count('\n') == 1


def test_results_from_before_recipes_and_averages_were_written_are_read(tmp_path):
    folder = run(tmp_path / 'old', {'mine': share(1, 2)})
    old = json.loads((folder / 'results.json').read_text())
    for name in ('recipe', 'averages', 'differences', 'beam'):
        del old[name]
    (folder / 'results.json').write_text(json.dumps(old))
    assert cells(compare.table([folder, run(tmp_path / 'new', {'mine': share(2, 2)})]))[1:] == [
        ['old', '0', '50.00%'], ['new', '0', '100.00%']]
