"""Sweeps: every variant of an experiment times every seed, each run a `recog train` of its own, and one table of what came of it.

Here the runs follow one another or share the machine; under Slurm each is a job of submitit. The same line goes on where it was.
"""

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from recog.config import experiments, recipe, values
from recog.errors import ConfigError, nearest
from recog.text import vocabulary
from recog.workdir.folder import is_occupied

POLL = 0.2  # seconds between looks at the runs
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # end a sweep
DEMO = 'demo'  # the variant that `all` leaves out: it is no row of an ablation table
# In these a run may differ from its workdir: they say how it is carried out, and nothing else comes of it.
FREE = ('log.', 'mesh.', 'data.workers', 'data.threads', 'data.prefetch')


class Run(NamedTuple):
    """One variant with one seed."""

    name: str
    config: ConfigDict
    workdir: Path
    log: Path
    command: list[str]


class Place(NamedTuple):
    """A part of this machine that a run has for itself."""

    cores: tuple[int, ...]
    options: tuple[str, ...] = ()  # of the command
    environment: tuple[tuple[str, str], ...] = ()


def run(arguments: argparse.Namespace) -> int:
    """Start the runs of a sweep that are not done and wait for them, then write the table; status 1 if one failed."""
    _check_arguments(arguments)
    runs = plan(arguments)
    waiting = [each for each in runs if not is_done(each)]
    if arguments.dry_run:
        print(''.join(f'{shlex.join(each.command)}\n' for each in waiting), end='')
        return 0
    root = Path(arguments.workdir)
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root) as lock:
        for each in runs:
            if each not in waiting:
                print(f'{each.name}: was done before: {headline(each)}', flush=True)
        if waiting and arguments.slurm:
            from recog import slurm

            slurm.run(waiting, root / 'slurm', arguments.slurm, arguments.slurm_option)
        elif waiting:
            _check_sets(waiting, arguments.data)
            _run_here(waiting, places(arguments), lock)
    return _conclude(runs, root)


def plan(arguments: argparse.Namespace) -> list[Run]:
    """Every run of the sweep, its recipe and its workdir checked: all variants with one seed, then with the next."""
    root = Path(arguments.workdir)
    names = variants(arguments.file, arguments.variants)
    runs = []
    for seed in seeds(arguments.seeds):
        for variant in names:
            recipe, name, option = f'{arguments.file}:{variant}', f'{variant}-seed{seed}', f'--config.seed={seed}'
            command = [sys.executable, '-m', 'recog', 'train', '--config', recipe, option, '--workdir', str(root / name),
                       '--data', arguments.data, *arguments.overrides]
            config = _loaded(recipe, [option, *arguments.overrides])
            runs.append(Run(name, config, root / name, root / f'{name}.log', command))
    for each in runs:
        _check_workdir(each)
    return runs


def variants(file: str, chosen: str) -> list[str]:
    """The variants that `--variants` names; `all` is all but the demo, which is said."""
    known = list(experiments.experiment_module(file).VARIANTS)
    if chosen == 'all':
        names = [name for name in known if name != DEMO]
        if DEMO in known:
            print(f'recog sweep: all variants but {DEMO}: {", ".join(names)}', file=sys.stderr)
    else:
        names = list(dict.fromkeys(name.strip() for name in chosen.split(',') if name.strip()))
    for name in names:
        if name not in known:
            raise ConfigError(f'--variants {chosen}: {name!r} is not in {file}{nearest(name, known)}; '
                              f'there are: all, {", ".join(known)}')
    if not names:
        raise ConfigError(f'--variants {chosen!r} names none; there are: {", ".join(known)}')
    return names


def seeds(chosen: str) -> list[int]:
    """The seeds of `--seeds`: '3' is 0, 1 and 2; '0,3,7' are these, '7,' is 7 alone."""
    with contextlib.suppress(ValueError):
        numbers = [int(number) for number in chosen.split(',') if number.strip()]
        if ',' in chosen and numbers and min(numbers) >= 0:
            return list(dict.fromkeys(numbers))
        if ',' not in chosen and numbers and numbers[0] > 0:
            return list(range(numbers[0]))
    raise ConfigError(f"--seeds {chosen!r} must be how many, above 0, or the seeds themselves, such as '0,3,7'")


