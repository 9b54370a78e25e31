"""What builders share: records as given, whole sets or none,
the same bytes from any number of processes, and the report."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
import toyset

from recog.config import recipe
from recog.data import file_hashes
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.prepare import examples, progress, script, shards
from recog.text import vocabulary

COUNT = 88  # records of the 90 tasks and the one that comes ready-made, less three rejected ones


@pytest.fixture
def toy(tmp_path):
    """The module of the set; its source is `tmp_path / 'source'`, its root `tmp_path / 'data'`."""
    (tmp_path / 'source').write_text('')
    return toyset


def make(toy, tmp_path, *, data='data', config=None, workers=1, name='', **options):
    return toy.Toy(source=tmp_path / 'source', data_dir=tmp_path / data, config=config, workers=workers,
                   options=options, name=name)


def run(toy, tmp_path, *arguments):
    """The script in a process of its own."""
    command = [sys.executable, toy.__file__, '--source', str(tmp_path / 'source'), '--data',
               str(tmp_path / 'data'), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def left(tmp_path):
    return sorted(str(file.relative_to(tmp_path / 'data')) for file in (tmp_path / 'data').rglob('*')
                  if file.is_file())


def workers_end(tmp_path):
    """Wait until every worker process has ended."""
    there = set(map(int, (tmp_path / 'workers').read_text().split()))
    for _ in range(100):
        there = {each for each in there if Path(f'/proc/{each}/stat').exists()}
        if not there:
            return True
        time.sleep(0.1)
    return False


def test_records_are_kept_as_given_and_open_everywhere(toy, tmp_path, narrow):
    folder = make(toy, tmp_path).prepare(progress=False)
    assert folder == tmp_path / 'data' / 'toy' / '1.0.0'
    source = open_set('toy:train+test', narrow(), tmp_path / 'data')
    assert len(source) == COUNT
    row, = source.rows([10])  # the order is the builder's: 0 1 3 4 6 7 12 13 15 16 18
    assert (row.id, row.text) == ('18', 'Wört 18')
    np.testing.assert_array_equal(row.image, cv2.imdecode(np.frombuffer(toy.picture(18), np.uint8),
                                                          cv2.IMREAD_COLOR))
    builder = tfds.builder_from_directory(str(folder))
    record = builder.as_data_source('test', decoders={'image': tfds.decode.SkipDecoding()})[1]
    assert record['image'] == toy.picture(5) and record['number'] == 5 and record['size'].tolist() == [12, 17]
    assert len(builder.as_data_source('train[:50%]')) == round(builder.info.splits['train'].num_examples / 2)
    assert not file_hashes.check_hashes(folder)


def test_the_builder_prepares_and_reads_as_tfds_has_it(toy, tmp_path):
    builder = make(toy, tmp_path)
    builder.download_and_prepare()
    assert len(builder.as_data_source('train')) + len(make(toy, tmp_path).as_data_source('test')) == COUNT


def test_two_processes_give_the_same_bytes_as_one(toy, tmp_path):
    for workers in (1, 2):
        make(toy, tmp_path, data=f'data{workers}', workers=workers, config='loud').prepare(progress=False)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / f'data{workers}').rglob('*')
                      if file.is_file()}
                     for workers in (1, 2))
    assert len(first) == 12 and first == second


def test_a_script_prepares_with_workers(toy, tmp_path):
    done = run(toy, tmp_path, '--workers', '2', '--count', '40')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'data' / 'toy' / '1.0.0' / 'files.json').is_file()


def test_large_splits_have_several_shards(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, 'SHARD', 10_000)
    folder = make(toy, tmp_path).prepare(progress=False)
    names = sorted(file.name for file in folder.glob('toy-train*'))
    assert len(names) > 3 and names[0] == f'toy-train.array_record-00000-of-{len(names):05d}'
    records = tfds.builder_from_directory(str(folder)).as_data_source('train')
    assert [records[place]['number'] for place in range(len(records) - 4, len(records))] == [85, 87, 88, -1]


def test_the_plain_config_has_no_folder_and_others_have(toy, tmp_path):
    assert make(toy, tmp_path, config='plain').prepare(progress=False) == make(toy, tmp_path).prepare()
    loud = make(toy, tmp_path, config='loud')
    assert loud.config_name == 'loud'
    assert loud.prepare(progress=False) == tmp_path / 'data' / 'toy' / 'loud' / '1.0.0'
    assert make(toy, tmp_path, name='mine').prepare(progress=False) == tmp_path / 'data' / 'mine' / '1.0.0'


def fits(toy, width):
    """How many of training's images are no wider than this."""
    numbers = [1, *(number for number in range(90) if number % 3 != 2 and number not in (9, 10))]
    return sum(12 + number % 30 <= width for number in numbers)


