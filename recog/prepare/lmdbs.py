"""LMDBs in the usual layout of text recognition: `num-samples`, `image-%09d` (an encoded
image) and `label-%09d`, counted from 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recog.data import walk
from recog.errors import ConfigError
from recog.prepare.btree import Damaged, Database

FILE = 'data.mdb'
RANGE = 32  # samples that are read together
SMALLEST = 16  # bytes of a key with its value


class Range(NamedTuple):
    """Some consecutive samples of one LMDB, for a worker to read."""

    folder: str
    name: str   # what the LMDB is called within the release
    first: int  # from 1
    length: int


class Entry(NamedTuple):
    """One sample; `problem` says in a few words why there is no text or no image, `detail` more of it."""

    id: str
    text: str
    image: bytes
    problem: str = ''
    detail: str = ''


def found(root: Path) -> list[Path]:
    """The folders of LMDBs at and below the root, in order."""
    return sorted(Path(folder) for folder, files in walk.folders(root) if FILE in files)


def called(folder: Path, root: Path) -> str:
    """What an LMDB is called within a release: its path below the root, or its own name."""
    return folder.name if folder == root else folder.relative_to(root).as_posix()


def size(folder: Path) -> int:
    """How many bytes the LMDB takes on disk; its file may be sparse."""
    status = (folder / FILE).stat()
    return min(status.st_size, status.st_blocks * 512)


def count(folder: Path) -> int:
    """How many samples the LMDB says it holds; refuses a file that is no LMDB, or is truncated."""
    with _opened(folder) as database:
        try:
            value = database.get(b'num-samples')
        except Damaged as error:
            raise ConfigError(f'{folder / FILE} is damaged ({error}); copy or unpack it again') from None
        if value is None or not value.strip().isdigit():
            raise ConfigError(f'{folder / FILE}: key num-samples is '
                              f'{"missing" if value is None else repr(value[:60])}; '
                              'it must hold the number of samples')
        # Some samples may be missing, but each key takes some bytes.
        most = min(len(database), size(folder) // SMALLEST)
        digits = value.strip().lstrip(b'0') or b'0'
        if len(digits) > len(str(most)) or int(digits) > most:
            raise ConfigError(f'{folder / FILE}: key num-samples is {value[:60]!r}, but there are no more '
                              f'than {most:,} keys')
        return int(digits)


def ranges(folder: Path, name: str) -> list[Range]:
    """All samples of the LMDB."""
    total, path = count(folder), str(folder)
    return [Range(path, name, first, min(RANGE, total + 1 - first)) for first in range(1, total + 1, RANGE)]


def read(part: Range) -> Iterator[Entry]:
    """The samples of a range, by their numbers."""
    with _opened(Path(part.folder)) as database:
        for number in range(part.first, part.first + part.length):
            yield _entry(database, part.name, number)


def _entry(database: Database, name: str, number: int) -> Entry:
    name = f'{name}/image-{number:09d}'
    try:
        image, label = (database.get(f'{kind}-{number:09d}'.encode()) for kind in ('image', 'label'))
    except Damaged as error:
        return Entry(name, '', b'', 'LMDB is damaged', str(error))
    if image is None:
        return Entry(name, '', b'', 'image key is missing')
    if label is None:
        return Entry(name, '', image, 'label key is missing')
    try:
        return Entry(name, label.decode(), image)
    except UnicodeDecodeError:
        return Entry(name, '', image, 'label is not UTF-8')


def _opened(folder: Path) -> Database:
    """The LMDB's file; refused if it is none, or shorter than it says."""
    file = folder / FILE
    try:
        database = Database(file)
    except Damaged as error:
        raise ConfigError(f'{file} is no LMDB that can be read ({error})') from None
    except OSError as error:
        raise ConfigError(f'{file} is no LMDB that can be read ({error.strerror})') from None
    if database.size < database.needed:
        database.close()
        raise ConfigError(f'{file} is cut short: {database.size:,} bytes of {database.needed:,}; copy or '
                          'unpack it again')
    return database
