"""`recog search`: the best values of some fields of a recipe, looked for within ranges."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from recog.commands.options import Command, add_data
from recog.commands.sweep import add_several
from recog.commands.sweep import check as check_several
from recog.errors import ConfigError

if TYPE_CHECKING:
    from recog.search.search import Plan
    from recog.search.slots import Slots
    from recog.search.space import Range
    from recog.search.study import Study
    from recog.sweep.here import Place


def add(search: argparse.ArgumentParser) -> None:
    """The arguments."""
    search.add_argument('recipe', metavar='FILE:VARIANT', help='e.g. experiments/crnn.py:modern')
    search.add_argument('--space', action='append', default=[], metavar='RANGE',
                        help="a field and its range, such as 'optimizer.rate=log(1e-4,3e-3)', "
                        "'train.ema=uniform(0.9,0.999)', 'model.lstm_layers=int(0,2)' or "
                        "'schedule.name=choice(cosine,one_cycle)'; may be given several times")
    search.add_argument('--trials', type=int, default=20, metavar='N',
                        help='how many in all, those of earlier calls among them (default 20)')
    search.add_argument('--workdir', default='', help='folder of the trials, their study and search.html')
    search.add_argument('--no-pruning', action='store_true',
                        help='train all trials to their end, hopeless ones too')
    search.add_argument('--search-seed', type=int, default=0, metavar='N',
                        help='of what is proposed (default 0)')
    add_data(search)
    add_several(search, ', --parallel of them at a time')


def run(arguments: argparse.Namespace) -> int:
    """Look for the best recipe; status 1 if no trial came to its end."""
    _check(arguments)
    from recog.search import search, space, study
    from recog.sweep import sweep

    study.check()
    ranges = space.space(arguments.space, arguments.recipe, arguments.overrides)
    root = Path(arguments.workdir)
    plan = search.Plan(arguments.recipe, tuple(arguments.overrides), root, arguments.data)
    places = _places(arguments)
    root.mkdir(parents=True, exist_ok=True)
    with sweep.alone(root) as lock:
        found = study.Study(root, ranges, {'recipe': arguments.recipe, 'overrides': arguments.overrides},
                            seed=arguments.search_seed, prune=not arguments.no_pruning)
        try:
            search.search(found, plan, _slots(arguments, places, lock), arguments.trials)
        finally:
            if any(each.accuracy is not None for each in found.trials()):
                _conclude(found, plan, ranges)
    return 0 if found.best() else 1


def _check(arguments: argparse.Namespace) -> None:
    if arguments.trials < 1:
        raise ConfigError(f'--trials {arguments.trials} must be at least 1')
    # Of jobs, --parallel says how many are queued at a time: what is proposed depends on what came before.
    check_several(argparse.Namespace(**{**vars(arguments), 'parallel': 1}) if arguments.slurm else arguments)


def _places(arguments: argparse.Namespace) -> 'list[Place]':
    """The parts of this machine that trials take turns on, once the data is known to be there."""
    if arguments.slurm:
        return []
    from recog.config import experiments
    from recog.sweep.here import places
    from recog.sweep.sweep import check_data

    check_data(experiments.load(arguments.recipe, arguments.overrides), arguments.data)
    return places(arguments.parallel, arguments.devices_per_run)


def _slots(arguments: argparse.Namespace, places: 'list[Place]', lock: int) -> 'Slots':
    from recog.search import slots

    if not arguments.slurm:
        return slots.Here(places, lock)
    return slots.Slurm(Path(arguments.workdir) / 'slurm', arguments.slurm, arguments.slurm_option,
                       arguments.parallel)


def _conclude(found: 'Study', plan: 'Plan', ranges: 'list[Range]') -> None:
    """Write the page, and print what matters and the best recipe as a command."""
    from recog.report import search_page

    best, importances = found.best(), found.importances()
    command = shlex.join(['recog', 'train', *plan.options(best.trial), '--data', plan.data, '--workdir',
                          str(plan.root / 'best')]) if best else ''
    trials = [search_page.Trial(plan.name(each.trial), each.trial.values, each.state, each.accuracy)
              for each in found.trials()]
    page = plan.root / 'search.html'
    search_page.write(page, f'recog search: {plan.recipe}', command, trials, importances, plan.measured(),
                      [each.field for each in ranges if each.kind == 'log'])
    if importances:
        print('importance: ' + ', '.join(f'{name} {share:.0%}' for name, share in importances.items()))
    if best:
        print(f'the best of {len(trials)} trials is {plan.name(best.trial)}, accuracy {best.accuracy:.2%} of '
              f'{plan.measured()}. Its recipe:\n  {command}')
    print(f'all trials: {page}')


COMMAND = Command('search', 'Look for the best values of some fields of a recipe, by many trainings.',
                  add, run, overridable=True,
                  epilog='Overrides go to every trial. The same line goes on where a search was stopped.')
