"""Readers by their names: those that come with recog, and those that `recog pull` has fetched.

All commands, `recog.load` and `config.init` take such a name where they take a folder.
"""

import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from recog.devices.cache import cache
from recog.errors import ConfigError
from recog.reading.exported import is_exported
from recog.workdir.files import is_published, is_workdir

COMES_WITH = {'words': 'words in photographs', 'formulas': 'handwritten formulas'}
FETCHED = ('hf', 'https', 'http')  # kinds of addresses that `recog pull` takes
PLACE = Path(__file__).parents[1] / 'readers'


class Reader(NamedTuple):
    """A reader that is here."""

    name: str  # by which commands take it
    folder: Path


def find(name: str | Path) -> str | Path:
    """The folder that a name stands for: a workdir or folder of that name goes first, which is said.

    What is no name of a reader is returned as it is.
    """
    text = str(name)
    if text.partition('://')[0] in FETCHED and '://' in text:
        if not is_published(place := pulled(text)):
            raise ConfigError(f'{text} is not here yet: recog pull {text}')
        return place
    if text not in COMES_WITH:
        return name
    here, place = Path(text), PLACE / text
    if here.is_file() or is_workdir(here) or is_exported(here):
        print(f'recog: {text}: {here.resolve()}, not the reader of that name', file=sys.stderr)
        return here.resolve()
    if is_published(place):
        return place
    if here.exists():
        return name
    raise ConfigError(f'reader {text!r} ({COMES_WITH[text]}) does not come with this version of recog yet, '
                      'and there is no folder of that name')


def pulled(address: str) -> Path:
    """Where the reader of an address is kept once it is fetched."""
    return cache() / 'readers' / quote(address.rstrip('/'), safe='')


def come_with() -> list[Reader]:
    """The readers that came with recog."""
    return [Reader(name, PLACE / name) for name in COMES_WITH if is_published(PLACE / name)]


def fetched() -> list[Reader]:
    """The readers that were pulled."""
    folder = cache() / 'readers'
    return [Reader(unquote(place.name), place) for place in sorted(folder.glob('*')) if is_published(place)]
