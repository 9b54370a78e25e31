"""Checkpoint files of PyTorch and Paddle as arrays by name, read without either framework.

Nothing in the files is run. Paddle writes a pickle, published bare or in a tar; for PyTorch see `pytorch`.
"""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recog.errors import ConfigError, one_line
from recog.weights import pickles, pytorch
from recog.weights.arrays import NAMES, Array, opened
from recog.weights.pickles import Budget, Damaged
from recog.weights.pytorch import Tensor

MODEL_KEYS = ('model', 'state_dict', 'model_state_dict')  # where the model stands in a larger checkpoint
# What Paddle writes beside its arrays: a table of names, and how arrays above a gigabyte are cut into pieces.
PADDLE_NAMES, PADDLE_PIECES = 'StructuredToParameterName@@', 'UnpackBigParamInfor@@'
PARALLEL_PREFIX = 'module.'  # before every name if PyTorch trained on several devices
BATCH_COUNTER = 'num_batches_tracked'  # of PyTorch's batch norms; no model needs it
BEST = 'best_accuracy.pdparams'  # which of several files in Paddle's tar is read
COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ\0')  # gzip, bzip2, xz: could be far larger than the file
LONGEST = 300  # letters of a name, and of a refusal


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a model that PyTorch or Paddle saved, by name; what else the file holds is left out."""
    try:
        content = _content(Path(path))
        budget = Budget(len(content))
        found = _model_of(_object(_from_tar(content) or content, budget))
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error.strerror or error}') from None
    # A damaged archive raises almost any exception.
    except Exception as error:
        raise _refusal(path, error) from None
    if not isinstance(found, Mapping):
        raise ConfigError(f'{path} holds a {type(found).__name__} instead of arrays by their names')
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Array | Tensor):
            raise ConfigError(f'{path}: {_short(name)} is a {type(value).__name__} instead of an array')
        if not name.isprintable() or len(name) > LONGEST:
            raise ConfigError(f'{path}: {_short(name)} is no name of an array')
    try:
        return {name: np.array(opened(value, budget), order='C') for name, value in found.items()
                if not name.endswith(BATCH_COUNTER)}
    except ValueError as error:
        raise _refusal(path, error) from None


def _content(path: Path) -> bytes:
    """All bytes of a regular file."""
    def at_once(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a pipe would be waited for

    with open(path, 'rb', opener=at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError('it is no regular file')
        return file.read()


def _refusal(path: str | Path, error: Exception) -> ConfigError:
    """What is wrong with a file, in one line whatever the file says."""
    return ConfigError(f'{path} cannot be read as weights of PyTorch or Paddle: {one_line(error, LONGEST)}')


def _short(name: Any) -> str:
    """A name, or the kind of what stands in its place."""
    return repr(name[:LONGEST]) if isinstance(name, str) else f'a {type(name).__name__}'


def _model_of(found: Any) -> Any:
    """The arrays of the model among all that a file holds."""
    for key in MODEL_KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        return found
    if PADDLE_PIECES in found:
        raise Damaged('it holds an array in pieces, as no model here has one')
    kept = {name: value for name, value in found.items() if name != PADDLE_NAMES}
    if kept and all(isinstance(name, str) and name.startswith(PARALLEL_PREFIX) for name in kept):
        return {name.removeprefix(PARALLEL_PREFIX): value for name, value in kept.items()}
    return kept


def _from_tar(content: bytes) -> bytes | None:
    """The only *.pdparams in a tar, or best_accuracy.pdparams among several; None of what is no tar."""
    if content.startswith(COMPRESSED):
        raise Damaged('it is compressed; unpack it first')
    try:
        archive = tarfile.open(fileobj=io.BytesIO(content), mode='r:')
    except tarfile.ReadError:
        return None
    found = {}
    for member in archive:
        if member.size < 0 or member.issparse() or member.offset_data + member.size > len(content):
            raise Damaged(f'{member.name} in it is cut off, or is not stored as it is')
        if member.isfile() and member.name.endswith('.pdparams') \
                and not Path(member.name).name.startswith('.'):
            found[member.name] = slice(member.offset_data, member.offset_data + member.size)
    best = [name for name in found if Path(name).name == BEST]
    chosen = best if len(found) > 1 else [*found]
    if len(chosen) != 1:
        raise Damaged(f'it holds {len(found)} files *.pdparams and {len(best)} called {BEST}')
    return content[found[chosen[0]]]


def _object(content: bytes, budget: Budget) -> Any:
    """The object of what is no tar: PyTorch's zip, its older row of pickles, or a pickle of arrays."""
    file = io.BytesIO(content)
    if zipfile.is_zipfile(file):
        return pytorch.read_zip(file, budget)
    file.seek(0)
    first = pickles.load(file, NAMES, budget)
    return pytorch.read_row(file, budget) if first == pytorch.MAGIC else first
