"""`recog calibrate`: the temperature with which a model's confidences are probabilities."""

import argparse
from typing import TYPE_CHECKING

from recog.commands.options import (
    Command,
    add_data,
    add_devices,
    add_workdir,
    existing_workdir,
    refuse_negative,
    start,
)
from recog.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

    from recog.data.rows import Source


def add(calibrate: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(calibrate)
    calibrate.add_argument('--set', action='append', default=[], metavar='NAME[/CONFIG][:SPLIT]',
                           help='images of validation, whose answers the temperature is fitted to; may be '
                           "given several times (default: the recipe's eval.sets)")
    calibrate.add_argument('--batch', type=int, default=0,
                           help="images at a time (default: the recipe's eval.batch)")
    calibrate.add_argument('--beam', type=int, default=0,
                           help="width of the beam search; 1 is greedy (default: the recipe's)")
    add_data(calibrate)
    add_devices(calibrate)


def run(arguments: argparse.Namespace) -> int:
    """Fit the temperature, keep it beside the weights, and print what it changes."""
    refuse_negative(arguments, 'batch', 'beam')
    folder = existing_workdir(arguments.workdir)

    from recog.workdir.files import CALIBRATION, is_published

    if is_published(folder):
        raise ConfigError(f'{arguments.workdir} is a published reader, which stays as it is; calibrate its '
                          'workdir, then publish that')
    from recog.devices.mesh import data_mesh
    from recog.evaluation import calibrate
    from recog.evaluation.terminal import shown
    from recog.text.lexicon import width
    from recog.workdir import calibration
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(start(arguments.devices))
    opened = open_workdir(folder, arguments.step, mesh)
    config = opened.config.copy_and_resolve_references()
    config.eval.batch = arguments.batch or config.eval.batch
    config.eval.beam = arguments.beam or width(opened.lexicon, config.eval.beam)
    sources = validation_sets(tuple(arguments.set) or config.eval.sets, config, arguments.data)
    record = calibrate.calibrated(opened, sources, config, mesh)
    calibration.write(folder, opened.step, record)
    print(shown(calibrate.described(record)))
    print(f'\nkept for step {opened.step} in {folder / CALIBRATION}; recog evaluate measures it on other '
          'sets, recog report draws it')
    return 0


def validation_sets(names: 'Sequence[str]', config: 'ConfigDict', root: str) -> 'list[Source]':
    """The sets to which something is fitted, none of which may be a test."""
    from recog.config.test_sets import is_test
    from recog.data.sets import open_set

    for name in names:
        if is_test(name) and not config.eval.allow_test:
            raise ConfigError(f'--set {name} is a test set, to which nothing may be fitted; name one of '
                              'validation')
    return [open_set(name, config, root) for name in names]


COMMAND = Command('calibrate', 'Fit the temperature with which confidences are probabilities, on validation. '
                  'It is kept beside the weights, and used by all that prints a confidence.', add, run)
