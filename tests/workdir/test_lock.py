"""Leases, which stand for locks in buckets."""

import json
import subprocess
import sys
import time

import pytest
from small import ROOT

from recog.errors import ConfigError
from recog.workdir import lock
from recog.workdir.lock import FILE, Lease, Lock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short beats, but so many of them that a holder counts as alive on a machine that stands still for
    seconds; and a holder that loses its lease all the same does not end the tests."""
    monkeypatch.setattr(lock, 'BEAT', 0.1)
    monkeypatch.setattr(lock, 'DEAD', 100)
    monkeypatch.setattr(lock.os, '_exit', lambda _: sys.exit('lost its lease'))


def test_a_second_training_is_refused_and_the_first_named_until_that_ends(tmp_path, capsys):
    first, second = Lease(tmp_path), Lease(tmp_path)
    first.take()
    with pytest.raises(ConfigError, match=r'is being trained in by process \d+ on .*choose another'):
        second.take()
    assert 'whether that has ended is seen within' in capsys.readouterr().err
    time.sleep(0.5)  # the first goes on meanwhile
    first.close()
    assert not (tmp_path / FILE).exists()
    second.take()
    second.close()


def test_the_lease_of_a_killed_training_is_over_after_some_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'DEAD', 4)
    code = ('import os; from pathlib import Path; from recog.workdir import lock; lock.BEAT = 0.1; '
            f'lock.Lease(Path({str(tmp_path)!r})).take(); os.kill(os.getpid(), 9)')
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == -9
    assert (tmp_path / FILE).is_file()
    lease = Lease(tmp_path)
    lease.take()
    lease.close()


def test_of_two_that_begin_at_once_one_is_refused(tmp_path, monkeypatch):
    other = json.dumps({'who': 'process 1 on another', 'token': 'x', 'beat': 0})
    monkeypatch.setattr(lock.time, 'sleep', lambda _: (tmp_path / FILE).write_text(other))
    with pytest.raises(ConfigError, match='trained in by process 1 on another'):
        Lease(tmp_path).take()


def test_a_holder_that_lost_its_lease_ends(tmp_path, monkeypatch, capsys):
    ends = []

    def ended(status):
        ends.append(status)
        lease._over.set()
        raise OSError  # the process would have ended here

    monkeypatch.setattr(lock.os, '_exit', ended)
    lease = Lease(tmp_path)
    lease.take()
    (tmp_path / FILE).write_text(json.dumps({'who': 'process 1 on another', 'token': 'x', 'beat': 3}))
    lease._thread.join(5)
    assert ends == [1] and 'trained in by process 1 on another' in capsys.readouterr().err
    lease.close()
    assert (tmp_path / FILE).is_file()  # which is the other's


def test_a_file_system_without_locks_has_leases(tmp_path, monkeypatch):
    import fcntl

    def fails(*_):
        raise OSError('Function not implemented')

    monkeypatch.setattr(fcntl, 'flock', fails)
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    with pytest.raises(ConfigError, match='is being trained in by process'):
        second.take()
    first.close()
    second.close()
    assert not (tmp_path / FILE).exists()
