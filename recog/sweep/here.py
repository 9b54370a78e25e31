"""The runs of a sweep on this machine, one after another or several at a time."""

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from recog.errors import ConfigError
from recog.sweep.progress import Progress
from recog.sweep.runs import POLL, SIGNALS, SweepRun, environment, finish, stop_at


class Place(NamedTuple):
    """A part of this machine that a run has for itself."""

    cores: tuple[int, ...]
    options: tuple[str, ...] = ()  # of the command
    environment: tuple[tuple[str, str], ...] = ()


def places(several: int = 1, devices_per_run: int = 0) -> list[Place]:
    """The parts of this machine that runs take turns on, one run in each at a time."""
    cores = sorted(os.sched_getaffinity(0))
    if several == 1 and not devices_per_run:
        return [Place(tuple(cores))]
    platform, count = _devices()
    if devices_per_run:
        return _by_devices(tuple(cores), platform, count, devices_per_run)
    if platform != 'cpu':
        raise ConfigError(f'--parallel {several} divides the cores of a CPU; here are {count} {platform} '
                          'devices: use --devices-per-run')
    if several > len(cores):
        raise ConfigError(f'--parallel {several}: there are {len(cores)} cores')
    cuts = [number * len(cores) // several for number in range(several + 1)]
    return [Place(tuple(cores[first:last])) for first, last in itertools.pairwise(cuts)]


def _by_devices(cores: tuple[int, ...], platform: str, count: int, share: int) -> list[Place]:
    if platform == 'tpu':
        raise ConfigError(f'--devices-per-run {share}: TPUs belong to one process; leave it out')
    if share > count:
        raise ConfigError(f'--devices-per-run {share}: there are {count} {platform} devices')
    numbers = [str(number) for number in range(count)]
    if platform == 'gpu':  # a process takes memory on every GPU that it sees: let it see its own alone
        seen = (os.environ.get('CUDA_VISIBLE_DEVICES') or ','.join(numbers)).split(',')
        groups = [','.join(seen[first:first + share]) for first in range(0, count - share + 1, share)]
        return [Place(cores, environment=(('CUDA_VISIBLE_DEVICES', group),)) for group in groups]
    groups = [','.join(numbers[first:first + share]) for first in range(0, count - share + 1, share)]
    return [Place(cores, ('--devices', group)) for group in groups]


def _devices() -> tuple[str, int]:
    """Kind and number of the devices here; another process asks, because who asks takes hold of them."""
    code = 'import jax; print(jax.default_backend(), jax.device_count())'
    asked = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    if asked.returncode:
        raise ConfigError(f'the devices cannot be counted: {(asked.stderr.strip().splitlines() or [""])[-1]}')
    platform, count = asked.stdout.split()[-2:]
    return platform, int(count)


def run_here(runs: Sequence[SweepRun], places: Sequence[Place], lock: int, progress: Progress) -> None:
    """Keep every place busy until all runs have ended; a signal is passed on, and they save and stop."""
    waiting = list(reversed(runs))
    working: dict[Place, tuple[SweepRun, subprocess.Popen, float]] = {}
    stop = stop_at(*SIGNALS, signal.SIGHUP)  # jobs of Slurm outlive the terminal, these runs do not
    try:
        while waiting or working:
            if stop.asked:
                print('recog sweep: runs save and stop; the same line goes on with them', file=sys.stderr,
                      flush=True)
                raise KeyboardInterrupt
            for place in places:
                if place not in working and waiting:
                    each = waiting.pop()
                    working[place] = each, start(each, place, lock), time.monotonic()
            time.sleep(POLL)
            for place, (each, process, begun) in list(working.items()):
                if process.poll() is not None:
                    del working[place]
                    finish(each, process.returncode, time.monotonic() - begun)
                    progress.say()
            progress.look()
    finally:
        for _, process, _ in working.values():
            process.terminate()
        for _, process, _ in working.values():
            process.wait()
        stop.close()


def start(run: SweepRun, place: Place, lock: int) -> subprocess.Popen:
    """Start a run in a place; what it says goes to its log."""
    print(f'{run.name}: {"goes on" if run.workdir.exists() else "started"}, log in {run.log}', flush=True)
    line, here = [*run.command, *place.options], os.sched_getaffinity(0)
    with run.log.open('a', encoding='utf-8') as log:
        set_first = [f'{name}={value}' for name, value in place.environment]
        log.write(' '.join(['$', *set_first, shlex.join(line)]) + '\n')
        log.flush()
        os.sched_setaffinity(0, place.cores)  # a child has what its parent has; XLA counts its threads by it
        try:
            # A session of its own, so that Ctrl-C reaches the sweep alone. A run that lives holds the lock.
            return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                    pass_fds=(lock,), env=environment() | dict(place.environment),
                                    start_new_session=True)
        finally:
            os.sched_setaffinity(0, here)
