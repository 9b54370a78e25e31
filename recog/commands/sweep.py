"""`recog sweep`: several recipes with several seeds."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recog.commands.options import Command, add_data
from recog.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recog.sweep.runs import SweepRun


def add(sweep: argparse.ArgumentParser) -> None:
    """The arguments."""
    sweep.add_argument('recipes', nargs='+', metavar='FILE[:VARIANT]',
                       help='an experiment, e.g. experiments/srn.py, or several, or single recipes of theirs')
    sweep.add_argument('--variants', default='all', metavar='A,B',
                       help='of the files that are given without one (default: all but demo)')
    sweep.add_argument('--seeds', default='1', metavar='N',
                       help='how many, from 0 on, or which: 0,3,7 (default 1)')
    sweep.add_argument('--workdir', default='',
                       help='folder of the runs, each in VARIANT-seedN, or of several files in '
                       'FILE-VARIANT-seedN, their logs and results.md')
    sweep.add_argument('--dry-run', action='store_true',
                       help='print the commands of the runs that are not done; run nothing')
    add_data(sweep)
    add_several(sweep)


def add_several(parser: argparse.ArgumentParser, slurm: str = '') -> None:
    """How several runs share this machine, or are jobs; `slurm` is what else is said of the jobs."""
    several = parser.add_argument_group('several runs at a time',
                                        'one of these; without, one after another on all devices')
    several.add_argument('--devices-per-run', type=int, default=0, metavar='N',
                         help='as many runs as there are groups of N devices')
    several.add_argument('--parallel', type=int, default=1, metavar='N',
                         help='N runs on a CPU, its cores divided among them')
    several.add_argument('--slurm', action='store_const', const='slurm', default='',
                         help=f"jobs of Slurm{slurm} (pip install 'recog[sweep]')")
    several.add_argument('--slurm-option', action='append', default=[], metavar='NAME=VALUE',
                         help="of submitit's update_parameters: timeout_min=1440 (needed), gpus_per_node=8, "
                         'slurm_partition=gpu')


def run(arguments: argparse.Namespace) -> int:
    """Start the runs that are not done and wait for them; status 1 if one failed."""
    check(arguments)
    if any(override.lstrip('-').partition('=')[0] == 'config.seed' for override in arguments.overrides):
        raise ConfigError("--config.seed is each run's own; choose by --seeds")
    from recog.sweep import runs, sweep

    root = Path(arguments.workdir)
    planned = runs.plan(arguments.recipes, root, arguments.data, arguments.overrides,
                        variants=arguments.variants, seeds=arguments.seeds)
    if arguments.dry_run:
        sweep.print_commands(planned)
        return 0
    status = sweep.run(planned, root, arguments.data, parallel=arguments.parallel,
                       devices_per_run=arguments.devices_per_run, cluster=arguments.slurm,
                       cluster_options=arguments.slurm_option)
    _write_page(planned, root, arguments.recipes)
    return status


def _write_page(planned: 'Sequence[SweepRun]', root: Path, recipes: 'Sequence[str]') -> None:
    """Write the page about the runs that are done, and say where it is."""
    from recog.report import sweep_page
    from recog.sweep.table import tables
    from recog.workdir.files import is_done

    done = [each for each in planned if is_done(each.workdir)]
    if done:
        page = root / 'sweep.html'
        names = dict.fromkeys(Path(each.partition(':')[0]).stem for each in recipes)
        sweep_page.write(page, f'recog sweep: {", ".join(names)}', tables(done),
                         {each.name: each.workdir for each in done})
        print(f'their curves: {page}')


def check(arguments: argparse.Namespace) -> None:
    """Refuse a folder that runs cannot stand in, and ways to run that do not go together."""
    if not arguments.workdir or '://' in arguments.workdir:
        raise ConfigError(f'--workdir {arguments.workdir!r} must be a local folder; '
                          'the runs stand in it, each in its own')
    if arguments.devices_per_run < 0 or arguments.parallel < 1:
        raise ConfigError(f'--devices-per-run {arguments.devices_per_run} must be at least 0, '
                          f'--parallel {arguments.parallel} at least 1')
    if sum([arguments.devices_per_run > 0, arguments.parallel > 1, bool(arguments.slurm)]) > 1:
        raise ConfigError('--devices-per-run, --parallel and --slurm are three ways to run at the same time; '
                          'choose one')
    if arguments.slurm:
        from recog.sweep import slurm

        slurm.options(arguments.slurm_option)
    elif arguments.slurm_option:
        raise ConfigError('--slurm-option is of --slurm alone')


COMMAND = Command('sweep', 'Train several recipes with several seeds, and compare them in one table.',
                  add, run, overridable=True,
                  epilog='Overrides go to every run. The same line goes on where a sweep was stopped.')
