"""The `recog` command: reads the arguments, then hands over to the command that was asked for."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from recog import __version__
from recog.commands import (
    augment,
    average,
    bench,
    calibrate,
    check,
    demo,
    evaluate,
    export,
    import_weights,
    lexicon,
    pack,
    predict,
    publish,
    pull,
    push,
    readers,
    report,
    reproduce,
    search,
    serve,
    show_config,
    sweep,
    train,
)
from recog.errors import ConfigError

OVERRIDES = 'Any field of the recipe can be set: --config.train.batch=64 --config.data.train=a:train,b:train'
COMMANDS = tuple(module.COMMAND for module in (
    train, reproduce, evaluate, average, calibrate, lexicon, predict, readers, serve, demo, report, sweep,
    search, import_weights, export, publish, pull, push, bench, augment, pack, check, show_config))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 only if all of it succeeded."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='surrogateescape')  # the name of a file may be no UTF-8
    top = parser()
    known, rest = top.parse_known_args(arguments)
    if not known.command:
        top.print_help()
        return 0
    try:
        if rest and not known.overridable:
            raise ConfigError(f'argument {rest[0]!r} is not understood; see: recog {known.command} --help')
        known.overrides = rest
        return known.run(known)
    except ConfigError as error:
        print(f'recog {known.command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'recog {known.command}: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our lines has left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder without permission
        print(f'recog {known.command}: {error}', file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog='recog', description='Text recognition in JAX.', allow_abbrev=False,
        epilog='First steps: recog train --config experiments/crnn.py:demo --workdir runs/demo')
    top.add_argument('--version', action='version', version=f'recog {__version__}')
    commands = top.add_subparsers(dest='command', metavar='COMMAND')
    for command in COMMANDS:
        epilog = f'{OVERRIDES}. {command.epilog}' if command.overridable else command.epilog
        sub = commands.add_parser(command.name, help=command.description, description=command.description,
                                  allow_abbrev=False, epilog=epilog)
        sub.set_defaults(run=command.run, overridable=command.overridable)
        if command.recipe:
            sub.add_argument('--config', metavar='FILE:VARIANT', help='the recipe, e.g. '
                             'experiments/crnn.py:r34; without a variant, the first of the file')
        command.add(sub)
    return top
