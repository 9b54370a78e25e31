"""A child process that reads hostile things one after another, and what became of each try.

A try ends as a refusal in one line or as something read. All else is a finding: a signal, a traceback,
several lines, more memory or more time than allowed.
"""

import importlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
REFUSED, READ = 'refused', 'read'
SIGNAL, TRACEBACK, LINES, HANG, MEMORY = 'signal', 'traceback', 'several lines', 'hang', 'memory'
GIGABYTE, PATIENCE = 1 << 30, 10.0
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


class Outcome(NamedTuple):
    """How one try ended; `kind` is REFUSED, READ, or a word for what must not happen."""

    name: str
    kind: str
    said: str = ''
    seconds: float = 0.0
    megabytes: float = 0.0  # by which the child grew

    @property
    def good(self) -> bool:
        """Whether it ended as it may."""
        return self.kind in (REFUSED, READ)


class Victim:
    """Calls `module:function` in a child process, which is started anew after each try that ends it."""

    def __init__(self, target: str, *, memory: int = GIGABYTE, space: int = 0, patience: float = PATIENCE):
        """`space` is of addresses; it is more than `memory` where libraries reserve what they never use."""
        self.target, self.memory, self.space, self.patience = target, memory, space or memory, patience
        self._child: subprocess.Popen | None = None

    def __enter__(self) -> 'Victim':
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def attempt(self, name: str, *arguments: object) -> Outcome:
        """Call the function once; arguments and its result must be JSON."""
        child = self._child or self._start()
        begun = time.perf_counter()
        try:
            child.stdin.write(json.dumps(arguments) + '\n')
            child.stdin.flush()
            answer = self._line(self.patience)
        except BrokenPipeError:
            answer = ''
        seconds = time.perf_counter() - begun
        if answer:
            kind, said, megabytes = json.loads(answer)
            if kind == MEMORY:  # its peak would be counted again
                self._end()
            return Outcome(name, kind, said, seconds, megabytes)
        if answer is None:
            self._end()
            return Outcome(name, HANG, f'no answer after {self.patience:.0f} s', seconds)
        status = self._end()
        return Outcome(name, SIGNAL if status < 0 else TRACEBACK,
                       f'signal {-status}' if status < 0 else f'exit status {status}', seconds)

    def _start(self) -> subprocess.Popen:
        paths = [str(TESTS.parent), str(TESTS), str(TESTS / 'programs'), os.environ.get('PYTHONPATH', '')]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
        self._errors = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__)), self.target, str(self.memory), str(self.space)],
            env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        if not self._line(120):
            self._end()
            self._errors.seek(0)
            raise RuntimeError(f'{self.target} does not start: {self._errors.read().decode()[-2000:]}')
        return self._child

    def _line(self, patience: float) -> str | None:
        """The child's next line; '' if it has ended, None if it says nothing for so many seconds."""
        assert self._child and self._child.stdout
        if not select.select([self._child.stdout], [], [], patience)[0]:
            return None
        return self._child.stdout.readline()

    def _end(self) -> int:
        """End the child; returns its status if it had ended by itself."""
        child, self._child = self._child, None
        if child is None:
            return 0
        try:
            return child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()
        finally:
            child.stdout.close()
            child.stdin = None


def outcome(function, arguments, memory) -> tuple[str, str, float]:
    """Kind, words and megabytes of one call."""
    from recog.errors import ConfigError
    from recog.images.read import Unreadable

    CLEAR.write_text('5')  # the peak is from here on
    before = peak()
    try:
        kind, said = READ, str(function(*arguments))
    except BaseException as error:
        kind, said = TRACEBACK, traceback.format_exc()[-3000:]
        if isinstance(error, ConfigError | Unreadable):
            said = str(error)
            kind = REFUSED if len(said.splitlines()) == 1 else LINES
        while error is not None:  # a refusal may hide that memory was asked for
            kind = MEMORY if isinstance(error, MemoryError) else kind
            error = error.__cause__ or error.__context__
    grown = peak() - before
    return (MEMORY if grown > memory / 2 ** 20 else kind), said, grown


def peak() -> float:
    """The most megabytes that this process had in memory."""
    return int(STATUS.read_text().partition('VmHWM:')[2].split()[0]) / 1024


def main(target: str, memory: int, space: int) -> None:
    """Answer each line of arguments with a line."""
    answers = os.fdopen(os.dup(1), 'w', 1)
    os.dup2(2, 1)  # what the function prints is no answer
    module, _, name = target.partition(':')
    function = getattr(importlib.import_module(module), name)
    size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + space,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write('ready\n')
    for line in sys.stdin:
        answers.write(json.dumps(outcome(function, json.loads(line), memory)) + '\n')


if __name__ == '__main__':
    main(sys.argv[1], *map(int, sys.argv[2:]))
