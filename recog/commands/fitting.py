"""What the commands share that fit something to a model on validation: average, calibrate, lexicon."""

import argparse
from typing import TYPE_CHECKING, Any

from recog.commands.options import existing_workdir
from recog.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

    from recog.data.rows import Source


def add_validation(parser: argparse.ArgumentParser, purpose: str) -> None:
    """--set and --batch; `purpose` says what its images are for."""
    parser.add_argument('--set', action='append', default=[], metavar='NAME[/CONFIG][:SPLIT]',
                        help=f'images of validation, {purpose}; may be given several times (default: the '
                        "recipe's eval.sets)")
    parser.add_argument('--batch', type=int, default=0,
                        help="images at a time (default: the recipe's eval.batch)")


def own_workdir(arguments: argparse.Namespace, advice: str) -> Any:
    """The workdir, to which something is added: a published reader is refused with this advice."""
    from recog.workdir.files import is_published

    folder = existing_workdir(arguments.workdir)
    if is_published(folder):
        raise ConfigError(f'{arguments.workdir} is a published reader, which stays as it is; {advice}, then '
                          'publish that')
    return folder


def validation_sets(names: 'Sequence[str]', config: 'ConfigDict', root: str) -> 'list[Source]':
    """The sets to which something is fitted, none of which may be a test."""
    from recog.config.test_sets import is_test
    from recog.data.sets import open_set

    for name in names:
        if is_test(name) and not config.eval.allow_test:
            raise ConfigError(f'--set {name} is a test set, to which nothing may be fitted; name one of '
                              'validation')
    return [open_set(name, config, root) for name in names]
