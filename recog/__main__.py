"""The `recog` command: reads the arguments, then hands over to the stage that was asked for."""

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from recog import arguments as lines
from recog import start
from recog.config import checks, experiments, values
from recog.config.recipe import base, from_json, override
from recog.errors import ConfigError
from recog.workdir.folder import workdir_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 only if all of it succeeded."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='surrogateescape')  # the name of a file may be no UTF-8
    known, rest = lines.parser(RUNNERS).parse_known_args(arguments)
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


def _recipe(arguments: argparse.Namespace):
    if not arguments.config:
        raise ConfigError('--config FILE:VARIANT is needed, e.g. --config experiments/crnn.py:demo')
    return experiments.load(arguments.config, arguments.overrides)


def _positive(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        value = getattr(arguments, name.replace('-', '_'))
        if value < 0 or value == 0 and name == 'seconds':
            raise ConfigError(f'--{name} {value} must be above 0')


def _train(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'overfit')
    if bool(arguments.workdir) == bool(arguments.overfit):
        raise ConfigError('either --workdir FOLDER or --overfit N is needed')
    workdir = workdir_path(arguments.workdir)
    if arguments.config:
        config = _recipe(arguments)
    elif (workdir / 'config.json').is_file():
        text = (workdir / 'config.json').read_text(encoding='utf-8')
        config = override(from_json(text), arguments.overrides)
        checks.check(config)
    else:
        raise ConfigError(f'--config FILE:VARIANT is needed: {workdir} is not a workdir of recog yet')
    if bool(arguments.coordinator) != (arguments.processes > 0) or bool(arguments.coordinator) != (arguments.process >= 0):
        raise ConfigError('--coordinator, --processes and --process go together')
    from recog import commands

    return commands.overfit(config, arguments) if arguments.overfit else commands.train(config, workdir, arguments)


def _evaluate(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'batch', 'beam', 'max-length')
    if len(arguments.workdir) > 1:
        return _compare(arguments)
    arguments.workdir = arguments.workdir[0]
    _needs_workdir(arguments)
    from recog import commands

    return commands.evaluate_command(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    for name in ('set', 'protocol', 'nfkd', 'batch', 'beam', 'step', 'max-length', 'width-rule', 'devices'):
        if getattr(arguments, name.replace('-', '_')) not in ('', 0, None, False, []):
            raise ConfigError(f'--{name}: several workdirs are compared by what was measured of each; measure each alone')
    from recog.evaluation import compare

    said = compare.report([workdir_path(folder) for folder in arguments.workdir])
    print(said)
    if arguments.out:
        folder = workdir_path(arguments.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'comparison.md').write_text(said + '\n', encoding='utf-8')
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'batch', 'beam', 'max-length', 'nbest')
    from recog import predict

    return predict.run(arguments)


def _import(arguments: argparse.Namespace) -> int:
    if not Path(arguments.file).is_file():
        raise ConfigError(f'{arguments.file} is no file')
    from recog import commands
    from recog.workdir import imported

    commands.start(argparse.Namespace(devices=''))
    workdir = workdir_path(arguments.workdir)
    return imported.run(arguments.file, arguments.config or '', arguments.overrides, workdir, arguments.partial)


def _serve(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'beam', 'max-length')
    from recog import server

    return server.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from recog.server import demo

    return demo.run(arguments)


def _export(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'beam', 'max-length')
    _needs_workdir(arguments)
    from recog.export import write

    return write.run(arguments)


def _needs_workdir(arguments: argparse.Namespace) -> None:
    from recog.reading.recognizer import needs_workdir

    needs_workdir(workdir_path(arguments.workdir))


def _bench(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'batch', 'train-batch', 'seconds')
    # An override whose value has a blank looks like a folder to the parser.
    arguments.overrides += [name for name in arguments.folder if name.startswith('--')]
    arguments.folder = [name for name in arguments.folder if not name.startswith('--')]
    if arguments.folder:
        from recog.bench import exports

        return exports.run(arguments)
    if arguments.recipes and not arguments.all:
        raise ConfigError(f'--recipes {arguments.recipes}: these are of --all FOLDER')
    if arguments.all or arguments.table:
        from recog.bench import all_recipes

        return all_recipes.run(Path(arguments.all), arguments) if arguments.all else all_recipes.show(Path(arguments.table))
    root, _, rest = arguments.data.partition(':')
    if not arguments.set and (rest or not Path(root).exists()) and arguments.data != lines.root():
        arguments.set, arguments.data = arguments.data, lines.root()  # --data NAME
    if arguments.pytorch:
        return _rival(arguments)
    if arguments.set:
        config = _recipe(arguments) if arguments.config else override(base(name=''), arguments.overrides)
        from recog.bench import sets

        return sets.run(arguments.set, config, arguments.data, arguments.seconds)
    if arguments.profile and set(arguments.only) == {'data'}:
        raise ConfigError(f'--profile {arguments.profile}: with --only data no program runs; leave one of them out')
    if arguments.startup and arguments.config:
        raise ConfigError(f'--config {arguments.config}: --startup names its recipes itself; leave one of them out')
    if arguments.startup:
        from recog.bench import startup

        return startup.run(arguments)
    config = _recipe(arguments)
    if arguments.collectives:
        from recog.bench import collectives

        return collectives.run(arguments)
    from recog import commands
    from recog.bench import recipe

    return recipe.run(config, arguments, commands.start(arguments))


def _rival(arguments: argparse.Namespace) -> int:
    others = [f'--{name}' for name in ('set', 'startup', 'collectives', 'profile') if getattr(arguments, name)]
    others += ['--only data'] if 'data' in arguments.only else []
    if others:
        raise ConfigError(f'--pytorch: leave {", ".join(others)} out, which does not compare')
    config = _recipe(arguments)
    from recog import commands
    from recog.bench.pytorch import rivals

    rivals.check(config)
    from recog.bench.pytorch import race

    return race.run(config, arguments, commands.start(arguments))


def _augment(arguments: argparse.Namespace) -> int:
    if not arguments.out.lower().endswith('.png'):
        raise ConfigError(f'--out {arguments.out} must be a file that ends in .png')
    config = _recipe(arguments)
    from recog.report import pictures

    print(pictures.show_augmentation(config, arguments.images, Path(arguments.out), every=arguments.all))
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'workers')
    config = _recipe(arguments)
    from recog.data import pack

    name = arguments.name or re.sub(r'\W+', '_', arguments.set) + '_packed'
    place = Path(arguments.data) / name
    manifest = pack.pack(arguments.set, config, Path(arguments.data), place, arguments.workers or len(os.sched_getaffinity(0)))
    print(f'{place}: {manifest["rows"]:,} rows: ' + ', '.join(f'{count:,} {what}' for what, count in manifest['counts'].items()))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from recog.data import file_hashes

    folders = file_hashes.found(Path(arguments.data))
    if not folders:
        raise ConfigError(f'{arguments.data!r} holds no prepared set (no dataset_info.json, no labels.tsv)')
    bad = 0
    for folder in folders:
        if not (folder / file_hashes.SEAL).is_file():
            print(f'{folder}: {f"recorded {file_hashes.seal(folder)} files" if arguments.seal else "not recorded; see --seal"}')
            continue
        problems = file_hashes.check_hashes(folder)
        bad += bool(problems)
        print('\n'.join(f'{folder}: {problem}' for problem in problems) or f'{folder}: sound')
    return 1 if bad else 0


def _config(arguments: argparse.Namespace) -> int:
    if arguments.recipe and arguments.recipe.startswith('-'):
        raise ConfigError(f'option {arguments.recipe} is not known')
    arguments.config = arguments.config or arguments.recipe
    config = _recipe(arguments)
    _positive(arguments, 'batch')
    if not arguments.layers:
        for field, value in values.flat(config).items():
            print(f'{field} = {value!r}')
    from recog import commands

    return commands.describe(config, arguments)


def _sweep(arguments: argparse.Namespace) -> int:
    from recog.sweep import sweep

    return sweep.run(arguments)


def _report(arguments: argparse.Namespace) -> int:
    _needs_workdir(arguments)
    from recog.report import report

    return report.run(arguments)


RUNNERS = {'train': _train, 'evaluate': _evaluate, 'predict': _predict, 'serve': _serve, 'demo': _demo, 'report': _report,
           'sweep': _sweep, 'import': _import, 'export': _export, 'bench': _bench, 'augment': _augment, 'pack': _pack,
           'check': _check, 'config': _config}

if __name__ == '__main__':
    sys.exit(start.main())
