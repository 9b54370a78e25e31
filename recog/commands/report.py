"""`recog report`: a page about a run."""

import argparse
from pathlib import Path

from recog.commands.options import (
    Command,
    add_data,
    add_devices,
    add_workdir,
    beside,
    existing_workdir,
    start,
)
from recog.errors import ConfigError


def add(report: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(report)
    report.add_argument('--set', default='', metavar='NAME[/CONFIG][:SPLIT]',
                        help='the only set that counts and is shown (default: all that were measured as '
                        'training reported)')
    report.add_argument('--out', default='', metavar='FILE.html',
                        help='the page (default: report.html in the workdir; of a reader NAME, '
                        'NAME-report.html here)')
    add_data(report)
    add_devices(report)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    folder = existing_workdir(arguments.workdir)
    if arguments.out and not arguments.out.lower().endswith('.html'):
        raise ConfigError(f'--out {arguments.out} must be a file that ends in .html')
    out = arguments.out or beside(arguments.workdir, folder, '-report.html')
    from recog.report import report

    print(report.write_report(folder, Path(out) if out else None, arguments.data,
                              start(arguments.devices), only=arguments.set, step=arguments.step))
    return 0


COMMAND = Command('report', 'Write a page about a run: curves, results, mistakes, what the model looked at.',
                  add, run)
