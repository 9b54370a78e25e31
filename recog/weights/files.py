"""Checkpoints of other frameworks as arrays by their names, read without the framework and without running what is in them.

PyTorch's: the zip that it writes now, and the row of pickles that it wrote before 1.6. Paddle's: a pickle, or a tar with one.
"""

import io
import math
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from recog.errors import ConfigError
from recog.weights import pickles

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the row of pickles
WHOLE = ('model', 'state_dict', 'model_state_dict')  # under which a checkpoint keeps the model's own
TABLE, PIECES = 'StructuredToParameterName@@', 'UnpackBigParamInfor@@'  # Paddle's names, and its arrays of over a gigabyte
SPREAD = 'module.'  # before all names where PyTorch trained on several devices
COUNTER = 'num_batches_tracked'  # of PyTorch's batch norms, which no model needs
# PyTorch's storages and the numbers in them; bfloat16 is numpy's by way of ml_dtypes.
STORAGES = {'FloatStorage': 'float32', 'DoubleStorage': 'float64', 'HalfStorage': 'float16', 'BFloat16Storage': 'bfloat16',
            'LongStorage': 'int64', 'IntStorage': 'int32', 'ShortStorage': 'int16', 'CharStorage': 'int8', 'ByteStorage': 'uint8',
            'BoolStorage': 'bool'}


class Damaged(ValueError):
    """What is in a file contradicts itself."""


class Kind(NamedTuple):
    """The class of a storage, as far as we need it: the name of its numbers."""

    dtype: str


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays that PyTorch or Paddle saved, by their names; what is no part of a model, such as an optimizer, is left out."""
    try:
        with Path(path).open('rb') as file:
            found = _model(_tarred(file) if tarfile.is_tarfile(file) else _plain(file))
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error.strerror or error}') from None
    # A damaged pickle raises almost anything.
    except Exception as error:
        raise ConfigError(f'{path} cannot be read as weights of PyTorch or Paddle: {error}') from None
    if not isinstance(found, Mapping):
        raise ConfigError(f'{path} holds a {type(found).__name__} instead of arrays by their names')
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ConfigError(f'{path}: {name!r} is a {type(value).__name__} instead of an array')
    return {name: np.array(value, order='C') for name, value in found.items() if not name.endswith(COUNTER)}


def _model(found: Any) -> Any:
    """The arrays of a model, where they stand beside other things, or beside Paddle's table of names."""
    for name in WHOLE:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        return found
    if PIECES in found:
        raise Damaged('it holds an array in pieces, as no model here has one')
    kept = {name: value for name, value in found.items() if name != TABLE}
    if kept and all(isinstance(name, str) and name.startswith(SPREAD) for name in kept):
        return {name.removeprefix(SPREAD): value for name, value in kept.items()}
    return kept


def _tarred(file: IO[bytes]) -> Any:
    """The object of the one *.pdparams of a tar, or of best_accuracy.pdparams among several."""
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        members = [member for member in archive if member.isfile() and member.name.endswith('.pdparams')
                   and not Path(member.name).name.startswith('.')]
        named = [member for member in members if Path(member.name).name == 'best_accuracy.pdparams']
        chosen = named if len(members) > 1 else members
        if len(chosen) != 1:
            raise Damaged(f'it holds {len(members)} files *.pdparams and {len(named)} called best_accuracy.pdparams')
        content = archive.extractfile(chosen[0])
        assert content is not None  # it is a file
        return _plain(io.BytesIO(content.read()))


def _plain(file: IO[bytes]) -> Any:
    file.seek(0)
    if zipfile.is_zipfile(file):
        return _zipped(file)
    file.seek(0)
    first = pickles.load(file, pickles.ARRAYS, encoding='latin1')
    return _in_a_row(file) if first == MAGIC else first


def _zipped(file: IO[bytes]) -> Any:
    """The object of NAME/data.pkl, whose storages are the files NAME/data/KEY."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickled = [name for name in entries if name == 'data.pkl' or name.endswith('/data.pkl')]
        if len(pickled) != 1:
            raise Damaged('it holds no data.pkl')
        folder = pickled[0].removesuffix('data.pkl')

        def content(name: str, size: int | None = None) -> bytes:
            entry = entries[folder + name]
            # Nothing that PyTorch writes is compressed; what is could be far larger than the file.
            if entry.compress_type != zipfile.ZIP_STORED or size is not None and entry.file_size != size:
                raise Damaged(f'{entry.filename} has another size than it should have')
            return archive.read(entry)

        if folder + 'byteorder' in entries and content('byteorder') != b'little':
            raise Damaged('its numbers are not little-endian')

        def storage(kind: Kind, key: str, count: int) -> np.ndarray:
            dtype = _dtype(kind)
            return np.frombuffer(content(f'data/{key}', count * dtype.itemsize), dtype)

        return pickles.load(io.BytesIO(content('data.pkl')), NAMES, encoding='utf-8', persistent=_storages(storage))


def _in_a_row(file: IO[bytes]) -> Any:
    """The object of the fourth pickle, whose storages stand behind the fifth, the list of their keys; the first is read."""
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    storages: dict[str, np.ndarray] = {}

    def storage(kind: Kind, key: str, count: int) -> np.ndarray:
        if not 0 <= count * _dtype(kind).itemsize <= size:
            raise Damaged(f'storage {key} of {count} numbers is larger than the file')
        return storages.setdefault(key, np.zeros(count, _dtype(kind)))

    if pickles.load(file, {}) != PROTOCOL:
        raise Damaged('it does not begin as such files do')
    if not pickles.load(file, {}, encoding='utf-8')['little_endian']:
        raise Damaged('its numbers are not little-endian')
    found = pickles.load(file, NAMES, encoding='utf-8', persistent=_storages(storage))
    for key in pickles.load(file, {}, encoding='utf-8'):
        array = storages[key]
        count, content = int.from_bytes(file.read(8), 'little'), file.read(array.nbytes)
        if count != array.size or len(content) != array.nbytes:
            raise Damaged(f'storage {key} is cut off')
        array[...] = np.frombuffer(content, array.dtype)  # the views of it that were made see this
    return found


def _storages(storage: Callable[[Kind, str, int], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """What a pickle calls by a reference to a storage: the array of its numbers, the same one each time."""
    known: dict[str, np.ndarray] = {}

    def load(reference: Any) -> np.ndarray:
        word, kind, key, _, count, *view = reference
        if word != 'storage' or not isinstance(kind, Kind) or not isinstance(key, str) or any(part is not None for part in view):
            raise Damaged(f'a reference to {word!r} is not one to a storage')
        if key not in known:
            known[key] = storage(kind, key, int(count))
        return known[key]

    return load


def _tensor(storage: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """A tensor as a view of its storage, strides in numbers."""
    offset, shape, strides = int(offset), tuple(map(int, shape)), tuple(map(int, strides))
    count, last = math.prod(shape), offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides, offset)) < 0 or count > storage.size or count and last >= storage.size:
        raise Damaged(f'a tensor of {shape} reaches beyond its storage of {storage.size}')
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


def _dtype(kind: Kind) -> np.dtype:
    if kind.dtype == 'bfloat16':
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(kind.dtype).newbyteorder('<')


NAMES: pickles.Names = {
    ('collections', 'OrderedDict'): OrderedDict, ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): _parameter, **{('torch', name): Kind(kind) for name, kind in STORAGES.items()}}
