"""A workdir in a bucket, which is here an in-memory file system of fsspec.

tests/programs/bucket.py tests checkpoints against a server.
"""

import subprocess
import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from small import ROOT

from recog.buckets import LIBRARIES
from recog.commands import command_line
from recog.errors import ConfigError
from recog.workdir.folder import Mirror, workdir_path


@pytest.fixture
def bucket(monkeypatch):
    """A folder in a bucket, empty at first."""
    fsspec.register_implementation('s3', MemoryFileSystem, clobber=True)
    monkeypatch.setitem(LIBRARIES, 's3', 'fsspec')
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = ['']
    return workdir_path('s3://bucket/runs/one')


def test_a_local_workdir_is_its_own_mirror(tmp_path):
    mirror = Mirror(tmp_path)
    (mirror.here / 'metrics.jsonl').write_text('{}\n')
    mirror.close()
    assert mirror.here == tmp_path and (tmp_path / 'metrics.jsonl').read_text() == '{}\n'


def test_files_written_here_are_in_the_bucket_after_sending_and_the_copy_is_cleared_up(bucket):
    mirror = Mirror(bucket)
    (mirror.here / 'metrics.jsonl').write_text('{"step": 1}\n')
    (mirror.here / 'samples').mkdir()
    (mirror.here / 'samples' / '0.png').write_bytes(b'picture')
    mirror.send()
    with (mirror.here / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 2}\n')
    assert (bucket / 'metrics.jsonl').read_text() == '{"step": 1}\n'
    mirror.close()
    assert (bucket / 'metrics.jsonl').read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (bucket / 'samples' / '0.png').read_bytes() == b'picture' and not mirror.here.exists()


def test_a_run_that_resumes_finds_what_it_wrote_before(bucket):
    first = Mirror(bucket)
    (first.here / 'metrics.jsonl').write_text('{"step": 1}\n')
    first.close()
    second = Mirror(bucket)
    assert (second.here / 'metrics.jsonl').read_text() == '{"step": 1}\n'
    (bucket / 'metrics.jsonl').write_text('of another process')
    second.close()  # only what changed here is sent
    assert (bucket / 'metrics.jsonl').read_text() == 'of another process'


def test_a_kind_of_bucket_that_is_not_known_or_not_installed_is_refused_in_one_line(monkeypatch):
    with pytest.raises(ConfigError, match='workdir ftp://a/b: ftp:// must be one of gs://, s3://, az://'):
        workdir_path('ftp://a/b')
    monkeypatch.setitem(LIBRARIES, 'gs', 'no_such_library')
    with pytest.raises(ConfigError,
                       match='workdir gs://a/b needs no_such_library: pip install no_such_library'):
        workdir_path('gs://a/b')


def test_a_bucket_without_a_run_is_said_to_hold_none(bucket, capsys):
    assert command_line.main(['evaluate', str(bucket)]) == 2
    assert "workdir 's3://bucket/runs/one' does not exist" in capsys.readouterr().err


def test_a_local_workdir_needs_no_epath_to_be_named():
    code = ('import sys; from recog.workdir import folder; folder.workdir_path("runs/a"); '
            'sys.exit("etils" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=False).returncode == 0
