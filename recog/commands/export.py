"""`recog export`: a trained model as a folder that is enough by itself."""

import argparse
from pathlib import Path

from recog.commands.options import Command, existing_workdir, refuse_negative, start
from recog.errors import ConfigError


def add(export: argparse.ArgumentParser) -> None:
    """The arguments."""
    export.add_argument('workdir', help='folder of a trained model, or the name of a reader')
    export.add_argument('folder', help='where the export is written; must not hold anything yet')
    export.add_argument('--format', default='onnx', choices=('onnx', 'stablehlo'),
                        help='onnx: for onnxruntime, OpenVINO and their like, without JAX (default); '
                        'stablehlo: for JAX on CPU, CUDA and TPU')
    export.add_argument('--beam', type=int, default=0,
                        help='width of the beam search, fixed in the files (default: as predict)')
    export.add_argument('--max-length', type=int, default=0, metavar='N',
                        help="tokens at most where nothing else is said later (default: the recipe's)")
    export.add_argument('--step', type=int,
                        help='a checkpoint (default: the best by accuracy, else the newest)')


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, or nothing."""
    refuse_negative(arguments, 'beam', 'max-length')
    workdir = str(existing_workdir(arguments.workdir))
    place = Path(arguments.folder)
    if '://' in arguments.folder:
        raise ConfigError(f'folder {arguments.folder} must be on this machine')
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f'folder {place} is there already and not empty; choose another')
    from recog.export import write
    from recog.workdir.opened import open_workdir

    start()
    opened = open_workdir(workdir, arguments.step)
    found = write.write_export(opened, place, arguments.format, workdir, beam=arguments.beam,
                               max_length=arguments.max_length)
    size = sum(file.stat().st_size for file in place.iterdir())
    print(f'{place}: {opened.config.model.name} of step {opened.step} as {arguments.format}, '
          f'{size / 1e6:.1f} MB; reads {found.images} images as the workdir does (scores differ by '
          f'{found.worst:.1g}); try: recog predict {place} IMAGES')
    return 0


COMMAND = Command('export',
                  'Write a trained model as a folder that is enough by itself, and check that it reads '
                  'alike.',
                  add, run,
                  epilog='Use it with recog predict FOLDER IMAGES, or recog.load(FOLDER) in Python.')
