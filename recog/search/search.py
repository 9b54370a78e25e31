"""A search: trials are proposed, run, pruned where they are hopeless, and told to the study.

The same line goes on with one that was stopped.
"""

import functools
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from recog.config import experiments
from recog.errors import ConfigError
from recog.search.slots import Slots
from recog.search.study import Study, Trial
from recog.sweep.runs import POLL, SIGNALS, SweepRun, check_workdir, finish, stop_at
from recog.workdir import files


class Plan(NamedTuple):
    """What all trials share."""

    recipe: str  # FILE:VARIANT
    overrides: tuple[str, ...]
    root: Path
    data: str

    def name(self, trial: Trial) -> str:
        """Its folder."""
        return f'trial-{trial.number:04}'

    def measured(self) -> str:
        """The set by which trials are compared."""
        return experiments.load(self.recipe, self.overrides).eval.sets[0]

    def options(self, trial: Trial) -> list[str]:
        """The recipe of a trial as options of a command."""
        return ['--config', self.recipe, *self.overrides,
                *(f'--config.{field}={value}' for field, value in trial.values.items())]

    def run(self, trial: Trial) -> SweepRun:
        """The training of a trial; it reports on the validation sets, as tests choose nothing."""
        name = self.name(trial)
        own = '--config.eval.report='
        command = [sys.executable, '-m', 'recog', 'train', *self.options(trial), own,
                   '--workdir', str(self.root / name), '--data', self.data]
        config = experiments.load(self.recipe, [*self.options(trial)[2:], own])
        run = SweepRun(name, name, config, self.root / name, self.root / f'{name}.log', command)
        check_workdir(run)
        return run


def search(study: Study, plan: Plan, slots: Slots, count: int) -> None:
    """Run trials until there are `count` that have ended."""
    working: dict[str, tuple[Trial, SweepRun]] = {}
    seen: dict[str, int] = {}  # evaluations of each
    pruned: set[str] = set()
    waiting, left = study.unfinished(), count - study.begun
    stop = stop_at(*SIGNALS, signal.SIGHUP)
    try:
        while waiting or working or left > 0:
            if stop.asked:
                print('recog search: trials save and stop; the same line goes on with them', file=sys.stderr,
                      flush=True)
                raise KeyboardInterrupt
            while slots.free() and (waiting or left > 0):
                left -= not waiting
                trial = waiting.pop(0) if waiting else study.ask()
                if run := _ready(study, plan, trial):
                    slots.start(run)
                    working[run.name] = trial, run
            time.sleep(POLL)
            for name, (trial, run) in working.items():
                found = accuracies(run)
                if name not in pruned and len(found) > seen.get(name, 0) and study.is_hopeless(trial, found):
                    pruned.add(name)
                    slots.stop(run)
                seen[name] = len(found)
            for run, status, seconds in slots.ended():
                trial, _ = working.pop(run.name)
                _conclude(study, trial, run, run.name in pruned,
                          functools.partial(finish, run, status, seconds))
    finally:
        slots.close()
        stop.close()


def _ready(study: Study, plan: Plan, trial: Trial) -> SweepRun | None:
    """The run of a trial that is to be trained; None where it is done, or where its recipe cannot be."""
    try:
        run = plan.run(trial)
    except ConfigError as error:  # the ends of each range are right, but not all that lies between them
        print(f'recog search: {plan.name(trial)} is left out: {error}', file=sys.stderr, flush=True)
        study.fail(trial)
        return None
    if files.is_done(run.workdir):
        study.complete(trial, accuracy(run))
        return None
    print(f'{run.name}: {", ".join(f"{field}={value}" for field, value in trial.values.items())}', flush=True)
    return run


def _conclude(study: Study, trial: Trial, run: SweepRun, pruned: bool, say: Callable[[], None]) -> None:
    """Tell the study what came of a trial."""
    if files.is_done(run.workdir):
        study.complete(trial, accuracy(run))
        say()
    elif pruned:
        found = accuracies(run)
        study.prune(trial)
        print(f'{run.name}: pruned after {len(found)} evaluations, accuracy {found[-1]:.2%}', flush=True)
    else:
        study.fail(trial)
        say()


def accuracies(run: SweepRun) -> list[float]:
    """The accuracies on the first validation set, evaluation by evaluation."""
    name = f'{run.config.eval.sets[0]}/accuracy'
    return [line[name] for line in files.read_log(run.workdir) if name in line]


def accuracy(run: SweepRun) -> float:
    """The accuracy of the best checkpoint on the first validation set."""
    return float(files.read_results(run.workdir)['sets'][run.config.eval.sets[0]]['accuracy'])
