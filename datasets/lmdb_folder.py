"""Any LMDBs (`num-samples`, `image-%09d`, `label-%09d`), alone or in nested folders.

Folders named train, validation or test become the splits; --split puts everything into one.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recog import prepare
from recog.errors import ConfigError
from recog.prepare import lmdbs

SPLITS = {'train': 'train', 'training': 'train', 'validation': 'validation', 'valid': 'validation',
          'val': 'validation', 'test': 'test', 'testing': 'test', 'evaluation': 'test', 'eval': 'test'}


class LmdbFolder(prepare.Builder):
    """A set made of one's own LMDBs: --name says what it is called."""

    name = 'lmdb_folder'
    CHUNK = 8

    def __init__(self, *, name: str = '', **rest: Any):
        if not name:
            raise ConfigError('give --name NAME: what the set is called')
        super().__init__(name=name, **rest)

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--split', default='', metavar='NAME',
                            help='the split that everything goes to (default: by the names of the folders)')

    def bytes_needed(self) -> int:
        return sum(map(lmdbs.size, lmdbs.found(self.source)))

    def tasks(self) -> Iterator[tuple[str, Any]]:
        folders = lmdbs.found(self.source)
        if not folders:
            raise ConfigError(f'source {str(self.source)!r} holds no LMDB: there is no file {lmdbs.FILE} at '
                              'or below it')
        splits = [self.options['split'] or self._split(folder) for folder in folders]
        parts = [lmdbs.ranges(folder, lmdbs.called(folder, self.source)) for folder in folders]
        self.total = sum(map(len, parts))
        for split, ranges in zip(splits, parts, strict=True):
            yield from ((split, part) for part in ranges)

    def _split(self, folder: Path) -> str:
        below = [self.source.resolve().name, *folder.relative_to(self.source).parts]
        split = next((SPLITS[part.lower()] for part in reversed(below) if part.lower() in SPLITS), '')
        if not split:
            raise ConfigError(f'{folder} tells no split: no folder on the way is called {", ".join(SPLITS)}; '
                              'give --split NAME')
        return split

    def examples(self, task: lmdbs.Range) -> Iterator[Any]:
        for entry in lmdbs.read(task):
            if entry.problem:
                yield prepare.Rejected(entry.id, entry.problem, entry.detail)
            else:
                yield prepare.Example(entry.id, entry.text, entry.image)


if __name__ == '__main__':
    sys.exit(prepare.main(LmdbFolder))
