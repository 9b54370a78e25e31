"""`recog lexicon`: words that a model prefers where it is in doubt."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recog.commands.fitting import add_validation, own_workdir, validation_sets
from recog.commands.options import Command, add_data, add_devices, add_workdir, refuse_negative, start
from recog.errors import ConfigError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

BEAM = 16


def add(lexicon: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(lexicon)
    lexicon.add_argument('--words', action='append', required=True, metavar='FILE',
                         help='a list of words, one a line, in UTF-8; may be given several times')
    add_validation(lexicon, 'by which it is found how much the list counts')
    lexicon.add_argument('--beam', type=int, default=BEAM,
                         help=f'texts of an image among which is chosen, 2 or more (default {BEAM})')
    add_data(lexicon)
    add_devices(lexicon)


def run(arguments: argparse.Namespace) -> int:
    """Find how much the list is to count, keep it beside the weights, and print what it changes."""
    refuse_negative(arguments, 'batch', 'beam')
    from recog.workdir.lexicon import WIDEST

    if not 1 < arguments.beam <= WIDEST:
        raise ConfigError(f'--beam {arguments.beam} must be from 2 to {WIDEST}, the texts to choose from')
    folder = own_workdir(arguments, 'give the list to its workdir')
    words = _words(arguments.words)

    from recog.devices.mesh import data_mesh
    from recog.evaluation import preferred
    from recog.evaluation.terminal import shown
    from recog.workdir import lexicon
    from recog.workdir.files import LEXICON
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(start(arguments.devices))
    opened = open_workdir(folder, arguments.step, mesh)
    config = opened.config.copy_and_resolve_references()
    config.eval.batch = arguments.batch or config.eval.batch
    config.eval.beam = arguments.beam
    if config.eval.protocol == 'latex' or not opened.model.about.beam:
        why = 'it writes formulas' if config.eval.protocol == 'latex' else 'it has no beam search'
        raise ConfigError(f'{arguments.workdir} cannot have a lexicon: {why}')
    sources = validation_sets(tuple(arguments.set) or config.eval.sets, config, arguments.data)
    found, record = preferred.fitted(opened, sources, config, mesh, words)
    record = {'lists': [Path(file).name for file in arguments.words], **record}
    lexicon.write(folder, found, record)
    print(shown(preferred.described(found, record)))
    print(f'\nkept in {folder / LEXICON}; from now on it counts wherever this model reads, but for --beam 1; '
          f'fit confidences to it: recog calibrate {folder}')
    return 0


def _words(files: 'Sequence[str]') -> frozenset[str]:
    from recog.text.lexicon import words_of

    found: set[str] = set()
    for file in files:
        try:
            words = words_of(Path(file).read_text(encoding='utf-8').splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f'--words {file} cannot be read: {one_line(error)}') from None
        if not words:
            raise ConfigError(f'--words {file} holds no word of letters a to z or digits')
        found |= words
    return frozenset(found)


COMMAND = Command('lexicon', 'Let a model prefer the words of a list where it is in doubt: how much they '
                  'count is found on validation. The list is kept beside the weights, and used wherever the '
                  'model reads.', add, run)
