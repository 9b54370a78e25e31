"""Checkpoint files of PyTorch and Paddle as arrays by name, read without either framework.

Nothing in the files is run. Paddle writes a pickle, published bare or in a tar; for PyTorch see `pytorch`.
"""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from recog.errors import ConfigError
from recog.weights import pickles, pytorch
from recog.weights.pickles import Damaged

MODEL_KEYS = ('model', 'state_dict', 'model_state_dict')  # where the model stands in a larger checkpoint
# What Paddle writes beside its arrays: a table of names, and how arrays above a gigabyte are cut into pieces.
PADDLE_NAMES, PADDLE_PIECES = 'StructuredToParameterName@@', 'UnpackBigParamInfor@@'
PARALLEL_PREFIX = 'module.'  # before every name if PyTorch trained on several devices
BATCH_COUNTER = 'num_batches_tracked'  # of PyTorch's batch norms; no model needs it
BEST = 'best_accuracy.pdparams'  # which of several files in Paddle's tar is read


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a model that PyTorch or Paddle saved, by name; what else the file holds is left out."""
    try:
        with Path(path).open('rb') as file:
            found = _model_of(_from_tar(file) if tarfile.is_tarfile(file) else _from_file(file))
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error.strerror or error}') from None
    # A damaged pickle raises almost any exception.
    except Exception as error:
        raise ConfigError(f'{path} cannot be read as weights of PyTorch or Paddle: {error}') from None
    if not isinstance(found, Mapping):
        raise ConfigError(f'{path} holds a {type(found).__name__} instead of arrays by their names')
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ConfigError(f'{path}: {name!r} is a {type(value).__name__} instead of an array')
    return {name: np.array(value, order='C') for name, value in found.items()
            if not name.endswith(BATCH_COUNTER)}


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


def _from_tar(file: IO[bytes]) -> Any:
    """The object of the only *.pdparams in a tar, or of best_accuracy.pdparams among several."""
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        members = [member for member in archive if member.isfile() and member.name.endswith('.pdparams')
                   and not Path(member.name).name.startswith('.')]
        best = [member for member in members if Path(member.name).name == BEST]
        chosen = best if len(members) > 1 else members
        if len(chosen) != 1:
            raise Damaged(f'it holds {len(members)} files *.pdparams and {len(best)} called {BEST}')
        content = archive.extractfile(chosen[0])
        assert content is not None  # it is a file
        return _from_file(io.BytesIO(content.read()))


def _from_file(file: IO[bytes]) -> Any:
    """The object of a file that is no tar: PyTorch's zip, its older row of pickles, or a pickle of arrays."""
    file.seek(0)
    if zipfile.is_zipfile(file):
        return pytorch.read_zip(file)
    file.seek(0)
    first = pickles.load(file, pickles.ARRAYS, encoding='latin1')
    return pytorch.read_row(file) if first == pytorch.MAGIC else first
