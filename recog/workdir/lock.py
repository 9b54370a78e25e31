"""One training at a time in a workdir."""

import json
import os
import shlex
import socket
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, TextIO

from recog.errors import ConfigError
from recog.workdir.folder import is_remote, write_whole

FILE = '.lock'
BEAT = 5.0  # seconds between two signs of life of a lease; a bucket takes at most one change a second
DEAD = 4  # beats without any, after which a lease is over


class Lock:
    """The right to train in a workdir, which ends with its process, however that ends."""

    def __init__(self, workdir: Any):
        self._workdir = workdir
        self._file: TextIO | None = None
        self._lease: Lease | None = None

    def take(self) -> None:
        """Take it, or refuse in a line that says who has it."""
        if is_remote(self._workdir):
            self._take_lease()
            return
        import fcntl

        file = (Path(self._workdir) / FILE).open('a+', encoding='utf-8')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = ' '.join(file.read().split()) or 'an unknown process'
            file.close()
            raise _taken(self._workdir, who) from None
        except OSError:  # a file system without locks
            file.close()
            self._take_lease()
            return
        file.truncate(0)
        file.write(f'{_me()}\n')
        file.flush()
        self._file = file

    def _take_lease(self) -> None:
        self._lease = Lease(self._workdir)
        self._lease.take()

    def close(self) -> None:
        """Give it back."""
        if self._file:
            self._file.close()
        if self._lease:
            self._lease.close()


class Lease:
    """A lock where there are none, as in a bucket: a file that its holder goes on changing."""

    def __init__(self, workdir: Any):
        self._workdir, self._file = workdir, workdir / FILE
        self._token, self._over = uuid.uuid4().hex, threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take it once nobody changes the file any more; refuse if somebody does."""
        before = self._read()
        if before:
            print(f'recog: {self._workdir} was trained in by {before["who"]}; whether that has ended is seen '
                  f'within {BEAT * DEAD:.0f} s', file=sys.stderr, flush=True)
            self._wait_for_end(before)
        self._write(0)
        time.sleep(BEAT / 2)
        if (now := self._read()).get('token') != self._token:  # of two that begin at once one stays
            raise _taken(self._workdir, now.get('who', 'an unknown process'))
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self._thread.start()

    def _wait_for_end(self, before: dict[str, Any]) -> None:
        until = time.monotonic() + BEAT * DEAD
        while time.monotonic() < until:
            time.sleep(BEAT / 5)
            now = self._read()
            if not now:
                return
            if now != before:
                raise _taken(self._workdir, now['who'])

    def _hold(self) -> None:
        """Go on changing the file; end this process if somebody else has taken it: else both would write."""
        beat = 0
        while not self._over.wait(BEAT):
            try:
                now = self._read()
                if now and now['token'] != self._token:
                    print(f'recog: {_taken(self._workdir, now["who"])}; this process ends', file=sys.stderr,
                          flush=True)
                    os._exit(1)
                beat += 1
                self._write(beat)
            except Exception:  # the bucket does not answer: it will, or others will take the lease
                continue

    def _read(self) -> dict[str, Any]:
        """What the file holds; nothing if there is none."""
        try:
            held = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return held if isinstance(held, dict) and {'who', 'token'} <= {*held} else {}

    def _write(self, beat: int) -> None:
        write_whole(self._file, json.dumps({'who': _me(), 'token': self._token, 'beat': beat}))

    def close(self) -> None:
        """Give it back."""
        if self._thread:
            self._over.set()
            self._thread.join()
            if self._read().get('token') == self._token:
                self._file.unlink()


def _me() -> str:
    return f'process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}'


def _taken(workdir: Any, who: str) -> ConfigError:
    return ConfigError(f'--workdir {workdir} is being trained in by {" ".join(str(who).split())}; wait for '
                       'its end, or choose another')
