"""The runs of a sweep as jobs of Slurm, through submitit.

Each is one process on one node, which is queued again when its time is up.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recog.errors import ConfigError
from recog.sweep.progress import Progress
from recog.sweep.runs import POLL, SIGNALS, SweepRun, environment, finish, stop_at


class Job:
    """What submitit calls for a run; before the time limit, or pre-empted, it saves and is queued again."""

    def __init__(self, run: SweepRun):
        self.command, self.log = run.command, run.log
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Train; the status of the command."""
        with self.log.open('a', encoding='utf-8') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=environment())
        return self.process.wait()

    def checkpoint(self) -> Any:
        """Stop the run, which saves; what submitit is to queue again."""
        from submitit.helpers import DelayedSubmission

        process, self.process = self.process, None  # a process cannot be pickled
        if process:
            process.terminate()
            # This is a signal's handler: the lock of process.wait() may be taken.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(self)


def run(runs: Sequence[SweepRun], folder: Path, cluster: str, given: Sequence[str],
        progress: Progress) -> None:
    """Submit the runs as one array of jobs; wait for them and for what an earlier sweep left in the queue."""
    queued = jobs(runs, folder, *executor(folder, cluster, given))
    stop, begun = stop_at(*SIGNALS), time.monotonic()
    try:
        while queued:
            if stop.asked:
                print('recog sweep: the jobs are told to end, and save; the same line goes on with them',
                      file=sys.stderr)
                for _, job in queued:
                    job.cancel(check=False)
                raise KeyboardInterrupt
            time.sleep(POLL)
            for each, job in [item for item in queued if item[1].done()]:
                queued.remove((each, job))
                finish(each, 1 if job.exception() else job.result(), time.monotonic() - begun)
                progress.say()
            progress.look()
    finally:
        stop.close()


def executor(folder: Path, cluster: str, given: Sequence[str]) -> tuple[Any, Any]:
    """What queues jobs, and the class of a job that is known by its number, if there is one."""
    # Slurm sends it to all processes of a job: the one at which training saves.
    os.environ['SUBMITIT_PREEMPT_SIGNAL'] = 'USR1'
    try:
        import submitit
    except ModuleNotFoundError:
        raise ConfigError("--slurm needs submitit: pip install 'recog[sweep]'") from None
    with _refused():
        found = submitit.AutoExecutor(folder, cluster=cluster)
        found.update_parameters(**{'name': 'recog', **options(given)})
        return found, submitit.SlurmJob if cluster == 'slurm' else None


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """No Slurm, a wrong option, or what sbatch refuses, in one line."""
    try:
        yield
    except (NameError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(f'--slurm: {" ".join(str(error).split())[:300]}') from None


def jobs(runs: Sequence[SweepRun], folder: Path, executor: Any, known: Any) -> list[tuple[SweepRun, Any]]:
    """The job of each run: the one that still waits or runs since the last sweep, else a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    found, new = [], []
    for each in runs:
        note = folder / f'{each.name}.job'
        job = known(folder, note.read_text(encoding='utf-8')) if known and note.is_file() else None
        if job and not job.done(force_check=True):
            found.append((each, job))
        else:
            new.append(each)
    if new:
        with _refused(), executor.batch():
            made = [executor.submit(Job(each)) for each in new]
        found += zip(new, made, strict=True)
    for each, job in found:
        (folder / f'{each.name}.job').write_text(job.job_id, encoding='utf-8')
        print(f'{each.name}: job {job.job_id}, log in {each.log}', flush=True)
    return found


def options(given: Sequence[str]) -> dict[str, Any]:
    """The arguments for submitit's `update_parameters`, from 'name=value' strings; values may be JSON."""
    found: dict[str, Any] = {}
    for option in given:
        name, equals, value = option.partition('=')
        if not name or not equals:
            raise ConfigError(f'--slurm-option {option!r} must be NAME=VALUE, e.g. gpus_per_node=8')
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    if {'nodes', 'tasks_per_node', 'slurm_nodes', 'slurm_ntasks_per_node'} & found.keys():
        raise ConfigError('--slurm-option: a run of a sweep is one process on one node; '
                          'deploy/slurm.sh trains on several')
    if not {'timeout_min', 'slurm_time'} & found.keys():
        raise ConfigError('--slurm needs a time limit of each job: --slurm-option timeout_min=1440')
    return found
