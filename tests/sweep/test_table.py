"""The table of a sweep, how far a sweep is, and the page with the curves of its runs."""

import json
from types import SimpleNamespace

import pytest

from recog.evaluation import results, robustness
from recog.evaluation.write import write_results
from recog.metrics.words import judge, word_figures
from recog.report import sweep_page
from recog.sweep.progress import Progress, minutes
from recog.sweep.table import tables


def write(folder, sets, own=True, **about):
    """Results of sets, given by the verdicts of their words."""
    found = []
    for name, verdicts in sets.items():
        pairs = [('word', 'word' if right else 'worm') for right in verdicts]
        read = [results.Prediction(str(number), name, *pair, 0.5, *judge(*pair, '36'))
                for number, pair in enumerate(pairs)]
        figures = {**word_figures(*zip(*pairs, strict=True), '36'), 'unreadable': 0}
        found.append(results.Result(name, figures, read, [], []))
    write_results(folder, found, [], {'model': 'crnn', 'protocol': '36', 'beam': 1, 'seed': 0, 'recipe': 'a',
                                      'parameters': 1234567, **about}, own)


def run(root, variant, right, seed=0, log=(), **about):
    """A run that has so many of a hundred words right."""
    folder = root / f'{variant}-seed{seed}'
    write(folder, {'mine': [True] * right + [False] * (100 - right)}, seed=seed, recipe=variant, **about)
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in log))
    return SimpleNamespace(name=f'{variant}-seed{seed}', variant=variant, workdir=folder,
                           log=root / f'{variant}-seed{seed}.log')


LOG = [{'step': 1, 'loss': 9.0, 'images_per_second': 3.0, 'seconds': 60.0},
       {'step': 50, 'loss': 2.0, 'images_per_second': 1000.0, 'seconds': 90.0},
       {'step': 50, 'words/accuracy': 0.5},
       {'step': 99, 'images': 6400, 'loss': 1.0, 'images_per_second': 2000.0, 'seconds': 120.0}]


def test_a_variant_is_a_row_with_size_speed_minutes_and_the_difference_to_the_first(tmp_path):
    runs = [run(tmp_path, 'r34', 50, 0, LOG), run(tmp_path, 'r34', 54, 1, LOG), run(tmp_path, 'r34', 90, 2),
            run(tmp_path, 'no_lstm', 60, 0), run(tmp_path, 'no_lstm', 60, 1)]
    table, = tables(runs)
    assert table.heads == ['variant', 'seeds', 'parameters', 'steps', 'images', 'images/s', 'minutes', 'mine',
                           '1-NED', 'difference to r34']
    first, second = table.rows
    assert first[:7] == ['r34', '0, 1, 2', '1,234,567', '99', '6,400', '1,500', '2.0']
    assert first[7].startswith('64.67% ± ')
    assert first[-1] == '' and second[:8] == ['no_lstm', '0, 1', '1,234,567', '', '', '', '', '60.00%']
    # Of the seeds that both have: ten examples better with one, six with the other.
    assert second[-1].startswith('+8.00% (+') and table.notes[0] == 'protocol 36'


def test_what_was_read_of_corrupted_images_is_a_column_where_all_runs_have_it(tmp_path):
    def corrupt(run, *rights):
        robustness.add(run.workdir, [{'set': 'mine', 'count': 10, 'clean': 9, 'protocol': '36', 'beam': 1,
                                      'corruptions': {'contrast': list(rights)}}])

    runs = [run(tmp_path, 'modern', 90), run(tmp_path, 'unaugmented', 90)]
    corrupt(runs[0], 9, 8, 7, 6, 5)
    assert 'corrupted' not in tables(runs)[0].heads
    corrupt(runs[1], 5, 4, 3, 2, 1)
    table, = tables(runs)
    place = table.heads.index('corrupted')
    assert [row[place] for row in table.rows] == ['70.00%', '30.00%']


def test_what_is_alike_has_no_spread_and_no_difference(tmp_path):
    table, = tables([run(tmp_path, 'a', 0, 0), run(tmp_path, 'a', 0, 1), run(tmp_path, 'b', 0, 0),
                     run(tmp_path, 'c', 5, 7)])
    assert [row[7] for row in table.rows] == ['0.00%', '0.00%', '5.00%']
    assert [row[-1] for row in table.rows] == ['', 'none', 'no seed in common']


def test_later_sets_stand_beside_what_training_reported(tmp_path):
    runs = [run(tmp_path, 'r34', 50, seed) for seed in range(3)]
    before, = tables(runs)
    for seed in range(2):
        write(runs[seed].workdir, {'svt:test': [True]}, own=False, seed=seed)
        write(runs[seed].workdir, {'mine': [False, False]}, own=False, seed=seed)  # the report counts
    reported, later = tables(runs)
    assert reported == before and later.heads[7:] == ['svt:test', '1-NED'] and later.rows[0][1] == '0, 1'


def test_runs_that_were_measured_on_other_sets_have_a_table_of_their_own(tmp_path):
    runs = [run(tmp_path, 'a', 5), run(tmp_path, 'b', 5), run(tmp_path, 'c', 5, protocol='94')]
    write(tmp_path / 'd', {'other': [True]}, recipe='d')
    other = SimpleNamespace(name='d', variant='d', workdir=tmp_path / 'd')
    assert [[row[0] for row in table.rows] for table in tables([*runs, other])] == [['a', 'b'], ['c'], ['d']]


def test_the_page_has_the_table_and_the_curves_of_all_runs(tmp_path):
    runs = [run(tmp_path, name, 5, log=LOG) for name in ('a', 'b')]
    sweep_page.write(tmp_path / 'sweep.html', 'recog sweep: x', tables(runs),
                     {each.name: each.workdir for each in runs})
    page = (tmp_path / 'sweep.html').read_text()
    assert page.count('<svg') == 2 and 'difference to a' in page and '1,500' in page
    assert {file.name for file in (tmp_path / 'sweep').iterdir()} == {
        'loss.png', 'loss.svg', 'accuracy-0.png', 'accuracy-0.svg'}
    (tmp_path / 'a-seed0' / 'metrics.jsonl').unlink()
    (tmp_path / 'b-seed0' / 'metrics.jsonl').unlink()
    sweep_page.write(tmp_path / 'none.html', 'x', [], {each.name: each.workdir for each in runs})
    assert 'No run has logged anything.' in (tmp_path / 'none.html').read_text()


def test_how_far_a_sweep_is_and_how_long_it_takes(tmp_path):
    runs = [SimpleNamespace(name=name, workdir=tmp_path / name, log=tmp_path / f'{name}.log')
            for name in 'abc']
    runs[0].log.write_text('step 10/100  10%\n')
    progress = Progress([*runs, 'done before'], runs)
    runs[0].log.write_text('step 10/100  10%\nwords\n12:00:00  step 35/100  35%  loss 1\n')
    assert progress.line(300.0) == '1 of 4 runs done, a 35%, 5 min so far, about 53 min left'
    assert Progress(runs, runs).line(30.0) == '0 of 3 runs done, a 35%, less than a minute so far'


@pytest.mark.parametrize(('seconds', 'words'),
                         [(20, 'less than a minute'), (100, '2 min'), (7500, '2 h 5 min')])
def test_times_are_told_to_the_minute(seconds, words):
    assert minutes(seconds) == words