def is_done(run: Run) -> bool:
    """Whether the run came to its end."""
    # The picture is the last that training writes; `recog evaluate` writes results in the middle of a run, too.
    # A signal leaves `stopped` (commands.STOPPED, which would import jax).
    return all((run.workdir / file).is_file() for file in ('results.json', 'samples.png')) \
        and not (run.workdir / 'stopped').exists()


def headline(run: Run) -> str:
    """The accuracy of a run that is done, in words."""
    sets = json.loads((run.workdir / 'results.json').read_text(encoding='utf-8'))['sets']
    mean = statistics.fmean(figures['accuracy'] for figures in sets.values())
    return f'accuracy {mean:.2%} ' + (f'of {next(iter(sets))}' if len(sets) == 1 else f'(mean of {len(sets)} sets)')


def last_line(file: Path) -> str:
    """The last line of a log that says something, '' without one."""
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines() if file.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), '')


def finish(run: Run, status: int, seconds: float) -> None:
    """Say in one line how a run ended."""
    if status == 0 and is_done(run):
        print(f'{run.name}: {headline(run)}, {seconds / 60:.1f} minutes', flush=True)
        return
    how = 'was stopped before its end' if status == 0 else f'ended by {signal.Signals(-status).name}' if status < 0 else 'failed'
    print(f'recog sweep: {run.name} {how}: {last_line(run.log)} ({run.log})', file=sys.stderr, flush=True)


def places(arguments: argparse.Namespace) -> list[Place]:
    """The parts of this machine that runs take turns on, one run in each at a time."""
    cores, several = sorted(os.sched_getaffinity(0)), arguments.parallel
    if several == 1 and not arguments.devices_per_run:
        return [Place(tuple(cores))]
    platform, count = _devices()
    if arguments.devices_per_run:
        return _by_devices(tuple(cores), platform, count, arguments.devices_per_run)
    if platform != 'cpu':
        raise ConfigError(f'--parallel {several} divides the cores of a CPU; here are {count} {platform} devices: '
                          'use --devices-per-run')
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
    asked = subprocess.run([sys.executable, '-c', 'import jax; print(jax.default_backend(), jax.device_count())'],
                           capture_output=True, text=True)
    if asked.returncode:
        raise ConfigError(f'the devices cannot be counted: {(asked.stderr.strip().splitlines() or [""])[-1]}')
    platform, count = asked.stdout.split()[-2:]
    return platform, int(count)


