"""`recog augment`: a contact sheet of how training changes images."""

import argparse
from pathlib import Path

from recog.commands.options import Command, recipe
from recog.errors import ConfigError


def add(augment: argparse.ArgumentParser) -> None:
    """The arguments."""
    augment.add_argument('images', nargs='+', help="files, folders or quoted patterns ('scans/**/*.png')")
    augment.add_argument('--out', required=True, metavar='FILE.png', help='the picture')
    augment.add_argument('--all', action='store_true',
                         help='every augmentation at a plain strength, whatever the recipe says')


def run(arguments: argparse.Namespace) -> int:
    """Draw the sheet."""
    if not arguments.out.lower().endswith('.png'):
        raise ConfigError(f'--out {arguments.out} must be a file that ends in .png')
    config = recipe(arguments)
    from recog.report import augmentations

    print(augmentations.show(config, arguments.images, Path(arguments.out), every=arguments.all))
    return 0


COMMAND = Command('augment',
                  'Draw images as training changes them: each augmentation of a recipe alone, then all.',
                  add, run, recipe=True, overridable=True)
