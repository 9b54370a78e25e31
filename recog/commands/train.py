"""`recog train`: a recipe trained, or gone on with, and measured at its end."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recog.commands.options import Command, add_data, add_devices, recipe, refuse_negative, start
from recog.errors import ConfigError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.evaluation.results import Result
    from recog.train.processes import Stop
    from recog.train.run import Run
    from recog.workdir.lock import Lock
    from recog.workdir.opened import Opened


def add(train: argparse.ArgumentParser) -> None:
    """The arguments."""
    train.add_argument('--workdir', default='', help='folder for checkpoints, logs, results and pictures')
    train.add_argument('--change', action='store_true',
                       help='go on with a workdir although the recipe differs from that of its run')
    train.add_argument('--overfit', type=int, default=0, metavar='N',
                       help='instead of training: learn N examples by heart and say within about a minute '
                       'whether the recipe can learn at all (no workdir; status 1 if it cannot)')
    train.add_argument('--find-rate', nargs='?', const='rates.png', default='', metavar='PICTURE',
                       help='instead of training: raise the learning rate for a hundred steps, draw the loss '
                       'over it into PICTURE (default rates.png), say where it falls fastest (no workdir)')
    train.add_argument('--profile', type=int, default=0, metavar='STEPS',
                       help='record so many steps with the profiler, into the folder profile of the workdir')
    add_data(train)
    add_devices(train)
    several = train.add_argument_group('several processes',
                                       'one line per process, or --cluster under a scheduler')
    several.add_argument('--cluster', action='store_true',
                         help='join by the environment of Slurm, Open MPI, Kubernetes or Cloud TPU')
    several.add_argument('--coordinator', default='', metavar='HOST:PORT', help='address of process 0')
    several.add_argument('--processes', type=int, default=0, help='how many there are')
    several.add_argument('--patience', type=float, default=30.0, metavar='SECONDS',
                         help='how long a process may give no sign of life before the others end (default '
                         '30); they have ten times as long to join')
    several.add_argument('--process', type=int, default=-1, help='which one this is, from 0')


def run(arguments: argparse.Namespace) -> int:
    """Train or resume, or say whether the recipe can learn a few examples by heart."""
    refuse_negative(arguments, 'overfit', 'profile')
    if [bool(arguments.workdir), bool(arguments.overfit), bool(arguments.find_rate)].count(True) != 1:
        raise ConfigError('one of --workdir FOLDER, --overfit N and --find-rate is needed, and no other')
    if arguments.find_rate and Path(arguments.find_rate).suffix not in ('.png', '.svg'):
        raise ConfigError(f'--find-rate {arguments.find_rate} must end in .png or .svg')
    from recog.devices.meeting import check
    from recog.workdir.folder import workdir_path

    workdir = workdir_path(arguments.workdir)
    config = _recipe(workdir, arguments)
    if len({bool(arguments.coordinator), arguments.processes > 0, arguments.process >= 0}) > 1:
        raise ConfigError('--coordinator, --processes and --process go together')
    if arguments.coordinator:
        check(arguments.coordinator, arguments.processes, arguments.process)
    if arguments.find_rate:
        return _find_rate(config, arguments)
    return _overfit(config, arguments) if arguments.overfit else _train(config, workdir, arguments)


def _recipe(workdir: Any, arguments: argparse.Namespace) -> 'ConfigDict':
    """The recipe of --config, else the workdir's own."""
    if arguments.config:
        return recipe(arguments)
    from recog.config import checks
    from recog.config.recipe import override
    from recog.workdir.description import read_config
    from recog.workdir.files import is_workdir

    if not is_workdir(workdir):
        raise ConfigError(f'--config FILE:VARIANT is needed: {workdir} is not a workdir of recog yet')
    config = override(read_config(workdir), arguments.overrides)
    checks.check(config)
    return config


def _overfit(config: 'ConfigDict', arguments: argparse.Namespace) -> int:
    from recog.text import vocabulary
    from recog.train import overfit
    from recog.train.run import make_run

    vocab, devices = vocabulary.from_config(config.text), start(arguments.devices)
    learns = overfit.run(config, arguments.overfit,
                         lambda changed: make_run(changed, vocab, arguments.data, devices))
    return 0 if learns else 1


def _find_rate(config: 'ConfigDict', arguments: argparse.Namespace) -> int:
    """Draw the loss over a rising learning rate, and say at which rate it falls fastest."""
    from recog.report import pictures
    from recog.text import vocabulary
    from recog.train import rates
    from recog.train.run import make_run

    vocab, devices = vocabulary.from_config(config.text), start(arguments.devices)
    found = rates.find(make_run(config, vocab, arguments.data, devices))
    pictures.rates(*found, Path(arguments.find_rate))
    print(f'the loss falls fastest at a rate of {found.fastest:.1e}, of those tried up to '
          f'{found.rates[-1]:.1e}; drawn in {arguments.find_rate}. To train with it:\n'
          f'  --config.optimizer.rate={found.fastest:.1e}')
    return 0


def _train(config: 'ConfigDict', workdir: Any, arguments: argparse.Namespace) -> int:
    """Train or resume, then measure and show what came of it; an error ends the other processes, too."""
    from recog.train import processes
    from recog.workdir.lock import Lock

    stop = processes.Stop()  # a signal may come while everything is being set up
    with contextlib.closing(stop), contextlib.closing(Lock(workdir)) as lock:
        return _watched(config, workdir, arguments, stop, lock)


