"""The `recog` command: reads the arguments, then hands over to the stage that was asked for."""

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from recog import checks
from recog import config as configs
from recog import workdir as workdirs

OVERRIDES = 'Any field of the recipe can be set: --config.train.batch=64 --config.data.train=a:train,b:train'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 only if all of it succeeded."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='surrogateescape')  # the name of a file may be no UTF-8
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    try:
        if rest and not known.overridable:
            raise configs.ConfigError(f'argument {rest[0]!r} is not understood; see: recog {known.command} --help')
        known.overrides = rest
        return known.run(known)
    except configs.ConfigError as error:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='recog', description='Text recognition in JAX.', allow_abbrev=False,
        epilog='First steps: recog train --config experiments/crnn.py:demo --workdir runs/demo')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def command(name, run, description, *, recipe=False, overridable=False, epilog=''):
        sub = commands.add_parser(name, help=description, description=description, allow_abbrev=False,
                                  epilog=f'{OVERRIDES}. {epilog}' if overridable else epilog)
        sub.set_defaults(run=run, overridable=overridable)
        if recipe:
            sub.add_argument('--config', metavar='FILE:VARIANT', help='the recipe, e.g. experiments/crnn.py:r34; '
                             'without a variant, the first of the file')
        return sub

    train = command('train', _train, 'Train a recipe, or go on where its workdir stands, then evaluate it.', recipe=True,
                    overridable=True, epilog='A workdir that exists is resumed; its own recipe is used without --config.')
    _train_arguments(train)

    evaluate = command('evaluate', _evaluate, 'Measure a trained model on sets; writes results.json, results.csv, results.md and '
                       'predictions.tsv. Of several workdirs, compare what was measured.')
    _evaluate_arguments(evaluate)

    predict = command('predict', _predict, 'Read images: one line `file TAB text TAB confidence` each, in the order given.')
    _predict_arguments(predict)

    importing = command('import', _import, "Turn published weights (PaddleOCR's, PyTorch's) into a workdir.", recipe=True,
                        overridable=True, epilog='Without --config the names of the arrays tell which recipe it is.')
    importing.add_argument('file', help='*.pdparams, a tar with one, *.pth or *.pt; nothing in it is run')
    importing.add_argument('--workdir', required=True, help='folder for the workdir')
    importing.add_argument('--partial', action='store_true',
                           help='let what the file lacks start afresh, and leave out what the model lacks; both are listed')

    bench = command('bench', _bench, 'Measure compile time, speed, arithmetic and memory of a recipe on this machine.',
                    recipe=True, overridable=True, epilog='The figures are kept, and `recog config` uses them.')
    bench.add_argument('--batch', type=int, default=32, help='images of the larger inference batch (default 32)')
    bench.add_argument('--train-batch', type=int, default=0,
                       help="images of the training step (default: the recipe's, at most 16 on a CPU)")
    bench.add_argument('--seconds', type=float, default=5.0, help='time for each figure (default 5)')
    bench.add_argument('--set', default='', metavar='NAME[/CONFIG][:SPLIT]',
                       help='instead: how fast one worker reads this prepared set, cold and warm, for the recipe (default: '
                       '32 x 100, 36 characters)')
    bench.add_argument('--only', action='append', default=[], choices=('infer', 'train', 'data'), help='measure only this')
    bench.add_argument('--json', metavar='FILE', default='', help='write the figures there, too; - for standard output')
    _data(bench)
    _devices(bench)

    augment = command('augment', _augment, 'Draw images as training changes them: each augmentation of a recipe alone, then all.',
                      recipe=True, overridable=True)
    augment.add_argument('images', nargs='+', help="files, folders or quoted patterns ('scans/**/*.png')")
    augment.add_argument('--out', required=True, metavar='FILE.png', help='the picture')
    augment.add_argument('--all', action='store_true', help='every augmentation at a plain strength, whatever the recipe says')

    pack = command('pack', _pack, 'Fit and encode a set once for a recipe: training reads it many times faster.', recipe=True,
                   overridable=True, epilog='Train on it by --config.data.train=NAME (without a split).')
    pack.add_argument('set', metavar='NAME[/CONFIG][:SPLIT]', help='the set to pack')
    pack.add_argument('--name', default='', help='what the packed set is called (default: NAME_SPLIT_packed)')
    pack.add_argument('--workers', type=int, default=0, help='processes (default: as many as there are CPUs)')
    _data(pack)

    check = command('check', _check, 'Check prepared sets, every byte, against the sizes and hashes recorded of their files.')
    check.add_argument('data', nargs='?', default=_root(),
                       help='a set or the root of several (default: $RECOG_DATA, else ./data)')
    check.add_argument('--seal', action='store_true', help='record sizes and hashes of sets that have none yet')

    config = command('config', _config, 'Print the resolved recipe, its parameters, and what it costs.', recipe=True,
                     overridable=True)
    config.add_argument('--layers', action='store_true', help='print a table of the layers instead')
    config.add_argument('--batch', type=int, default=1, help='images of that table (default 1)')
    config.add_argument('recipe', nargs='?', metavar='FILE:VARIANT', help='the same as --config')
    _data(config)
    return parser


