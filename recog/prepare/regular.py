"""Files of a source, read so that it ends and fits into memory: regular ones alone, of bounded size."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from recog.errors import ConfigError

MOST = 1 << 26     # bytes of an image, of ink, or of a list in an archive
LONGEST = 1 << 20  # bytes of a line
SAID = 300         # letters of what a library says
# What may be otherwise a moment later: the example is not to blame.
PASSING = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT}


class Lost(NamedTuple):
    """Stands for the content of a file that cannot be read: a category in a few words, and what was said."""

    reason: str
    detail: str = ''


def opened(path: str | Path) -> IO[bytes]:
    """A regular file; one that never ends, or gives nothing until someone writes to it, is an OSError."""
    try:
        file = open(path, 'rb', opener=_without_waiting)
    except ValueError:
        raise OSError(errno.EINVAL, 'no file can have this name', ascii(str(path))) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, 'is no regular file', str(path))
    return file


def content(path: str | Path, most: int = MOST) -> bytes:
    """All bytes of a regular file that has no more than `most`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f'has {size:,} bytes, at most {most:,} are read', str(path))
        return file.read()


def attempted(path: str | Path) -> bytes | Lost:
    """The content of a file of an example, or why there is none."""
    try:
        return content(path)
    except FileNotFoundError:
        return Lost('file is missing', str(path))
    except OSError as error:
        return lost('file cannot be read', error)


def lost(reason: str, error: Exception) -> Lost:
    """What is left of a file of which reading raises this; raised again if it may pass by itself."""
    if isinstance(error, MemoryError) or isinstance(error, OSError) and error.errno in PASSING:
        raise error
    return Lost(reason, said(error))


def said(error: Exception) -> str:
    """What an error says, in a line."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ' '.join(words.split())[:SAID] or type(error).__name__


def lines(name: str, file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; one that is too long to be one is refused."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise ConfigError(f'{name}, line {number}: is longer than {LONGEST:,} bytes')
        yield line


def is_source(path: Path) -> bool:
    """Whether a path is a folder or a regular file."""
    return path.is_dir() or path.is_file()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
