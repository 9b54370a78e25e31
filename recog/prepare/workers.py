"""Work in several processes, with few tasks in flight; the results are in
order, whatever the number of processes.

Unlike in multiprocessing.Pool, workers end by themselves if the parent is killed, and
the parent notices if a worker is killed.
"""

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

AHEAD = 2  # chunks that a worker is given before its results are taken


class WorkerGone(RuntimeError):
    """A worker process ended without a result."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def ordered(work: Callable[[Any], Any], make: Callable[[], Callable[[Any], Any]] | None,
            chunks: Iterable[Any], count: int = 0,
            preload: tuple[str, ...] = ()) -> Generator[Any, None, None]:
    """The results of `work` for every chunk, in order, by `count`
    processes (0: one per core; 1: this process).

    `make` is pickled and makes the `work` of each process; if it is None, this process does everything. A
    single chunk is not worth starting another process.
    """
    chunks = iter(chunks)
    first = list(islice(chunks, 2))
    count = count or cores()
    if make is None or count == 1 or len(first) < 2:
        yield from (work(chunk) for chunk in chain(first, chunks))
        return
    # Not fork: jax or a writer of shards may have started threads, whose locks a child would inherit.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(preload))
    crew = []
    try:
        crew = [_Worker(context, make) for _ in range(count)]
        yield from _deal(crew, chain(first, chunks))
    finally:
        for worker in crew:
            worker.stop()


def _deal(crew: 'list[_Worker]', chunks: Iterator[Any]) -> Iterator[Any]:
    """Give one chunk to each worker in turn, and take the results in the same order."""
    busy: deque[_Worker] = deque()
    for number, chunk in enumerate(chunks):
        if len(busy) == AHEAD * len(crew):
            yield busy.popleft().take()
        worker = crew[number % len(crew)]
        worker.give(chunk)
        busy.append(worker)
    while busy:
        yield busy.popleft().take()


class _Worker:
    def __init__(self, context: Any, make: Callable[[], Callable[[Any], Any]]):
        self.connection, other = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(other, make, os.getcwd()),
                                                    daemon=True)
        with _nameless_main():
            self.process.start()
        other.close()

    def give(self, chunk: Any) -> None:
        try:
            self.connection.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None

    def take(self) -> Any:
        try:
            result, error = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._gone() from None
        if error is not None:
            raise error
        return result

    def _gone(self) -> WorkerGone:
        self.process.join(5)
        code = self.process.exitcode
        how = f'ended with status {code}'
        if code is not None and code < 0:
            how = f'was killed by {signal.Signals(-code).name}'
        why = '; is there enough memory?' if code == -signal.SIGKILL else ''
        return WorkerGone(f'worker process {self.process.pid} {how}{why}')

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


@contextlib.contextmanager
def _nameless_main() -> Iterator[None]:
    """Hide the caller's script while a process starts, because the process would run it again; the script
    may lack a guard, or be standard input."""
    main = sys.modules['__main__']
    sys.modules['__main__'] = ModuleType('__main__')
    try:
        yield
    finally:
        sys.modules['__main__'] = main


def _serve(connection: Connection, make: Callable[[], Callable[[Any], Any]], folder: str) -> None:
    """In the worker: answer chunks until the other end is closed."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def receive() -> None:
        # In a thread, so that the parent can still send while a result waits to be taken.
        while True:
            try:
                waiting.put(connection.recv_bytes())
            except (EOFError, OSError):
                waiting.put(None)
                return

    threading.Thread(target=receive, daemon=True).start()
    work = None
    while (chunk := waiting.get()) is not None:
        try:
            work = work or make()
            answer: tuple[Any, Exception | None] = work(pickle.loads(chunk)), None
        except Exception as error:
            answer = None, _portable(error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _portable(error: Exception) -> Exception:
    """The error in a form that can be sent to the parent, with its traceback as a note."""
    error.add_note('in a worker process:\n' + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception whose constructor takes other arguments
        told = RuntimeError(f'{type(error).__name__}: {error}')
        told.__notes__ = error.__notes__
        return told
    return error
