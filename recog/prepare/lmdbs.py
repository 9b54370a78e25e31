"""LMDBs in the usual layout of text recognition: `num-samples`, `image-%09d` (an encoded
image) and `label-%09d`, counted from 1."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recog.errors import ConfigError

FILE = 'data.mdb'
RANGE = 32  # samples that are read together

# LMDB refuses to open a file twice in one process.
_environments: dict[str, Any] = {}
_lock = threading.Lock()


class Range(NamedTuple):
    """Some consecutive samples of one LMDB, for a worker to read."""

    folder: str
    name: str   # what the LMDB is called within the release
    first: int  # from 1
    length: int


class Entry(NamedTuple):
    """One sample; `problem` says why there is no text or no image."""

    id: str
    text: str
    image: bytes
    problem: str = ''


def found(root: Path) -> list[Path]:
    """The folders of LMDBs at and below the root, in order."""
    return sorted(Path(folder) for folder, _, files in os.walk(root, followlinks=True) if FILE in files)


def called(folder: Path, root: Path) -> str:
    """What an LMDB is called within a release: its path below the root, or its own name."""
    return folder.name if folder == root else folder.relative_to(root).as_posix()


def size(folder: Path) -> int:
    """How many bytes the LMDB takes on disk; its file may be sparse."""
    status = (folder / FILE).stat()
    return min(status.st_size, status.st_blocks * 512)


def count(folder: Path) -> int:
    """How many samples the LMDB says it holds; refuses a file that is no LMDB, or is truncated."""
    with _environment(folder).begin() as transaction:
        value = transaction.get(b'num-samples')
    if value is None or not value.strip().isdigit():
        raise ConfigError(f'{folder / FILE}: key num-samples is '
                          f'{"missing" if value is None else repr(value)}; '
                          'it must hold the number of samples')
    return int(value)


def ranges(folder: Path, name: str) -> list[Range]:
    """All samples of the LMDB."""
    total, path = count(folder), str(folder)
    return [Range(path, name, first, min(RANGE, total + 1 - first)) for first in range(1, total + 1, RANGE)]


def read(part: Range) -> Iterator[Entry]:
    """The samples of a range, by their numbers."""
    with _environment(Path(part.folder)).begin() as transaction:
        for number in range(part.first, part.first + part.length):
            yield _entry(transaction, part.name, number)


def _entry(transaction: Any, name: str, number: int) -> Entry:
    import lmdb

    name = f'{name}/image-{number:09d}'
    try:
        image, label = (transaction.get(f'{kind}-{number:09d}'.encode()) for kind in ('image', 'label'))
    except lmdb.Error as error:
        return Entry(name, '', b'', f'LMDB cannot be read: {error}')
    if image is None:
        return Entry(name, '', b'', 'image key is missing')
    if label is None:
        return Entry(name, '', image, 'label key is missing')
    try:
        return Entry(name, label.decode(), image)
    except UnicodeDecodeError:
        return Entry(name, '', image, 'label is not UTF-8')


def _environment(folder: Path) -> Any:
    key = str(folder.resolve())
    with _lock:
        if key not in _environments:
            _environments[key] = _open(folder)
        return _environments[key]


def _open(folder: Path) -> Any:
    """The environment, read only and without a lock file, which could not be written on read-only media."""
    try:
        import lmdb
    except ModuleNotFoundError:
        raise ConfigError("an LMDB is read with the package lmdb: pip install 'recog[datasets]'") from None

    file = folder / FILE
    try:
        environment = lmdb.open(str(folder), readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise ConfigError(f'{file} is no LMDB that can be read ({error})') from None
    needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    if file.stat().st_size < needed:
        environment.close()
        # Reading past the end of a mapped file would kill the process.
        raise ConfigError(f'{file} is cut short: {file.stat().st_size:,} bytes of {needed:,}; copy or unpack '
                          'it again')
    return environment
