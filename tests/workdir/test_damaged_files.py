"""Files beside the checkpoints that are damaged, or half written; and two trainings on one workdir."""

import os
import subprocess
import sys

import pytest

from recog.errors import ConfigError
from recog.workdir import description, files
from recog.workdir.folder import write_whole
from recog.workdir.lock import FILE, Lock
from recog.workdir.opened import open_workdir


@pytest.mark.parametrize('name', [files.CONFIG, files.VOCAB])
@pytest.mark.parametrize('content', [b'', b'{"model": {', b'\xff\xfe\x00'])
def test_a_damaged_description_is_taken_from_the_checkpoint_and_that_is_said(run, capsys, name, content):
    whole = description.read_config(run).to_dict(), description.read_vocab(run).tokens
    (run / name).write_bytes(content)
    assert (description.read_config(run).to_dict(), description.read_vocab(run).tokens) == whole
    said = capsys.readouterr().err
    assert f'{run / name} is damaged' in said and 'that of checkpoint 3 is used' in said
    assert open_workdir(run).step == 3


def test_a_damaged_description_without_a_sound_checkpoint_is_one_line(run):
    (run / files.CONFIG).write_text('{')
    for file in (run / 'checkpoints' / '3' / 'run').iterdir():
        file.write_text('{}')
    with pytest.raises(ConfigError, match=r'config.json is damaged .*, and no checkpoint holds another'):
        description.read_config(run)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / 'config.json'
    write_whole(file, 'old')

    def fails(*_):
        raise OSError('No space left on device')

    monkeypatch.setattr(os, 'fsync', fails)
    with pytest.raises(OSError, match='No space left'):
        write_whole(file, 'new')
    assert file.read_text() == 'old'
    write_whole(file, 'old')  # nothing is written where nothing changes


def test_what_is_no_line_of_the_log_does_not_count(tmp_path):
    lines = b'{"step": 1, "loss": 2.0}', b'', b'[1]', b'{"loss": 3}', b'\x00\xff', b'{"step": 2}', b'{"st'
    (tmp_path / files.LOG).write_bytes(b'\n'.join(lines))
    assert files.read_log(tmp_path) == [{'step': 1, 'loss': 2.0}, {'step': 2}]


def test_a_second_training_is_refused_with_the_first_named_until_that_ends(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    with pytest.raises(ConfigError, match=f'trained in by process {os.getpid()} on .*choose another'):
        second.take()
    first.close()
    second.take()
    second.close()


def test_a_killed_training_gives_its_lock_back(tmp_path):
    code = ('import os; from recog.workdir.lock import Lock; '
            f'Lock({str(tmp_path)!r}).take(); os.kill(os.getpid(), 9)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == -9
    assert 'process' in (tmp_path / FILE).read_text()
    lock = Lock(tmp_path)
    lock.take()
    lock.close()
