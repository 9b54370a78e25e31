"""What can be wrong with checkpoints: damage, which stays; faults that pass; writes that fail."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recog.errors import one_line
from recog.workdir.folder import is_remote

# What the system says of files that are not there, or are other things than they should be.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# What TensorStore says of reads that may succeed another time.
PASSING = re.compile(r'\b(PERMISSION_DENIED|UNAUTHENTICATED|RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|CANCELLED|'
                     rf'DEADLINE_EXCEEDED)\b|\[(Errno|OS error) (?!({"|".join(map(str, GONE))})\b)\d+')
# Why nothing can be written, in the system's words.
WRITING = tuple(map(os.strerror, (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES,
                                  errno.EIO)))
PIECE = 1 << 22  # bytes


class Damaged(RuntimeError):
    """A step that is not what was saved."""

    def __init__(self, step: int, reason: str):
        super().__init__(f'checkpoint {step} is damaged: {reason}')


class Unreadable(OSError):
    """A step that cannot be read now; it may be sound."""

    def __init__(self, step: Path, reason: Any):
        super().__init__(f'checkpoint {step} cannot be read now, and may be sound: {one_line(reason)}')


class WriteFailed(OSError):
    """What a run reads or writes could not be read or written; its checkpoints stay."""


class SaveFailed(WriteFailed):
    """A checkpoint could not be saved; those before it stay."""


def why_not_written(error: BaseException | str) -> str:
    """What an error of saving says: its end, and before that the system's words if they stand elsewhere."""
    said = ' '.join(str(error).split())[-300:]
    everything = ' '.join(map(str, _chain(error))) if isinstance(error, BaseException) else said
    words = next((each for each in WRITING if each in everything), '')
    return said if words in said else f'{words}: {said}'


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def refuse_unreadable(step: Path, error: BaseException) -> None:
    """Raise `Unreadable` unless damage explains an error: a fault that may pass is none.

    Orbax hides what the system said, so every file of the step is read.
    """
    try:
        for file in _files(step):
            with file.open('rb') as content:
                while content.read(PIECE):
                    pass
    except Exception as fault:  # a bucket's library has exceptions of its own
        if not isinstance(fault, OSError) or fault.errno not in GONE:
            raise Unreadable(step, fault) from error
    for one in _chain(error):
        if PASSING.search(str(one)):
            raise Unreadable(step, one) from error


def _files(folder: Any) -> Iterator[Any]:
    for file in folder.iterdir():
        if file.is_dir():
            yield from _files(file)
        else:
            yield file


def last_step(checkpoints: Any) -> str:
    """The last of the checkpoints in a folder, in words."""
    try:
        # In a bucket a step that is being saved has its name already.
        steps = [int(file.name) for file in checkpoints.iterdir() if file.name.isdigit()
                 and (not is_remote(file) or (file / 'commit_success.txt').exists())]
    except FileNotFoundError:
        steps = []
    except Exception as error:  # what the run met may hinder this, too
        return f'unknown ({one_line(error)})'
    return f'step {max(steps)}' if steps else 'none'
