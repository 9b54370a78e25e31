"""`recog readers`: the trained readers that are here."""

import argparse
from typing import TYPE_CHECKING

from recog.commands.options import Command

if TYPE_CHECKING:
    from recog.reading.named import Reader


def add(readers: argparse.ArgumentParser) -> None:
    """The arguments."""
    readers.add_argument('name', nargs='?', default='', help='print the card of this one')


def run(arguments: argparse.Namespace) -> int:
    """Print what is known of each, or one's card."""
    from recog.reading import named

    if arguments.name:
        return _card(arguments.name)
    own = named.come_with()
    for reader in (*own, *named.fetched()):
        print('\n'.join(_lines(reader)) + '\n')
    missing = [name for name in named.COMES_WITH if name not in {reader.name for reader in own}]
    if missing:
        several = len(missing) > 1
        print(f'{" and ".join(missing)}: {"do" if several else "does"} not come with this version of recog '
              f'yet; others: recog pull hf://OWNER/NAME')
    return 0


def _card(name: str) -> int:
    from recog.commands.options import existing_workdir
    from recog.errors import ConfigError
    from recog.workdir.files import is_published
    from recog.workdir.published import CARD

    folder = existing_workdir(name)
    if not is_published(folder):
        raise ConfigError(f'{folder} is no published reader; it has no card')
    print((folder / CARD).read_text(encoding='utf-8'), end='')
    return 0


def _lines(reader: 'Reader') -> list[str]:
    """A reader in words."""
    from recog.errors import ConfigError
    from recog.publish import facts
    from recog.workdir.description import read_vocab
    from recog.workdir.published import read_manifest

    try:
        manifest, rows = read_manifest(reader.folder), facts.rows(reader.folder)
        languages = f'; {manifest["languages"]}' if manifest['languages'] else ''
        weak = {name: f'{text}: ' for text, name in manifest['weaknesses'].items()}
        return [
            f'{reader.name}: {manifest["model"]}, {facts.size(manifest):,} bytes, '
            f'{manifest["parameters"]:,} parameters in {manifest["kind"]}',
            f'  {facts.characters(read_vocab(reader.folder))}{languages}',
            *(f'  {weak.get(row.set, "")}{row.set}: {row.said()}; {row.way}' for row in rows),
            *([] if rows else ['  nothing was measured of it']),
            f'  {facts.speed(manifest)}',
            f'  licences: {"; ".join(facts.licences(manifest))}', f'  {reader.folder}']
    except ConfigError as error:
        return [f'{reader.name}: {error}']
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # it may come from anywhere
        return [f'{reader.name}: {reader.folder} is not as recog publish writes it ({error})']


COMMAND = Command('readers', 'Print the trained readers that are here, with accuracy, size and licence; of '
                  'one, its card.', add, run)
