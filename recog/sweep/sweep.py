"""Sweeps: every variant of an experiment with every seed, each run a `recog train`, and one table of results.

The runs follow one another or share this machine; under Slurm each is a job of submitit. The same command
goes on with a sweep that was stopped.
"""

import contextlib
import fcntl
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from recog.errors import ConfigError
from recog.sweep.here import places, run_here
from recog.sweep.progress import Progress
from recog.sweep.runs import SweepRun, headline
from recog.sweep.table import tables
from recog.workdir.files import RESULTS_PAGE, is_done


def run(runs: Sequence[SweepRun], root: Path, data: str, *, parallel: int = 1, devices_per_run: int = 0,
        cluster: str = '', cluster_options: Sequence[str] = ()) -> int:
    """Start the runs that are not done and wait for them, then write the table; status 1 if one failed."""
    waiting = [each for each in runs if not is_done(each.workdir)]
    root.mkdir(parents=True, exist_ok=True)
    with alone(root) as lock:
        for each in runs:
            if each not in waiting:
                print(f'{each.name}: was done before: {headline(each)}', flush=True)
        if waiting and cluster:
            from recog.sweep import slurm

            slurm.run(waiting, root / 'slurm', cluster, cluster_options, Progress(runs, waiting))
        elif waiting:
            _check_sets(waiting, data)
            run_here(waiting, places(parallel, devices_per_run), lock, Progress(runs, waiting))
    return _conclude(runs, root)


def print_commands(runs: Sequence[SweepRun]) -> None:
    """Print the commands of the runs that are not done."""
    print(''.join(f'{shlex.join(each.command)}\n' for each in runs if not is_done(each.workdir)), end='')


def _check_sets(runs: Sequence[SweepRun], root: str) -> None:
    """Refuse to start where a set that training reads is not there."""
    for config in {(run.config.data.train, run.config.eval.sets): run.config for run in runs}.values():
        check_data(config, root)


def check_data(config: ConfigDict, root: str) -> None:
    """Refuse a recipe of which a set that training reads is not there."""
    from recog.data.sets import open_set

    for name in (*config.data.train, *config.eval.sets):
        open_set(name, config, root)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[int]:
    """A lock on the folder: no two may train in one workdir. Runs that outlive a killed sweep hold it too."""
    with (root / '.sweep').open('a') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f'--workdir {root}: another sweep, or a run of one that was killed, is at work '
                              'there') from None
        yield file.fileno()


def _conclude(runs: Sequence[SweepRun], root: Path) -> int:
    """Write and print the table of what is done; the status."""
    done = [each for each in runs if is_done(each.workdir)]
    if done:
        from recog.evaluation import terminal

        table = '\n\n'.join(each.markdown() for each in tables(done))
        (root / RESULTS_PAGE).write_text(f'{table}\n', encoding='utf-8')
        print(f'\n{terminal.shown(table)}\n\nin {root / RESULTS_PAGE}')
    missing = [each.name for each in runs if each not in done]
    if missing:
        print(f'recog sweep: {len(missing)} of {len(runs)} runs are not done: {", ".join(missing)}',
              file=sys.stderr)
    return 1 if missing else 0
