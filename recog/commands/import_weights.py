"""`recog import`: published weights into a workdir."""

import argparse
from pathlib import Path

from recog.commands.options import Command, start
from recog.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument('file', help='*.pdparams, a tar with one, *.pth or *.pt; nothing in it is run')
    parser.add_argument('--workdir', required=True, help='folder for the workdir')
    parser.add_argument('--partial', action='store_true',
                        help='let what the file lacks start afresh, and leave out what the model lacks; '
                        'both are listed')


def run(arguments: argparse.Namespace) -> int:
    """Write the workdir."""
    if not Path(arguments.file).is_file():
        raise ConfigError(f'{arguments.file} is no file')
    from recog.workdir import imported
    from recog.workdir.folder import workdir_path

    start()
    return imported.run(arguments.file, arguments.config or '', arguments.overrides,
                        workdir_path(arguments.workdir), arguments.partial)


COMMAND = Command('import', "Turn published weights (PaddleOCR's, PyTorch's) into a workdir.", add, run,
                  recipe=True, overridable=True,
                  epilog='Without --config the names of the arrays tell which recipe it is.')