def _evaluate_arguments(evaluate: argparse.ArgumentParser) -> None:
    _workdir(evaluate, several='; several are compared by their results, two of them word by word')
    evaluate.add_argument('--set', action='append', default=[], metavar='NAME[/CONFIG][:SPLIT]',
                          help='a set to measure; may be given several times; benchmarks stands for the ten of the literature, '
                          "maths for the tests of formulas, as far as they are there (default: the recipe's eval.report)")
    evaluate.add_argument('--out', default='', help='folder for the results (default: the workdir), or of the comparison')
    evaluate.add_argument('--protocol', default='', choices=('', '36', '62', '94', 'exact', 'latex'),
                          help="what is compared: characters, or latex: tokens of formulas (default: the recipe's)")
    evaluate.add_argument('--nfkd', action='store_true', help='turn labels and texts into ASCII (NFKD) before they are compared')
    evaluate.add_argument('--batch', type=int, default=0, help="images at a time (default: the recipe's eval.batch)")
    _data(evaluate)
    _decoding(evaluate)
    _devices(evaluate)


def _predict_arguments(predict: argparse.ArgumentParser) -> None:
    _workdir(predict)
    predict.add_argument('images', nargs='+', help="files, folders, quoted patterns ('scans/**/*.png'), or - for a list on "
                         'standard input, one file a line')
    predict.add_argument('--json', action='store_true', help='one JSON object a line instead: file, text, confidence')
    predict.add_argument('--batch', type=int, default=64, help='images at a time (default 64)')
    predict.add_argument('--invert', default='auto', choices=('yes', 'no', 'auto'),
                         help='whether the images have dark ink where the training images have light, or the other way round; '
                         'only for recipes with image.ink (default: found out for each)')
    predict.add_argument('--nbest', type=int, default=1, metavar='N', help='the N best texts of the beam, each on a line')
    predict.add_argument('--explain', action='store_true', help='also draw for each image where each character was read')
    predict.add_argument('--out', default='explanations', metavar='FOLDER', help='folder of these (default explanations)')
    _decoding(predict)
    _devices(predict)


def _train_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument('--workdir', default='', help='folder for checkpoints, logs, results and pictures')
    train.add_argument('--overfit', type=int, default=0, metavar='N',
                       help='instead of training: learn N examples by heart and say within about a minute whether the recipe '
                       'can learn at all (no workdir; status 1 if it cannot)')
    _data(train)
    _devices(train)
    several = train.add_argument_group('several processes', 'one line per process, or --cluster under a scheduler')
    several.add_argument('--cluster', action='store_true',
                         help='join by the environment of Slurm, Open MPI, Kubernetes or Cloud TPU')
    several.add_argument('--coordinator', default='', metavar='HOST:PORT', help='address of process 0')
    several.add_argument('--processes', type=int, default=0, help='how many there are')
    several.add_argument('--patience', type=float, default=30.0, metavar='SECONDS',
                         help='how long a process may give no sign of life until the others end (default 30)')
    several.add_argument('--process', type=int, default=-1, help='which one this is, from 0')


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data', default=_root(), metavar='FOLDER',
                        help='root of prepared sets (default: $RECOG_DATA, else ./data)')


def _root() -> str:
    return os.environ.get('RECOG_DATA', './data')


def _devices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--devices', default='', metavar='0,1', help='numbers of the devices to use (default: all)')


def _workdir(parser: argparse.ArgumentParser, several: str = '') -> None:
    parser.add_argument('workdir', nargs='+' if several else None, help=f'folder of a trained model{several}')
    parser.add_argument('--step', type=int, help='a checkpoint (default: the best by accuracy, else the newest)')


def _decoding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--beam', type=int, default=0,
                        help="width of the beam search; 1 is greedy (default: evaluate the recipe's, predict 1)")
    parser.add_argument('--max-length', type=int, default=0, metavar='N', help="tokens at most (default: the recipe's)")
    parser.add_argument('--width-rule', default='', choices=('', 'fixed', 'widest'),
                        help="width of the batch: fixed, or widest as PaddleOCR predicts (default: the recipe's)")


def _recipe(arguments: argparse.Namespace):
    if not arguments.config:
        raise configs.ConfigError('--config FILE:VARIANT is needed, e.g. --config experiments/crnn.py:demo')
    return configs.load(arguments.config, arguments.overrides)


