"""`recog evaluate`: a trained model measured on sets, or several compared by what was measured."""

import argparse
from typing import TYPE_CHECKING, Any

from recog.commands.options import (
    Command,
    add_data,
    add_decoding,
    add_devices,
    add_workdir,
    beside,
    existing_workdir,
    model_folder,
    refuse_negative,
    start,
)
from recog.config.fields import PRECISIONS
from recog.errors import ConfigError, nearest

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.workdir.opened import Opened

CORRUPTED = 1000  # images of a set, unless --limit says otherwise
OF_ONE = ('set', 'protocol', 'nfkd', 'adapt', 'batch', 'beam', 'step', 'max-length', 'width-rule',
          'precision', 'devices')


def add(evaluate: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(evaluate, several='; several are compared by their results, two of them word by word')
    evaluate.add_argument('--set', action='append', default=[], metavar='NAME[/CONFIG][:SPLIT]',
                          help='a set to measure; may be given several times; benchmarks stands for the ten '
                          'of the literature, challenges for the seven of Union14M, long and occluded words, '
                          'maths for the tests of formulas, as far as they are there '
                          "(default: the recipe's eval.report)")
    evaluate.add_argument('--out', default='',
                          help='folder to whose results these are added (default: the workdir; of a reader '
                          'NAME, NAME-results here), or of the comparison')
    evaluate.add_argument('--protocol', default='', choices=('', '36', '62', '94', 'exact', 'latex'),
                          help='what is compared: characters, or latex: tokens of formulas '
                          "(default: the recipe's)")
    evaluate.add_argument('--nfkd', action='store_true',
                          help='turn labels and texts into ASCII (NFKD) before they are compared')
    evaluate.add_argument('--batch', type=int, default=0,
                          help="images at a time (default: the recipe's eval.batch)")
    evaluate.add_argument('--precision', default='', choices=('', *PRECISIONS),
                          help="of products (default: the recipe's eval.precision, else its train.precision)")
    evaluate.add_argument('--adapt', action='store_true',
                          help='bring photographs, dark ink where the training images have light, and other '
                          'sizes to the form of the training images first, as predict does; only for recipes '
                          'with image.ink')
    evaluate.add_argument('--corrupt', nargs='?', const='all', default='', metavar='NAME,NAME',
                          help='read the sets under corruptions instead, all or those named, each at five '
                          'severities; added to robustness.json; several readers are compared')
    evaluate.add_argument('--limit', type=int, default=0,
                          help='with --corrupt: the first images of each set (default 1000)')
    add_data(evaluate)
    add_decoding(evaluate)
    add_devices(evaluate)


def run(arguments: argparse.Namespace) -> int:
    """Measure one workdir, or compare several."""
    refuse_negative(arguments, 'batch', 'beam', 'max-length', 'limit')
    if arguments.corrupt:
        return _corrupt(arguments)
    if arguments.limit:
        raise ConfigError(f'--limit {arguments.limit}: it is for --corrupt; without, sets are measured whole')
    if len(arguments.workdir) > 1:
        return _compare(arguments)
    workdir = existing_workdir(arguments.workdir[0])
    out = arguments.out or beside(arguments.workdir[0], workdir, '-results')

    from recog.devices.mesh import data_mesh
    from recog.evaluation.sets import measure_sets
    from recog.workdir.folder import workdir_path
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(start(arguments.devices))
    opened = open_workdir(workdir, arguments.step, mesh, arguments.precision)
    folder = workdir_path(out or workdir)
    measure_sets(opened, _asked(opened, arguments), mesh, arguments.data, folder, adapt=arguments.adapt)
    if out:
        print(f'\nresults in {out}')
    return 0


def _asked(opened: 'Opened', arguments: argparse.Namespace) -> 'ConfigDict':
    """The recipe with what the options ask for."""
    from recog.config.test_sets import GROUPS
    from recog.data.sets import open_set
    from recog.metrics.words import protocol_id
    from recog.reading.read import set_length

    config = opened.config.copy_and_resolve_references()
    config.unlock()
    if arguments.adapt and not config.image.ink:
        raise ConfigError(f'--adapt is for recipes with config.image.ink; {opened.workdir} has none')
    if arguments.set:
        config.eval.report = tuple(arguments.set)
        for name in arguments.set:
            if name not in GROUPS:
                open_set(name, config, arguments.data)  # a set asked for by name must be there
    config.eval.protocol = arguments.protocol or config.eval.protocol
    config.eval.nfkd = arguments.nfkd or config.eval.nfkd
    protocol_id(config.eval.protocol, config.eval.nfkd)  # refuses what does not go together
    config.eval.batch = arguments.batch or config.eval.batch
    config.eval.beam = arguments.beam or opened.beam(config.eval.beam)
    config.image.width_rule = arguments.width_rule or config.image.width_rule
    if arguments.max_length:
        set_length(config, opened.model.about.capacity, arguments.max_length)
    return config


def _corrupt(arguments: argparse.Namespace) -> int:
    """Measure each of the readers on corrupted images; several are compared."""
    names, folders = _corruptions(arguments.corrupt), [existing_workdir(name) for name in arguments.workdir]
    if len(set(folders)) < len(folders):
        raise ConfigError(f'{arguments.workdir[-1]} is given twice')

    from pathlib import Path

    from recog.devices.mesh import data_mesh
    from recog.evaluation import measure_corrupted, robustness
    from recog.evaluation.terminal import shown
    from recog.workdir.folder import workdir_path
    from recog.workdir.opened import open_workdir

    mesh, several = data_mesh(start(arguments.devices)), len(folders) > 1
    by_set: dict[str, dict[str, Any]] = {}
    for name, folder in zip(arguments.workdir, folders, strict=True):
        opened = open_workdir(folder, arguments.step, mesh, arguments.precision)
        config = _asked(opened, arguments)
        out = '' if several else arguments.out
        found, missing = measure_corrupted.measure_sets(
            opened, config, mesh, arguments.data, names, arguments.limit or CORRUPTED,
            workdir_path(out or beside(name, folder, '-results') or folder), arguments.adapt)
        print('\n\n'.join([*([f'# {name}'] if several else []),
                           *(shown(robustness.table(each)) for each in found),
                           *([f'missing: {", ".join(missing)}'] if missing else [])]) + '\n')
        for each in found:
            by_set.setdefault(each['set'], {})[name] = each
    compared = {name: readers for name, readers in by_set.items() if len(readers) == len(folders)}
    if several:
        said = '\n\n'.join(map(robustness.side_by_side, compared.values()))
        print(shown(said or 'No set was measured of all readers.'))
        if arguments.out and compared:
            from recog.report.robustness import write_comparison

            print(f'\n{write_comparison(Path(arguments.out), compared, said)}')
    return 0


def _corruptions(asked: str) -> list[str]:
    """The names of the corruptions that --corrupt asks for."""
    from recog.images.corrupt import CORRUPTIONS

    names = list(CORRUPTIONS) if asked == 'all' else asked.split(',')
    for name in names:
        if name not in CORRUPTIONS:
            raise ConfigError(f'--corrupt {name!r} is not one of {", ".join(CORRUPTIONS)}'
                              f'{nearest(name, CORRUPTIONS)}')
    return names


def _compare(arguments: argparse.Namespace) -> int:
    for name in OF_ONE:
        if getattr(arguments, name.replace('-', '_')) not in ('', 0, None, False, []):
            raise ConfigError(f'--{name}: several workdirs are compared by what was measured of each; '
                              'measure each alone')
    from recog.evaluation import compare, terminal
    from recog.workdir.folder import workdir_path

    said = compare.report([workdir_path(model_folder(folder)) for folder in arguments.workdir])
    print(terminal.shown(said))
    if arguments.out:
        folder = workdir_path(arguments.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'comparison.md').write_text(said + '\n', encoding='utf-8')
    return 0


COMMAND = Command('evaluate', 'Measure a trained model on sets, and add it to results.json, results.csv, '
                  'results.md and the predictions, of which suspects.tsv has those whose label may be wrong; '
                  'what training reported stays. Of several workdirs, compare what was measured.', add, run)
