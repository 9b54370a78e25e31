"""The arguments of every command, and what each says of itself."""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

OVERRIDES = 'Any field of the recipe can be set: --config.train.batch=64 --config.data.train=a:train,b:train'


class Command(NamedTuple):
    """What a command says of itself, and who adds its arguments."""

    description: str
    add: Callable[[argparse.ArgumentParser], None]
    recipe: bool = False  # it takes --config FILE:VARIANT
    overridable: bool = False  # and --config.field=value
    epilog: str = ''


def parser(runners: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """The parser of the command line; `runners` are what the commands call."""
    top = argparse.ArgumentParser(
        prog='recog', description='Text recognition in JAX.', allow_abbrev=False,
        epilog='First steps: recog train --config experiments/crnn.py:demo --workdir runs/demo')
    commands = top.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, command in COMMANDS.items():
        epilog = f'{OVERRIDES}. {command.epilog}' if command.overridable else command.epilog
        sub = commands.add_parser(name, help=command.description, description=command.description, allow_abbrev=False,
                                  epilog=epilog)
        sub.set_defaults(run=runners[name], overridable=command.overridable)
        if command.recipe:
            sub.add_argument('--config', metavar='FILE:VARIANT', help='the recipe, e.g. experiments/crnn.py:r34; '
                             'without a variant, the first of the file')
        command.add(sub)
    return top


def _train(train: argparse.ArgumentParser) -> None:
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


def _evaluate(evaluate: argparse.ArgumentParser) -> None:
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


def _predict(predict: argparse.ArgumentParser) -> None:
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


def _serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument('folder', nargs='+', metavar='[NAME=]FOLDER',
                       help='a workdir or an exported folder; its model is called NAME, else as the folder')
    _listening(serve)
    serve.add_argument('--batch', type=int, default=32, help='images that a model reads at a time, at most (default 32)')
    serve.add_argument('--explain', action='store_true',
                       help='answer with pictures of where each character was read, to those who ask; loads each model twice')
    serve.add_argument('--beam', type=int, default=0, help='width of the beam search, and texts that a request may ask for')
    serve.add_argument('--max-length', type=int, default=0, metavar='N', help="tokens at most (default: the recipe's)")
    _devices(serve)


def _demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument('--folder', default='runs', help='where the workdirs demo-NAME are, or will be (default runs)')
    demo.add_argument('--only', default='', metavar='A,B', help='of crnn, rare, srn, can, latex_ocr these (default: all)')
    _listening(demo)
    demo.set_defaults(max_length=0, devices='')


def _listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (default 127.0.0.1: this machine alone)')
    parser.add_argument('--port', type=int, default=8000, help='port to listen on (default 8000); 0: any that is free')
    parser.add_argument('--invert', default='auto', choices=('yes', 'no', 'auto'), help='as of predict (default auto)')
    limits = parser.add_argument_group('limits', 'what goes beyond is refused with 413, 429 or 503 and the reason')
    limits.add_argument('--most-bytes', type=int, default=10_000_000, metavar='N', help='of a request (default 10 million)')
    limits.add_argument('--most-pixels', type=int, default=16_000_000, metavar='N', help='of an image (default 16 million)')
    limits.add_argument('--queue', type=int, default=256, metavar='N', help='images that may wait (default 256)')
    limits.add_argument('--timeout', type=float, default=60.0, metavar='SECONDS',
                        help='for a request to arrive, and again for its answer (default 60)')


def _report(report: argparse.ArgumentParser) -> None:
    _workdir(report)
    report.add_argument('--set', default='', metavar='NAME[/CONFIG][:SPLIT]',
                        help='the only set that counts and is shown (default: all of predictions.tsv)')
    report.add_argument('--out', default='', metavar='FILE.html', help='the page (default: report.html in the workdir)')
    _data(report)
    _devices(report)


def _sweep(sweep: argparse.ArgumentParser) -> None:
    sweep.add_argument('file', metavar='FILE', help='the experiment, e.g. experiments/srn.py')
    sweep.add_argument('--variants', default='all', metavar='A,B', help='which (default: all but demo)')
    sweep.add_argument('--seeds', default='1', metavar='N', help='how many, from 0 on, or which: 0,3,7 (default 1)')
    sweep.add_argument('--workdir', default='', help='folder of the runs, each in VARIANT-seedN, their logs and results.md')
    sweep.add_argument('--dry-run', action='store_true', help='print the commands of the runs that are not done; run nothing')
    _data(sweep)
    several = sweep.add_argument_group('several runs at a time', 'one of these; without, one after another on all devices')
    several.add_argument('--devices-per-run', type=int, default=0, metavar='N',
                         help='as many runs as there are groups of N devices')
    several.add_argument('--parallel', type=int, default=1, metavar='N', help='N runs on a CPU, its cores divided among them')
    several.add_argument('--slurm', action='store_const', const='slurm', default='',
                         help="jobs of Slurm (pip install 'recog[sweep]')")
    several.add_argument('--slurm-option', action='append', default=[], metavar='NAME=VALUE',
                         help="of submitit's update_parameters: timeout_min=1440 (needed), gpus_per_node=8, slurm_partition=gpu")


def _import(importing: argparse.ArgumentParser) -> None:
    importing.add_argument('file', help='*.pdparams, a tar with one, *.pth or *.pt; nothing in it is run')
    importing.add_argument('--workdir', required=True, help='folder for the workdir')
    importing.add_argument('--partial', action='store_true',
                           help='let what the file lacks start afresh, and leave out what the model lacks; both are listed')


def _export(export: argparse.ArgumentParser) -> None:
    export.add_argument('workdir', help='folder of a trained model')
    export.add_argument('folder', help='where the export is written; must not hold anything yet')
    export.add_argument('--format', default='onnx', choices=('onnx', 'stablehlo'),
                        help='onnx: for onnxruntime, OpenVINO and their like, without JAX (default); stablehlo: for JAX on CPU, '
                        'CUDA and TPU')
    export.add_argument('--beam', type=int, default=0, help='width of the beam search, fixed in the files (default 1: greedy)')
    export.add_argument('--max-length', type=int, default=0, metavar='N',
                        help="tokens at most where nothing else is said later (default: the recipe's)")
    export.add_argument('--step', type=int, help='a checkpoint (default: the best by accuracy, else the newest)')


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument('folder', nargs='*', help='instead of a recipe: exported folders, each beside its workdir')
    bench.add_argument('--batch', type=int, default=32, help='images of the larger inference batch (default 32)')
    bench.add_argument('--train-batch', type=int, default=0,
                       help="images of the training step (default: the recipe's, at most 16 on a CPU)")
    bench.add_argument('--seconds', type=float, default=5.0, help='time for each figure (default 5)')
    bench.add_argument('--set', default='', metavar='NAME[/CONFIG][:SPLIT]',
                       help='instead: how fast one worker reads this prepared set, cold and warm, for the recipe (default: '
                       '32 x 100, 36 characters)')
    bench.add_argument('--only', action='append', default=[], choices=('infer', 'train', 'data'), help='measure only this')
    bench.add_argument('--profile', default='', metavar='FOLDER',
                       help='also write a trace of three training steps there (with --only infer: of three inferences), and list '
                       'the ten costliest operations')
    bench.add_argument('--collectives', action='store_true',
                       help='instead: what devices send one another in a training step, on three meshes of eight simulated ones')
    bench.add_argument('--startup', nargs='+', default=[], metavar='FILE[:VARIANT]',
                       help='instead: seconds until the training steps of these recipes are compiled, with an empty compilation '
                       'cache and with the filled one; a file stands for all its variants')
    bench.add_argument('--pytorch', action='store_true',
                       help='instead: the same network in PyTorch, found equal and timed in turns (CRNN, RARE and SRN, on a CPU)')
    bench.add_argument('--all', metavar='FOLDER', default='',
                       help='instead: measure every reference recipe, keep the figures in the folder, and print the table')
    bench.add_argument('--recipes', default='', metavar='A,B',
                       help='with --all: only these, as the files of figures are called (crnn-r34, can-d28, ...)')
    bench.add_argument('--table', metavar='FOLDER', default='', help='instead: print the table of such a folder; measure nothing')
    bench.add_argument('--json', metavar='FILE', default='', help='write the figures there, too; - for standard output')
    _data(bench)
    _devices(bench)


def _augment(augment: argparse.ArgumentParser) -> None:
    augment.add_argument('images', nargs='+', help="files, folders or quoted patterns ('scans/**/*.png')")
    augment.add_argument('--out', required=True, metavar='FILE.png', help='the picture')
    augment.add_argument('--all', action='store_true', help='every augmentation at a plain strength, whatever the recipe says')


def _pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument('set', metavar='NAME[/CONFIG][:SPLIT]', help='the set to pack')
    pack.add_argument('--name', default='', help='what the packed set is called (default: NAME_SPLIT_packed)')
    pack.add_argument('--workers', type=int, default=0, help='processes (default: as many as there are CPUs)')
    _data(pack)


def _check(check: argparse.ArgumentParser) -> None:
    check.add_argument('data', nargs='?', default=root(),
                       help='a set or the root of several (default: $RECOG_DATA, else ./data)')
    check.add_argument('--seal', action='store_true', help='record sizes and hashes of sets that have none yet')


def _config(config: argparse.ArgumentParser) -> None:
    config.add_argument('--layers', action='store_true', help='print a table of the layers instead')
    config.add_argument('--batch', type=int, default=1, help='images of that table (default 1)')
    config.add_argument('recipe', nargs='?', metavar='FILE:VARIANT', help='the same as --config')
    _data(config)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data', default=root(), metavar='FOLDER',
                        help='root of prepared sets (default: $RECOG_DATA, else ./data)')