def test_the_report_counts_and_names_what_was_rejected(toy, tmp_path, capsys):
    folder = make(toy, tmp_path, config='loud').prepare(progress=False)
    said = capsys.readouterr()
    assert 'WARNING: split test has 29 records instead of 30' in said.err
    assert 'train has' not in said.err
    report = json.loads((folder / 'report.json').read_text())
    assert {reason: each['count'] for reason, each in report['rejected'].items()} == {
        'too even': 1, 'image cannot be decoded': 1, 'id or text is no UTF-8': 1, 'belongs nowhere': 1}
    assert report['noted'] == {'unusual': {'count': 1, 'examples': ['7 (seven)']}}
    train = report['splits']['train']
    assert train['records'] == 59 and train['expected'] == 59
    assert train['quantiles']['height'] == {'min': 12, '1 %': 12, 'median': 12, '99 %': 12, 'max': 12}
    assert (train['means']['height'], train['means']['tokens']) == (12, round(117 / 59, 3))
    fitting = {canvas: round(share * 59) for canvas, share in train['fitting'].items()}
    assert fitting == {'32x32': fits(toy, 32), '32x64': 59}
    assert train['labels_with_characters_outside'] == {'36': 59, '62': 59, '94': 58, '95': 58}
    lines = (folder / 'rejected.tsv').read_text().splitlines()
    assert lines[0] == 'split\tid\treason\tdetail' and 'test\t8\ttoo even\teight' in lines and len(lines) == 5
    text = (folder / 'report.txt').read_text(encoding='utf-8')
    assert f'{"32":>32}  {fits(toy, 32) / 59:9.1%}{"100.0%":>9}\n' in text
    assert 'U+00F6 ö 58' in text and '1  image cannot be decoded' in text
    # Two dictionary files of the training split: one of characters, one of tokens between blanks.
    for name, separator, token in (('characters', '', 'W'), ('tokens', ' ', '39')):
        rule = recipe.changed(recipe.base(name='').text,
                              {'charset': str(folder / f'{name}.txt'), 'separator': separator})
        assert token in vocabulary.from_config(rule).tokens
    sheet = cv2.imread(str(folder / 'report.png'))
    assert sheet.shape[1] == 1500 and sheet.shape[0] > 800


def test_labels_that_splits_share_are_counted(toy, tmp_path, capsys):
    folder = make(toy, tmp_path).prepare(progress=False)
    records = tfds.builder_from_directory(str(folder))
    texts = {split: [record['text'].decode() for record in records.as_data_source(split)]
             for split in ('train', 'test')}
    common = sum(text in texts['train'] for text in texts['test'])
    found = next(each for each in json.loads((folder / 'report.json').read_text())['shared_labels']
                 if each['split'] == 'test')
    assert (found['label'], found['folded']) == (common, common) and 0 < common < len(texts['test'])
    assert found['examples'][0] in texts['train']
    said = f'records whose label stands in train, too: test {common} of 29 ({common / 29:.1%})\n'
    assert said in capsys.readouterr().out


def test_an_id_that_occurs_twice_is_refused_by_name(toy, tmp_path):
    with pytest.raises(ConfigError, match="id '11' occurs more than once in split test"):
        make(toy, tmp_path, accident='twice').prepare(progress=False)
    assert not left(tmp_path)


