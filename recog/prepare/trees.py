"""Files by name in a folder, a zip or a tar, so that downloads need not be unpacked."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from recog.data import walk
from recog.errors import ConfigError
from recog.prepare import regular, tars
from recog.prepare.regular import MOST, Lost

TAR = ('.tar', '.tar.gz', '.tgz')
# Bytes, also of what it unfolds to; a tar has no index, so its names are known only after reading all of it.
LARGEST_TAR = 1 << 30
TOO_LARGE, BROKEN = 'file is too large', 'file cannot be read'


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
            start = len(os.path.join(self.path, ''))
            return frozenset(file[start:] for file in walk.files(self.path))
        try:
            with regular.opened(self.path) as file:
                if self.kind == 'zip':
                    with zipfile.ZipFile(file) as archive:
                        return frozenset(name for name in archive.namelist() if not name.endswith('/'))
                return frozenset(member.name.removeprefix('./')
                                 for member in tars.members(tars.opened(file), LARGEST_TAR)
                                 if member.isfile())
        except Exception as error:
            raise self._damaged(error) from None

    def read(self, name: str) -> bytes:
        """One file, which must be sound."""
        content = next(self.stream([name]))[1]
        if isinstance(content, Lost):
            raise ConfigError(f'{self.path / name}: {content.reason} ({content.detail})')
        return content

    def stream(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | Lost]]:
        """These files, each once, in the order that is fastest to read; missing ones are left out."""
        wanted = [name for name in dict.fromkeys(names) if name in self.names]
        if self.kind == 'folder':
            yield from ((name, regular.attempted(self.path / name)) for name in wanted)
        elif wanted:
            contents = self._stream_zip(wanted) if self.kind == 'zip' else self._stream_tar(set(wanted))
            while True:
                try:
                    found = next(contents, None)
                except Exception as error:
                    raise self._damaged(error) from None
                if found is None:
                    return
                yield found

    def _stream_zip(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Lost]]:
        with regular.opened(self.path) as file, zipfile.ZipFile(file) as archive:
            yield from ((name, member(archive, self.inside + name)) for name in wanted)

    def _stream_tar(self, wanted: set[str]) -> Iterator[tuple[str, bytes | Lost]]:
        with regular.opened(self.path) as file, tars.opened(file) as archive:
            for each in tars.members(archive, LARGEST_TAR):
                name = each.name.removeprefix('./')
                if not name.startswith(self.inside) or name[len(self.inside):] not in wanted:
                    continue
                content = archive.extractfile(each) if each.isfile() else None
                if content is not None:
                    wanted.remove(name[len(self.inside):])
                    yield name[len(self.inside):], _too_large(each.size) or content.read()
                if not wanted:
                    return

    def _damaged(self, error: Exception) -> ConfigError:
        """What is said of an archive that is damaged, which makes libraries raise nearly anything."""
        if isinstance(error, ConfigError):
            return error
        said = regular.lost(BROKEN, error).detail
        return ConfigError(f'{self.path} cannot be read ({said}); download it again')


def member(archive: zipfile.ZipFile, name: str) -> bytes | Lost:
    """A file in a zip, or why it cannot be had; its size is known before."""
    try:
        return _too_large(archive.getinfo(name).file_size) or archive.read(name)
    except Exception as error:  # as of a damaged archive
        return regular.lost(BROKEN, error)


def _too_large(size: int) -> Lost | None:
    return Lost(TOO_LARGE, f'{size:,} bytes, at most {MOST:,}') if size > MOST else None


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
    paths = [path for path in paths if path.is_file()]
    large = [path for path in paths if path.suffix.lower() != '.zip' and path.stat().st_size > LARGEST_TAR]
    return [tree, *(Tree(path) for path in paths if path not in large)], large
