"""`recog bench`: what a recipe, an export or a prepared set costs on this machine."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recog.buckets import is_remote
from recog.commands.options import (
    Command,
    add_data,
    add_devices,
    add_engine,
    data_root,
    model_folder,
    recipe,
    refuse_negative,
    start,
)
from recog.errors import ConfigError

if TYPE_CHECKING:
    from recog.bench.asked import Asked


def add(bench: argparse.ArgumentParser) -> None:
    """The arguments."""
    bench.add_argument('folder', nargs='*',
                       help='instead of a recipe: exported folders, each beside its workdir; or published '
                       'readers')
    bench.add_argument('--batch', type=int, default=32,
                       help='images of the larger inference batch (default 32)')
    bench.add_argument('--train-batch', type=int, default=0,
                       help="images of the training step (default: the recipe's for its largest canvas, "
                       'at most 16, or one group of batch norm, on a CPU)')
    bench.add_argument('--seconds', type=float, default=5.0, help='time for each figure (default 5)')
    bench.add_argument('--set', default='', metavar='NAME[/CONFIG][:SPLIT]',
                       help='instead: how fast one worker reads this prepared set, cold and warm, '
                       'for the recipe (default: 32 x 100, 36 characters)')
    bench.add_argument('--only', action='append', default=[], choices=('infer', 'train', 'data'),
                       help='measure only this')
    bench.add_argument('--profile', default='', metavar='FOLDER',
                       help='also write a trace of three training steps there (with --only infer: of three '
                       'inferences), and list the ten costliest operations')
    bench.add_argument('--collectives', action='store_true',
                       help='instead: what devices send one another in a training step, '
                       'on three meshes of eight simulated ones')
    bench.add_argument('--startup', nargs='+', default=[], metavar='FILE[:VARIANT]',
                       help='instead: seconds until the training steps of these recipes are compiled, '
                       'with an empty compilation cache and with the filled one; '
                       'a file stands for all its variants')
    bench.add_argument('--pytorch', action='store_true',
                       help='instead: the same network in PyTorch, where there is one, '
                       'found equal and timed in turns (on a CPU)')
    bench.add_argument('--paddle', action='store_true',
                       help='instead: the same network in Paddle, where there is one, '
                       'found equal and timed in turns (on a CPU)')
    bench.add_argument('--all', metavar='FOLDER', default='',
                       help='instead: measure every reference recipe, keep the figures in the folder, '
                       'and print the table')
    bench.add_argument('--recipes', default='', metavar='A,B',
                       help='with --all: only these, as the files of figures are called '
                       '(EXPERIMENT-VARIANT, ...)')
    bench.add_argument('--table', metavar='FOLDER', default='',
                       help='instead: print the table of such a folder; measure nothing')
    bench.add_argument('--json', metavar='FILE', default='',
                       help='write the figures there, too; - for standard output')
    add_data(bench)
    add_devices(bench)
    add_engine(bench)


def run(arguments: argparse.Namespace) -> int:
    """Measure what was asked for."""
    refuse_negative(arguments, 'batch', 'train-batch', 'seconds')
    # An override whose value has a blank looks like a folder to the parser.
    folders = [name for name in arguments.folder if not name.startswith('--')]
    arguments.overrides += [name for name in arguments.folder if name.startswith('--')]
    if folders:
        from recog.bench import exports

        folders = [model_folder(name) for name in folders]
        return exports.run(folders, arguments.devices, arguments.engine, arguments.batch, arguments.seconds,
                           arguments.json)
    if arguments.engine:
        raise ConfigError(f'--engine {arguments.engine} is of exported folders; name one, or leave it out')
    if arguments.recipes and not arguments.all:
        raise ConfigError(f'--recipes {arguments.recipes}: these are of --all FOLDER')
    if arguments.all or arguments.table:
        return _all(arguments)
    name, root = _set_and_root(arguments)
    if arguments.pytorch or arguments.paddle:
        return _beside(arguments, name)
    if name:
        return _set(name, root, arguments)
    if arguments.profile and set(arguments.only) == {'data'}:
        raise ConfigError(f'--profile {arguments.profile}: with --only data no program runs; '
                          'leave one of them out')
    if arguments.startup and arguments.config:
        raise ConfigError(f'--config {arguments.config}: --startup names its recipes itself; '
                          'leave one of them out')
    if arguments.startup:
        from recog.bench import startup

        return startup.run(arguments.startup, arguments.overrides, arguments.json)
    config = recipe(arguments)
    if arguments.collectives:
        from recog.bench import collectives

        return collectives.run(arguments.config, arguments.overrides, arguments.train_batch, arguments.json)
    from recog.bench import recipe as one_recipe

    return one_recipe.run(config, _asked(arguments), root, start(arguments.devices))


def _all(arguments: argparse.Namespace) -> int:
    from recog.bench import all_recipes

    if not arguments.all:
        return all_recipes.show(Path(arguments.table))
    return all_recipes.run(Path(arguments.all), arguments.recipes, arguments.overrides, arguments.seconds,
                           arguments.profile, start(arguments.devices))


def _set_and_root(arguments: argparse.Namespace) -> tuple[str, str]:
    """The prepared set that is to be read, if any, and where sets are: `--data NAME` stands for `--set
    NAME`."""
    root, _, rest = arguments.data.partition(':')
    is_name = not is_remote(arguments.data) and (rest or not Path(root).exists())
    if not arguments.set and is_name and arguments.data != data_root():
        return arguments.data, data_root()
    return arguments.set, arguments.data


def _asked(arguments: argparse.Namespace) -> 'Asked':
    from recog.bench.asked import Asked

    return Asked(arguments.config, tuple(arguments.overrides), tuple(arguments.only), arguments.batch,
                 arguments.train_batch, arguments.seconds, arguments.profile, arguments.json)


def _set(name: str, root: str, arguments: argparse.Namespace) -> int:
    from recog.bench import sets
    from recog.config.recipe import base, override

    config = recipe(arguments) if arguments.config else override(base(name=''), arguments.overrides)
    return sets.run(name, config, root, arguments.seconds)


def _beside(arguments: argparse.Namespace, name: str) -> int:
    from recog.bench.rivals import listed
    from recog.bench.rivals.frameworks import PADDLE, PYTORCH

    if arguments.pytorch and arguments.paddle:
        raise ConfigError('--pytorch, --paddle: each compares with one framework; leave one of them out')
    framework = PYTORCH if arguments.pytorch else PADDLE
    given = {'set': name, 'startup': arguments.startup, 'collectives': arguments.collectives,
             'profile': arguments.profile}
    others = [f'--{flag}' for flag, value in given.items() if value]
    others += ['--only data'] if 'data' in arguments.only else []
    if others:
        raise ConfigError(f'{framework.option}: leave {", ".join(others)} out, which does not compare')
    config = recipe(arguments)
    listed.check(framework, config, trained=tuple(arguments.only) == ('train',))
    from recog.bench.rivals import race

    return race.run(framework, config, _asked(arguments), start(arguments.devices))


COMMAND = Command('bench', 'Measure compile time, speed, arithmetic and memory of a recipe on this machine.',
                  add, run,
                  recipe=True, overridable=True, epilog='The figures are kept, and `recog config` uses them.')