def _positive(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        value = getattr(arguments, name.replace('-', '_'))
        if value < 0 or value == 0 and name == 'seconds':
            raise configs.ConfigError(f'--{name} {value} must be above 0')


def _train(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'overfit')
    if bool(arguments.workdir) == bool(arguments.overfit):
        raise configs.ConfigError('either --workdir FOLDER or --overfit N is needed')
    workdir = workdirs.path(arguments.workdir)
    if arguments.config:
        config = _recipe(arguments)
    elif (workdir / 'config.json').is_file():
        text = (workdir / 'config.json').read_text(encoding='utf-8')
        config = configs.override(configs.from_json(text), arguments.overrides)
        checks.check(config)
    else:
        raise configs.ConfigError(f'--config FILE:VARIANT is needed: {workdir} is not a workdir of recog yet')
    if bool(arguments.coordinator) != (arguments.processes > 0) or bool(arguments.coordinator) != (arguments.process >= 0):
        raise configs.ConfigError('--coordinator, --processes and --process go together')
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
            raise configs.ConfigError(f'--{name}: several workdirs are compared by what was measured of each; measure each alone')
    from recog import compare

    said = compare.report([workdirs.path(folder) for folder in arguments.workdir])
    print(said)
    if arguments.out:
        folder = workdirs.path(arguments.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'comparison.md').write_text(said + '\n', encoding='utf-8')
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'batch', 'beam', 'max-length', 'nbest')
    _needs_workdir(arguments)
    from recog import commands

    return commands.predict(arguments)


def _import(arguments: argparse.Namespace) -> int:
    if not Path(arguments.file).is_file():
        raise configs.ConfigError(f'{arguments.file} is no file')
    from recog import imports

    workdir = workdirs.path(arguments.workdir)
    return imports.run(arguments.file, arguments.config or '', arguments.overrides, workdir, arguments.partial)


def _needs_workdir(arguments: argparse.Namespace) -> None:
    folder = workdirs.path(arguments.workdir)
    if not (folder / 'config.json').is_file():
        near = configs.nearest(str(folder), (str(file.parent) for file in folder.parent.glob('*/config.json')))
        what = 'is not a workdir of recog (no config.json)' if folder.exists() else 'does not exist'
        raise configs.ConfigError(f'workdir {str(folder)!r} {what}{near}')


def _bench(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'batch', 'train-batch', 'seconds')
    root, _, rest = arguments.data.partition(':')
    if not arguments.set and (rest or not Path(root).exists()) and arguments.data != _root():
        arguments.set, arguments.data = arguments.data, _root()  # --data NAME
    if arguments.set:
        config = _recipe(arguments) if arguments.config else configs.override(configs.base(name=''), arguments.overrides)
        from recog import reading

        return reading.run(arguments.set, config, arguments.data, arguments.seconds)
    config = _recipe(arguments)
    from recog import bench, commands

    return bench.run(config, arguments, commands.start(arguments))


def _augment(arguments: argparse.Namespace) -> int:
    if not arguments.out.lower().endswith('.png'):
        raise configs.ConfigError(f'--out {arguments.out} must be a file that ends in .png')
    config = _recipe(arguments)
    from recog import pictures

    print(pictures.show_augmentation(config, arguments.images, Path(arguments.out), every=arguments.all))
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    _positive(arguments, 'workers')
    config = _recipe(arguments)
    from recog import packed

    name = arguments.name or re.sub(r'\W+', '_', arguments.set) + '_packed'
    place = Path(arguments.data) / name
    manifest = packed.pack(arguments.set, config, Path(arguments.data), place, arguments.workers or len(os.sched_getaffinity(0)))
    print(f'{place}: {manifest["rows"]:,} rows: ' + ', '.join(f'{count:,} {what}' for what, count in manifest['counts'].items()))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from recog import seal

    folders = seal.found(Path(arguments.data))
    if not folders:
        raise configs.ConfigError(f'{arguments.data!r} holds no prepared set (no dataset_info.json, no labels.tsv)')
    bad = 0
    for folder in folders:
        if not (folder / seal.SEAL).is_file():
            print(f'{folder}: {f"recorded {seal.seal(folder)} files" if arguments.seal else "not recorded; see --seal"}')
            continue
        problems = seal.check_hashes(folder)
        bad += bool(problems)
        print('\n'.join(f'{folder}: {problem}' for problem in problems) or f'{folder}: sound')
    return 1 if bad else 0


def _config(arguments: argparse.Namespace) -> int:
    if arguments.recipe and arguments.recipe.startswith('-'):
        raise configs.ConfigError(f'option {arguments.recipe} is not known')
    arguments.config = arguments.config or arguments.recipe
    config = _recipe(arguments)
    _positive(arguments, 'batch')
    if not arguments.layers:
        for field, value in configs.flat(config).items():
            print(f'{field} = {value!r}')
    from recog import commands

    return commands.describe(config, arguments)


if __name__ == '__main__':
    sys.exit(main())
