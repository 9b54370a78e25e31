"""Files by name in a folder, a zip or a tar, so that downloads need not be unpacked."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from recog.errors import ConfigError

TAR = ('.tar', '.tar.gz', '.tgz')
# Bytes; a tar has no index, so the names in it are known only after reading all of it.
LARGEST_TAR = 1 << 30

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError)


class Tree:
    """The files below a folder, in an archive, or in the folder `inside` an archive; their names are relative
    to it, with / between folders."""

    def __init__(self, path: Path, inside: str = ''):
        self.path, self.inside = path, f'{inside}/' if inside else ''
        self.kind = 'folder' if path.is_dir() else 'zip' if path.suffix.lower() == '.zip' else 'tar'

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all files."""
        start = len(self.inside)
        return frozenset(name[start:] for name in self._all_names() if name.startswith(self.inside))

    def _all_names(self) -> frozenset[str]:
        if self.kind == 'folder':
            folders, start = os.walk(self.path, followlinks=True), len(str(self.path)) + 1
            return frozenset(f'{folder}/{file}'[start:] for folder, _, files in folders for file in files)
        try:
            if self.kind == 'zip':
                with zipfile.ZipFile(self.path) as archive:
                    return frozenset(name for name in archive.namelist() if not name.endswith('/'))
            with tarfile.open(self.path) as archive:
                return frozenset(member.name.removeprefix('./') for member in archive if member.isfile())
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def read(self, name: str) -> bytes:
        """One file."""
        return next(self.stream([name]))[1]

    def stream(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """These files, each once, in the order that is fastest to read; missing ones are left out."""
        wanted = [name for name in dict.fromkeys(names) if name in self.names]
        if self.kind == 'folder':
            yield from ((name, (self.path / name).read_bytes()) for name in wanted)
            return
        try:
            if self.kind == 'zip':
                with zipfile.ZipFile(self.path) as archive:
                    yield from ((name, archive.read(self.inside + name)) for name in wanted)
            else:
                yield from self._stream_tar({self.inside + name for name in wanted})
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def _stream_tar(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(self.path) as archive:
            for member in archive:
                name = member.name.removeprefix('./')
                content = archive.extractfile(member) if name in wanted and member.isfile() else None
                if content is not None:
                    wanted.remove(name)
                    yield name[len(self.inside):], content.read()
                if not wanted:
                    return

    def _damaged(self, error: Exception) -> ConfigError:
        return ConfigError(f'{self.path} cannot be read ({str(error) or type(error).__name__}); download it '
                           'again')


def located(path: Path) -> tuple[Path, str]:
    """The archive that a path leads into and the folder in it; for other paths the path and ''."""
    archive = next((each for each in path.parents if each.is_file()), None)
    return (archive, path.relative_to(archive).as_posix()) if archive else (path, '')


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, also in an archive."""
    archive, inside = located(path)
    is_archive = archive.name.lower().endswith(('.zip', *TAR))
    return bool(is_archive and Tree(archive, inside).names) if inside else path.exists()


def found(root: Path) -> tuple[list[Tree], list[Path]]:
    """The root and the archives below it, as trees; and the tars that are too large to be opened."""
    if not root.is_dir():
        return [Tree(*located(root))], []
    tree = Tree(root)
    paths = sorted(root / name for name in tree.names if name.lower().endswith(('.zip', *TAR)))
    large = [path for path in paths if path.suffix.lower() != '.zip' and path.stat().st_size > LARGEST_TAR]
    return [tree, *(Tree(path) for path in paths if path not in large)], large