def root() -> str:
    """Where prepared sets are looked for."""
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


COMMANDS = {
    'train': Command('Train a recipe, or go on where its workdir stands, then evaluate it.', _train, True, True,
                     'A workdir that exists is resumed; its own recipe is used without --config.'),
    'evaluate': Command('Measure a trained model on sets; writes results.json, results.csv, results.md and predictions.tsv. '
                        'Of several workdirs, compare what was measured.', _evaluate),
    'predict': Command('Read images: one line `file TAB text TAB confidence` each, in the order given.', _predict),
    'serve': Command('Serve trained models over HTTP, with a page to try them on.', _serve,
                     epilog="Needs pip install 'recog[serve]'. With RECOG_TOKEN in the environment, requests need that token."),
    'demo': Command('Serve the demos of all algorithms on a page; trains those that are missing.', _demo,
                    epilog="Needs pip install 'recog[serve]', and to be run in a checkout."),
    'report': Command('Write a page about a run: curves, results, mistakes, what the model looked at.', _report),
    'sweep': Command('Train the variants of an experiment with several seeds, and write one table.', _sweep, overridable=True,
                     epilog='Overrides go to every run. The same line goes on where a sweep was stopped.'),
    'import': Command("Turn published weights (PaddleOCR's, PyTorch's) into a workdir.", _import, True, True,
                      'Without --config the names of the arrays tell which recipe it is.'),
    'export': Command('Write a trained model as a folder that is enough by itself, and check that it reads alike.', _export,
                      epilog='Use it with recog predict FOLDER IMAGES, or recog.load(FOLDER) in Python.'),
    'bench': Command('Measure compile time, speed, arithmetic and memory of a recipe on this machine.', _bench, True, True,
                     'The figures are kept, and `recog config` uses them.'),
    'augment': Command('Draw images as training changes them: each augmentation of a recipe alone, then all.', _augment, True,
                       True),
    'pack': Command('Fit and encode a set once for a recipe: training reads it many times faster.', _pack, True, True,
                    'Train on it by --config.data.train=NAME (without a split).'),
    'check': Command('Check prepared sets, every byte, against the sizes and hashes recorded of their files.', _check),
    'config': Command('Print the resolved recipe, its parameters, and what it costs.', _config, True, True),
}
