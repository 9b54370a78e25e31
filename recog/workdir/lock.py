"""One training at a time in a workdir."""

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any, TextIO

from recog.errors import ConfigError
from recog.workdir.folder import is_remote

FILE = '.lock'


class Lock:
    """The right to train in a workdir, which ends with its process, however that ends.

    In a bucket, which has no locks, it is given to everyone.
    """

    def __init__(self, workdir: Any):
        self._workdir = workdir
        self._file: TextIO | None = None

    def take(self) -> None:
        """Take it, or refuse in a line that says who has it."""
        if is_remote(self._workdir):
            return
        import fcntl

        file = (Path(self._workdir) / FILE).open('a+', encoding='utf-8')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = ' '.join(file.read().split()) or 'an unknown process'
            file.close()
            raise ConfigError(f'--workdir {self._workdir} is being trained in by {who}; wait for its end, or '
                              'choose another') from None
        except OSError:  # a file system without locks
            file.close()
            return
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}\n')
        file.flush()
        self._file = file

    def close(self) -> None:
        """Give it back."""
        if self._file:
            self._file.close()
