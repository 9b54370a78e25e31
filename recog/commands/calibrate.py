"""`recog calibrate`: the temperature with which a model's confidences are probabilities."""

import argparse

from recog.commands.fitting import add_validation, own_workdir, validation_sets
from recog.commands.options import Command, add_data, add_devices, add_workdir, refuse_negative, start


def add(calibrate: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(calibrate)
    add_validation(calibrate, 'whose answers the temperature is fitted to')
    calibrate.add_argument('--beam', type=int, default=0,
                           help="width of the beam search; 1 is greedy (default: the recipe's)")
    add_data(calibrate)
    add_devices(calibrate)


def run(arguments: argparse.Namespace) -> int:
    """Fit the temperature, keep it beside the weights, and print what it changes."""
    refuse_negative(arguments, 'batch', 'beam')
    folder = own_workdir(arguments, 'calibrate its workdir')

    from recog.devices.mesh import data_mesh
    from recog.evaluation import calibrate
    from recog.evaluation.terminal import shown
    from recog.workdir import calibration
    from recog.workdir.files import CALIBRATION
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(start(arguments.devices))
    opened = open_workdir(folder, arguments.step, mesh)
    config = opened.config.copy_and_resolve_references()
    config.eval.batch = arguments.batch or config.eval.batch
    config.eval.beam = arguments.beam or opened.beam(config.eval.beam)
    sources = validation_sets(tuple(arguments.set) or config.eval.sets, config, arguments.data)
    record = calibrate.calibrated(opened, sources, config, mesh)
    calibration.write(folder, opened.step, record)
    print(shown(calibrate.described(record)))
    print(f'\nkept for step {opened.step} in {folder / CALIBRATION}; recog evaluate measures it on other '
          'sets, recog report draws it')
    return 0


COMMAND = Command('calibrate', 'Fit the temperature with which confidences are probabilities, on validation. '
                  'It is kept beside the weights, and used by all that prints a confidence.', add, run)
