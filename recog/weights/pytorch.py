"""PyTorch's two file formats: the zip that it writes now, and the row of pickles from before version 1.6.

Both hold a pickle of tensors, each a view of a storage, and beside it the numbers of the storages.
"""

import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np

from recog.weights import pickles
from recog.weights.pickles import Damaged

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two objects of a row of pickles
# The types of storages and of the numbers in them.
STORAGES = {'FloatStorage': 'float32', 'DoubleStorage': 'float64', 'HalfStorage': 'float16',
            'BFloat16Storage': 'bfloat16', 'LongStorage': 'int64', 'IntStorage': 'int32',
            'ShortStorage': 'int16', 'CharStorage': 'int8', 'ByteStorage': 'uint8', 'BoolStorage': 'bool'}


class StorageType(NamedTuple):
    """Stands for PyTorch's class of a storage: the type of its numbers."""

    dtype: str


def read_zip(file: IO[bytes]) -> Any:
    """The object of NAME/data.pkl in a zip; its storages are the files NAME/data/KEY."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickled = [name for name in entries if name == 'data.pkl' or name.endswith('/data.pkl')]
        if len(pickled) != 1:
            raise Damaged('it holds no data.pkl')
        folder = pickled[0].removesuffix('data.pkl')

        def content(name: str, size: int | None = None) -> bytes:
            entry = entries[folder + name]
            # PyTorch compresses nothing, and a compressed entry could be far larger than the file.
            if entry.compress_type != zipfile.ZIP_STORED or size is not None and entry.file_size != size:
                raise Damaged(f'{entry.filename} has another size than it should have')
            return archive.read(entry)

        def storage(kind: StorageType, key: str, count: int) -> np.ndarray:
            dtype = _dtype(kind)
            return np.frombuffer(content(f'data/{key}', count * dtype.itemsize), dtype)

        if folder + 'byteorder' in entries and content('byteorder') != b'little':
            raise Damaged('its numbers are not little-endian')
        return pickles.load(io.BytesIO(content('data.pkl')), NAMES, encoding='utf-8',
                            persistent=_resolver(storage))


def read_row(file: IO[bytes]) -> Any:
    """The object of a row of pickles, from behind the first, which was `MAGIC`.

    Next are `PROTOCOL`, facts about the system, the object, the keys of its storages, and their numbers.
    """
    start = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    storages: dict[str, np.ndarray] = {}

    def storage(kind: StorageType, key: str, count: int) -> np.ndarray:
        if not 0 <= count * _dtype(kind).itemsize <= size:
            raise Damaged(f'storage {key} of {count} numbers is larger than the file')
        return storages.setdefault(key, np.zeros(count, _dtype(kind)))

    if pickles.load(file, {}) != PROTOCOL:
        raise Damaged('it does not begin as such files do')
    if not pickles.load(file, {}, encoding='utf-8')['little_endian']:
        raise Damaged('its numbers are not little-endian')
    found = pickles.load(file, NAMES, encoding='utf-8', persistent=_resolver(storage))
    for key in pickles.load(file, {}, encoding='utf-8'):
        array = storages[key]
        count, content = int.from_bytes(file.read(8), 'little'), file.read(array.nbytes)
        if count != array.size or len(content) != array.nbytes:
            raise Damaged(f'storage {key} is cut off')
        array[...] = np.frombuffer(content, array.dtype)  # the tensors are views of it
    return found


def _resolver(storage: Callable[[StorageType, str, int], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """A function that turns a pickle's reference to a storage into its array, the same array each time."""
    known: dict[str, np.ndarray] = {}

    def resolve(reference: Any) -> np.ndarray:
        word, kind, key, _, count, *view = reference
        if (word != 'storage' or not isinstance(kind, StorageType) or not isinstance(key, str)
                or any(part is not None for part in view)):
            raise Damaged(f'a reference to {word!r} is not one to a storage')
        if key not in known:
            known[key] = storage(kind, key, int(count))
        return known[key]

    return resolve


def _rebuild_tensor(storage: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """A tensor as a view of its storage; `offset` and `strides` count numbers, not bytes."""
    offset, shape, strides = int(offset), tuple(map(int, shape)), tuple(map(int, strides))
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides, offset)) < 0 or count > storage.size or count and last >= storage.size:
        raise Damaged(f'a tensor of {shape} reaches beyond its storage of {storage.size}')
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _rebuild_parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


def _dtype(kind: StorageType) -> np.dtype:
    if kind.dtype == 'bfloat16':
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(kind.dtype).newbyteorder('<')


NAMES: pickles.Names = {
    ('collections', 'OrderedDict'): OrderedDict, ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
    **{('torch', name): StorageType(dtype) for name, dtype in STORAGES.items()}}