def _watched(config: 'ConfigDict', workdir: Any, arguments: argparse.Namespace, stop: 'Stop',
             lock: 'Lock') -> int:
    """Train or resume as one of several processes, each of which notices when another is lost."""
    import jax

    from recog.devices.processes import join
    from recog.train import processes
    from recog.workdir.faults import SaveFailed

    run = prepare(config, workdir, arguments.data, arguments.devices, lock, lambda: join(
        arguments.coordinator, arguments.processes, arguments.process, arguments.cluster, arguments.patience,
        lambda: stop.asked), arguments.change)
    watch = processes.Watch(workdir, arguments.patience)
    try:
        status = train_and_measure(run, workdir, stop, arguments.data, profile=arguments.profile).status
    except Exception as error:
        if jax.process_count() > 1:
            watch.failed(error)
        if isinstance(error, SaveFailed):
            print(f'recog train: {error}', file=sys.stderr, flush=True)
            os._exit(1)  # Orbax's threads would go on complaining
        raise
    watch.close()
    return status


def prepare(config: 'ConfigDict', workdir: Any, root: str, devices: str, lock: 'Lock',
            join: Callable[[], None] = lambda: None, change: bool = False) -> 'Run':
    """The run, once all processes have joined, agree, and see a workdir that is right for it."""
    import jax

    from recog.text import vocabulary
    from recog.train import initial, processes
    from recog.train.loggers.opened import check as check_loggers
    from recog.train.run import make_run
    from recog.workdir import description, files
    from recog.workdir.folder import refuse_other_things

    check_loggers(config.log.to)
    vocab, resumes = vocabulary.from_config(config.text), files.is_workdir(workdir)
    refuse_other_things(workdir, resumes=True)
    changes = description.compare(workdir, config, vocab, change) if resumes else []
    join()
    chosen = start(devices)
    run = processes.together(lambda: make_run(config, vocab, root, chosen))
    if config.eval.corrupted:
        from recog.evaluation import measure_corrupted

        processes.together(lambda: measure_corrupted.check(config, root))
    if resumes:
        initial.check_there(config)
    else:
        processes.together(run.initial)  # what it starts from is looked at before anything is written
    processes.check_workdir(workdir)
    processes.together(lock.take if jax.process_index() == 0 else lambda: None)
    sources = [*run.source.sources, *run.validation]
    processes.check_alike(config, {source.name: f'{len(source)} examples' for source in sources}
                          | {f'{name}: files': found for name, found in run.fingerprints.items()})
    if jax.process_index() == 0:
        for line in changes:
            print(f'changed since the last start: {line}')
        description.write(workdir, config, vocab)
        (workdir / files.STOPPED).unlink(missing_ok=True)
    return run._replace(change=change)


class Outcome(NamedTuple):
    """How a training ended: the status of the command, and what was measured if it came to its end."""

    status: int
    results: 'list[Result] | None' = None


def train_and_measure(run: 'Run', workdir: Any, stop: 'Stop', root: str,
                      announce: bool = False, profile: int = 0) -> Outcome:
    """Train to the end, or until it is asked to stop; with `announce`, say first what it will cost.

    So many steps as `profile` says are recorded.
    """
    import jax

    from recog.train.loggers.opened import opened
    from recog.train.loop import train_to_end
    from recog.train.progress import Broken
    from recog.workdir import files

    with opened(run.config, workdir) as loggers:
        try:
            ended = train_to_end(run, workdir, stop, announce=announce, loggers=loggers, profile=profile)
        except Broken as error:
            print(f'recog train: {error}', file=sys.stderr)
            return Outcome(1)
        loggers.ended = 'stopped'
        if ended:
            stop.close()  # all is saved; from here on a signal just ends the command
            results = _measure(run, workdir, root)
            loggers.report(results, workdir)
            loggers.ended = 'finished'
            return Outcome(0, results)
    if jax.process_index() == 0:
        (workdir / files.STOPPED).touch()
    return Outcome(0)


def _measure(run: 'Run', workdir: Any, root: str) -> 'list[Result]':
    """Measure the best checkpoint, and draw what a person looks at first."""
    import jax

    from recog.data.sets import open_set
    from recog.evaluation import before
    from recog.evaluation.sets import measure_sets
    from recog.report import pictures
    from recog.workdir.files import SAMPLES
    from recog.workdir.folder import Mirror, is_remote
    from recog.workdir.opened import open_workdir

    opened = open_workdir(workdir, mesh=run.mesh)
    results = measure_sets(opened, run.config, run.mesh, root, workdir, own=True)
    if run.config.eval.before:
        before.compare(results, run.config, run.mesh, root, workdir)
    if run.config.eval.corrupted:
        _measure_corrupted(opened, run, workdir, root)
    if jax.process_index() == 0:
        mirror = Mirror(workdir)
        pictures.curves(mirror.here)
        pictures.samples(mirror.here, open_set(results[0].name, run.config, root), results[0])
        mirror.close()
        images = 'IMAGES' if is_remote(workdir) else str(Path(workdir) / SAMPLES)
        print(f'results in {workdir}: results.md, predictions.tsv, loss.png, samples.png; '
              f'try: recog predict {workdir} {images}')
    return results


def _measure_corrupted(opened: 'Opened', run: 'Run', workdir: Any, root: str) -> None:
    """Measure the sets of the report under all corruptions, and print the tables."""
    import jax

    from recog.evaluation import measure_corrupted, robustness
    from recog.evaluation.terminal import shown
    from recog.images.corrupt import CORRUPTIONS

    records, _ = measure_corrupted.measure_sets(opened, run.config, run.mesh, root, list(CORRUPTIONS),
                                                run.config.eval.corrupted, workdir)
    if jax.process_index() == 0:
        print('\n\n'.join(shown(robustness.table(each)) for each in records) + '\n')


COMMAND = Command('train', 'Train a recipe, or go on where its workdir stands, then evaluate it.', add, run,
                  recipe=True, overridable=True,
                  epilog='A workdir that exists is resumed; its own recipe is used without --config.')