def test_what_is_there_is_left_alone_unless_overwritten(toy, tmp_path, capsys):
    folder = make(toy, tmp_path).prepare(progress=False)
    before = (folder / 'files.json').stat().st_mtime_ns
    capsys.readouterr()
    assert make(toy, tmp_path, count=30).prepare() == folder
    assert 'is there already: train 59, test 29' in capsys.readouterr().out
    assert (folder / 'files.json').stat().st_mtime_ns == before
    make(toy, tmp_path, config='loud').prepare(progress=False)
    make(toy, tmp_path, config='loud').prepare()
    assert capsys.readouterr().err.count('WARNING: split test has 29 records instead of 30') == 2
    make(toy, tmp_path, count=30).prepare(progress=False, overwrite=True)
    assert tfds.builder_from_directory(str(folder)).info.splits['test'].num_examples == 9
    assert sorted(each.name for each in folder.parent.iterdir()) == ['1.0.0', 'loud']


@pytest.mark.parametrize('arguments, said', [
    (('--source', 'nowhere'), "source 'nowhere' does not exist"),
    (('--config', 'lout'), "config 'lout' does not exist (did you mean 'loud'?); there are: plain, loud"),
    (('--name', '../up'), "name '../up' must be letters, digits and _, a letter first"),
    (('--workers', '-1'), '--workers -1 must be above 0, or 0 for one a core'),
    (('--count', '0', '--workers', '1', '--name', 'mine'), None),
])
def test_user_errors_are_one_line_and_status_2(toy, tmp_path, capsys, arguments, said):
    arguments = ['--source', str(tmp_path / 'source'), '--data', str(tmp_path / 'data'), *arguments]
    assert script.main(toy.Toy, arguments) == (2 if said else 0)
    error = capsys.readouterr().err
    assert said is None or error.count('\n') == 1 and said in error


def test_a_source_that_gives_no_record_is_an_error_that_says_why(toy, tmp_path):
    class Empty(toy.Toy):
        def tasks(self):
            yield 'train', examples.Rejected('a', 'is bad')

    with pytest.raises(ConfigError, match='gives no record: rejected 1: is bad 1'):
        Empty(source=tmp_path / 'source', data_dir=tmp_path / 'data').prepare(progress=False)
    assert not left(tmp_path)


def test_a_folder_that_is_no_prepared_set_is_not_touched(toy, tmp_path):
    (tmp_path / 'data' / 'toy' / '1.0.0').mkdir(parents=True)
    (tmp_path / 'data' / 'toy' / '1.0.0' / 'mine.txt').write_text('')
    with pytest.raises(ConfigError, match='exists and is no prepared set'):
        make(toy, tmp_path).prepare(progress=False, overwrite=True)
    assert left(tmp_path) == ['toy/1.0.0/mine.txt']


def test_an_interrupt_leaves_nothing_and_no_process(toy, tmp_path):
    done = run(toy, tmp_path, '--workers', '2', '--accident', 'interrupt')
    assert done.returncode == 130 and done.stderr == 'toyset.py: interrupted; nothing was kept\n'
    assert not left(tmp_path) and workers_end(tmp_path)


def test_what_a_kill_leaves_does_not_open_and_is_cleared_by_the_next_start(toy, tmp_path, narrow):
    assert run(toy, tmp_path, '--workers', '2', '--accident', 'kill').returncode == -signal.SIGKILL
    assert workers_end(tmp_path)
    assert left(tmp_path)
    with pytest.raises(ConfigError, match='is not there'):
        open_set('toy:train', narrow(), tmp_path / 'data')
    folder = make(toy, tmp_path).prepare(progress=False)
    assert [each.name for each in folder.parent.iterdir()] == ['1.0.0']
    assert not file_hashes.check_hashes(folder)