class Stop:
    """Whether a signal asked the sweep to end; a second one ends it at once, as it always does."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.asked = False
        self._before = [(number, signal.signal(number, self._ask)) for number in signals
                        if signal.getsignal(number) != signal.SIG_IGN]  # as nohup has it

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self.close()

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before:
            signal.signal(number, handler)


def _run_here(runs: Sequence[Run], places: Sequence[Place], lock: int) -> None:
    """Keep every place busy until all runs have ended; a signal is passed on, and they save and stop."""
    waiting = list(reversed(runs))
    working: dict[Place, tuple[Run, subprocess.Popen, float]] = {}
    stop = Stop(*SIGNALS, signal.SIGHUP)  # jobs of Slurm outlive the terminal, these runs do not
    try:
        while waiting or working:
            if stop.asked:
                print('recog sweep: runs save and stop; the same line goes on with them', file=sys.stderr, flush=True)
                raise KeyboardInterrupt
            for place in places:
                if place not in working and waiting:
                    each = waiting.pop()
                    working[place] = each, _start(each, place, lock), time.monotonic()
            time.sleep(POLL)
            for place, (each, process, begun) in list(working.items()):
                if process.poll() is not None:
                    del working[place]
                    finish(each, process.returncode, time.monotonic() - begun)
    finally:
        for _, process, _ in working.values():
            process.terminate()
        for _, process, _ in working.values():
            process.wait()
        stop.close()


def _start(run: Run, place: Place, lock: int) -> subprocess.Popen:
    """Start a run in a place; what it says goes to its log."""
    print(f'{run.name}: {"goes on" if run.workdir.exists() else "started"}, log in {run.log}', flush=True)
    line, here = [*run.command, *place.options], os.sched_getaffinity(0)
    with run.log.open('a', encoding='utf-8') as log:
        log.write(' '.join(['$', *(f'{name}={value}' for name, value in place.environment), shlex.join(line)]) + '\n')
        log.flush()
        os.sched_setaffinity(0, place.cores)  # a child has what its parent has; XLA counts its threads by it
        try:
            # A session of its own, so that Ctrl-C reaches the sweep alone. The lock stays taken while a run lives.
            return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,),
                                    env=environment() | dict(place.environment), start_new_session=True)
        finally:
            os.sched_setaffinity(0, here)


def environment() -> dict[str, str]:
    """What a run finds in its environment: as the sweep does, and its log is written at once."""
    return {**os.environ, 'PYTHONUNBUFFERED': '1'}


def _check_arguments(arguments: argparse.Namespace) -> None:
    if not arguments.workdir or '://' in arguments.workdir:
        raise ConfigError(f'--workdir {arguments.workdir!r} must be a local folder; the runs stand in it, each in its own')
    if arguments.devices_per_run < 0 or arguments.parallel < 1:
        raise ConfigError(f'--devices-per-run {arguments.devices_per_run} must be at least 0, '
                          f'--parallel {arguments.parallel} at least 1')
    if sum([arguments.devices_per_run > 0, arguments.parallel > 1, bool(arguments.slurm)]) > 1:
        raise ConfigError('--devices-per-run, --parallel and --slurm are three ways to run at the same time; choose one')
    if arguments.slurm:
        from recog import slurm

        slurm.options(arguments.slurm_option)
    elif arguments.slurm_option:
        raise ConfigError('--slurm-option is of --slurm alone')
    if any(override.lstrip('-').partition('=')[0] == 'config.seed' for override in arguments.overrides):
        raise ConfigError("--config.seed is each run's own; choose by --seeds")


def _loaded(recipe: str, overrides: Sequence[str]) -> ConfigDict:
    """The checked recipe; a mistake in it names the variant."""
    try:
        config = experiments.load(recipe, overrides)
        vocabulary.from_config(config.text)
    except ConfigError as error:
        raise ConfigError(f'{recipe}: {error}') from None
    except (KeyError, AttributeError, TypeError) as error:  # a field that a variant sets and the recipe does not have
        raise ConfigError(f'{recipe} cannot be loaded: {" ".join(str(error).split())}') from None
    return config


def _check_workdir(run: Run) -> None:
    """Refuse a workdir that holds something else."""
    file = run.workdir / 'config.json'
    if not file.is_file():
        if is_occupied(run.workdir):
            raise ConfigError(f'{run.workdir} holds other things and no run of recog; choose another --workdir')
        return
    try:
        recorded = values.flat(recipe.from_json(file.read_text(encoding='utf-8')))
    except ValueError as error:
        raise ConfigError(f'{file} is damaged ({error}); remove {run.workdir} to train {run.name} again') from None
    wanted = values.flat(recipe.from_json(recipe.to_json(run.config)))
    for field in dict.fromkeys([*recorded, *wanted]):
        if recorded.get(field) != wanted.get(field) and not field.startswith(FREE):
            raise ConfigError(f'{run.workdir} holds another experiment: config.{field}: {recorded.get(field)!r} -> '
                              f'{wanted.get(field)!r}; choose another --workdir')


def _check_sets(runs: Sequence[Run], root: str) -> None:
    """Refuse to start where a set that training reads is not there."""
    from recog.data.sets import open_set

    needed = {name: run.config for run in runs for name in (*run.config.data.train, *run.config.eval.sets)}
    for name, config in needed.items():
        open_set(name, config, root)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[int]:
    """A lock on the folder, which runs that outlive a killed sweep hold as well: no two may train in one workdir."""
    with (root / '.sweep').open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f'--workdir {root}: another sweep, or a run of one that was killed, is at work there') from None
        yield file.fileno()


def _conclude(runs: Sequence[Run], root: Path) -> int:
    """Write and print the table of what is done; the status."""
    done = [each for each in runs if is_done(each)]
    if done:
        from recog.evaluation import compare

        table = compare.table([each.workdir for each in done], apart=True).rstrip('\n')
        (root / 'results.md').write_text(f'{table}\n', encoding='utf-8')
        print(f'\n{table}\n\nin {root / "results.md"}')
    missing = [each.name for each in runs if each not in done]
    if missing:
        print(f'recog sweep: {len(missing)} of {len(runs)} runs are not done: {", ".join(missing)}', file=sys.stderr)
    return 1 if missing else 0
