"""`recog reproduce`: a row of the table of results trained again, from its data to its record."""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from recog.buckets import refuse_remote
from recog.commands import train
from recog.commands.options import Command, add_data, add_devices, refuse_negative
from recog.config.values import CARRIED_OUT
from recog.errors import ConfigError

if TYPE_CHECKING:
    from recog.reproduce.rows import Row



def add(reproduce: argparse.ArgumentParser) -> None:
    """The arguments."""
    reproduce.add_argument('name', nargs='?', default='', metavar='NAME',
                           help='the row, EXPERIMENT-VARIANT; without a name, the table is printed')
    reproduce.add_argument('--workdir', default='', help='folder of the run; the same line goes on there')
    reproduce.add_argument('--seed', type=int, default=0, metavar='N', help='of the run (default 0)')
    reproduce.add_argument('--minutes', type=float, default=0.0, metavar='N',
                           help='save and stop after N minutes (default: go on to the end)')
    reproduce.add_argument('--out', default='', metavar='FOLDER',
                           help='where the record is written, or the table is read '
                           '(default: experiments/results/trained)')
    add_data(reproduce)
    add_devices(reproduce)


def run(arguments: argparse.Namespace) -> int:
    """Check the data, train, measure, and write the record; or print the table."""
    refuse_negative(arguments, 'minutes', 'seed')
    from recog.reproduce import record, rows, table

    folder = Path(arguments.out or record.FOLDER)
    if not arguments.name:
        print('\n'.join(table.lines(folder)))
        return 0
    row = rows.row(arguments.name)
    if not arguments.workdir or '://' in arguments.workdir:
        raise ConfigError(f'--workdir {arguments.workdir!r} must be a local folder')
    return _reproduce(row, arguments, folder)


def _reproduce(row: 'Row', arguments: argparse.Namespace, folder: Path) -> int:
    """Train a row, or go on, and write its record once it is at its end."""
    from recog.config import experiments
    from recog.reproduce import ready, record
    from recog.train import origin

    overrides = [*_free(arguments.overrides), f'--config.seed={arguments.seed}']
    config = experiments.load(row.recipe, overrides, origin.completed)
    if row.reported.pack:
        refuse_remote('--data', arguments.data)  # the packed sets are written there
    data = ready.check_data(config, arguments.data)
    if row.reported.pack:
        config = ready.packed(row.name, config, arguments.data)
        overrides += [f'--config.data.train={",".join(config.data.train)}']

    from recog.train import processes
    from recog.workdir.folder import workdir_path
    from recog.workdir.lock import Lock
    from recog.workdir.opened import open_workdir

    workdir = workdir_path(arguments.workdir)
    with contextlib.closing(processes.Stop()) as stop, contextlib.closing(Lock(workdir)) as lock:
        stop.after(60 * arguments.minutes)
        run = train.prepare(config, workdir, arguments.data, arguments.devices, lock)
        outcome = train.train_and_measure(run, workdir, stop, arguments.data, announce=True)
    if outcome.results is None:
        return outcome.status
    found = record.document(row, overrides, open_workdir(workdir, mesh=run.mesh), config, run.mesh, data,
                            outcome.results)
    print(f'the record is in {record.write(found, folder)}')
    return 0


def _free(overrides: list[str]) -> list[str]:
    """The overrides, which may only say how the row is trained here."""
    for override in overrides:
        field = override.lstrip('-').partition('=')[0].removeprefix('config.')
        if not field.startswith(CARRIED_OUT):
            raise ConfigError(f'{override}: a row is trained as its recipe says; it may be given '
                              f'{", ".join(CARRIED_OUT)}. Other recipes: recog train')
    return overrides


COMMAND = Command('reproduce', 'Train a row of the table of results: check its data, say what it costs, '
                  'train, measure, and write its record. The same line goes on where it was stopped.',
                  add, run, overridable=True)