def test_a_set_that_was_killed_just_before_it_was_put_in_place_does_not_open(toy, tmp_path, narrow):
    folder = make(toy, tmp_path).prepare(progress=False)
    place = folder.with_name('1.0.0.incomplete') / 'new'
    place.mkdir(parents=True)
    folder.rename(place / 'set')
    with pytest.raises(ConfigError, match='is not there .*; there are: rendered, formulas$'):
        open_set('toy:train', narrow(), tmp_path / 'data')
    assert make(toy, tmp_path).prepare(progress=False) == folder and not place.exists()


def test_a_set_is_put_back_if_the_kill_came_while_it_was_replaced(toy, tmp_path):
    folder = make(toy, tmp_path).prepare(progress=False)
    place = folder.with_name('1.0.0.incomplete')
    place.mkdir()
    folder.rename(place / 'old')
    with pytest.raises(ConfigError, match='file 50'):
        make(toy, tmp_path, accident='user').prepare(progress=False)
    assert not file_hashes.check_hashes(folder)


def test_a_set_that_another_process_prepares_is_left_to_it(toy, tmp_path):
    place = tmp_path / 'data' / 'toy' / '1.0.0.incomplete'
    place.mkdir(parents=True)
    handle = os.open(place, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match='1.0.0 is being prepared by another process'):
        make(toy, tmp_path).prepare(progress=False)
    os.close(handle)
    assert place.exists()


def test_a_worker_that_is_killed_is_one_line_and_nothing_is_left(toy, tmp_path):
    done = run(toy, tmp_path, '--workers', '2', '--accident', 'worker')
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert 'was killed by SIGKILL; is there enough memory?' in done.stderr
    assert not left(tmp_path) and workers_end(tmp_path)


@pytest.mark.parametrize('accident, kind', [('user', ConfigError), ('disk', OSError)])
def test_errors_in_a_worker_that_are_no_examples_fault_come_out_as_they_are(toy, tmp_path, accident, kind):
    with pytest.raises(kind) as caught:
        make(toy, tmp_path, workers=2, accident=accident).prepare(progress=False)
    assert 'in a worker process' in caught.value.__notes__[0] and 'examples' in caught.value.__notes__[0]
    assert not left(tmp_path)


@pytest.mark.parametrize('workers', [1, 2])
def test_an_example_that_raises_anything_else_is_rejected_alone(toy, tmp_path, workers):
    folder = make(toy, tmp_path, workers=workers, accident='bug').prepare(progress=False)
    assert tfds.builder_from_directory(str(folder)).info.splits['test'].num_examples == 28
    assert "\tTask(number=50)\tcannot be read: KeyError\t'a bug'\n" in (folder / 'rejected.tsv').read_text()


def test_a_file_that_cannot_grow_is_one_line_and_nothing_is_left(toy, tmp_path):
    done = run(toy, tmp_path, 'limit', '--workers', '1', '--count', '3000', '--side', '40')
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'File too large' in done.stderr
    assert not left(tmp_path)


def test_a_set_that_cannot_fit_is_refused_before_it_is_begun(toy, tmp_path, capsys):
    arguments = ['--source', str(tmp_path / 'source'), '--data', str(tmp_path / 'data'), '--accident', 'huge']
    assert script.main(toy.Toy, arguments) == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'about 1152921504.67 GB are needed: ' in error
    assert 'nothing was kept' in error
    assert not left(tmp_path)


def test_memory_does_not_grow_with_the_set(toy, tmp_path):
    used = []
    for count in (500, 2000):
        done = run(toy, tmp_path, '--workers', '2', '--count', str(count), '--side', '130', '--overwrite')
        assert done.returncode == 0, done.stderr
        used.append(int(done.stdout.split()[-1]))
    size = sum(file.stat().st_size for file in (tmp_path / 'data').rglob('*record-*')) >> 20
    assert size > 100 and used[1] - used[0] < 20, (size, used)


def test_progress_is_told_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress.Progress, 'EVERY', 0.0)
    shown = progress.Progress('toy', True)
    shown.advance(50, 200)
    shown.close()
    line = capsys.readouterr().err
    assert line.startswith('toy: 50 of 200, ') and 'min left' in line
