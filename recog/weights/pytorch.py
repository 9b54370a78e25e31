"""PyTorch's two file formats: the zip that it writes now, and the row of pickles from before version 1.6.

Both hold a pickle of tensors, each a view of a storage, and beside it the numbers of the storages.
"""

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recog.weights import pickles
from recog.weights.arrays import row
from recog.weights.pickles import Budget, Damaged, Function

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two objects of a row of pickles
# The types of storages and of the numbers in them.
STORAGES = {'FloatStorage': 'float32', 'DoubleStorage': 'float64', 'HalfStorage': 'float16',
            'BFloat16Storage': 'bfloat16', 'LongStorage': 'int64', 'IntStorage': 'int32',
            'ShortStorage': 'int16', 'CharStorage': 'int8', 'ByteStorage': 'uint8', 'BoolStorage': 'bool'}


class StorageType(NamedTuple):
    """Stands for PyTorch's class of a storage: the type of its numbers."""

    dtype: str


class Storage:
    """So many numbers of a type, whose bytes a row of pickles tells last."""

    def __init__(self, kind: StorageType, count: int):
        self.dtype, self.count, self.content = _dtype(kind), count, b''

    @property
    def nbytes(self) -> int:
        """The bytes of all numbers."""
        return self.count * self.dtype.itemsize


class Tensor(NamedTuple):
    """A view of a storage; `offset` and `strides` count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The bytes that it takes by itself."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def view(self) -> np.ndarray:
        """The tensor, read only, on the bytes of its storage."""
        dtype = self.storage.dtype
        if not self.nbytes:
            return np.zeros(self.shape, dtype)
        steps = [stride * dtype.itemsize if size > 1 else 0
                 for size, stride in zip(self.shape, self.strides, strict=True)]
        numbers = np.frombuffer(self.storage.content, dtype)[self.offset:]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False)


def read_zip(file: io.BytesIO, budget: Budget) -> Any:
    """The object of NAME/data.pkl in a zip; its storages are the files NAME/data/KEY."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickled = [name for name in entries if name == 'data.pkl' or name.endswith('/data.pkl')]
        if len(pickled) != 1:
            raise Damaged('it holds no data.pkl')
        folder = pickled[0].removesuffix('data.pkl')

        def content(name: str, size: int | None = None) -> bytes:
            entry = entries.get(folder + name)
            if entry is None:
                raise Damaged(f'it holds no {name}')
            # PyTorch compresses nothing, and a compressed entry could be far larger than the file.
            if entry.compress_type != zipfile.ZIP_STORED or size is not None and entry.file_size != size:
                raise Damaged(f'{entry.filename} has another size than it should have')
            budget.spend(entry.file_size)  # entries may lie over one another
            return archive.read(entry)

        def storage(kind: StorageType, key: str, count: int) -> Storage:
            made = Storage(kind, count)
            made.content = content(f'data/{key}', made.nbytes)
            return made

        if folder + 'byteorder' in entries and content('byteorder') != b'little':
            raise Damaged('its numbers are not little-endian')
        return pickles.load(io.BytesIO(content('data.pkl')), NAMES, budget, _resolver(storage))


def read_row(file: io.BytesIO, budget: Budget) -> Any:
    """The object of a row of pickles, from behind the first, which was `MAGIC`.

    Next are `PROTOCOL`, facts about the system, the object, the keys of its storages, and their numbers.
    """
    size = len(file.getbuffer())
    storages: dict[str, Storage] = {}

    def storage(kind: StorageType, key: str, count: int) -> Storage:
        made = storages[key] = Storage(kind, count)
        if made.nbytes > size:
            raise Damaged(f'storage {key} of {count} numbers is larger than the file')
        return made

    def following() -> Any:
        return pickles.load(file, {}, budget)

    if following() != PROTOCOL:
        raise Damaged('it does not begin as such files do')
    if not following()['little_endian']:
        raise Damaged('its numbers are not little-endian')
    found = pickles.load(file, NAMES, budget, _resolver(storage))
    keys = following()
    if type(keys) is not list or [key for key in keys if type(key) is not str] or {*keys} != {*storages}:
        raise Damaged('the keys of its storages are not those that its tensors have')
    for key in keys:
        array = storages[key]
        count, array.content = int.from_bytes(file.read(8), 'little'), file.read(array.nbytes)
        if count != array.count or len(array.content) != array.nbytes:
            raise Damaged(f'storage {key} is cut off')
    return found


def _resolver(storage: Callable[[StorageType, str, int], Storage]) -> Callable[[Any], Storage]:
    """A function that turns a pickle's reference to a storage into it, the same one each time."""
    known: dict[str, Storage] = {}

    def resolve(reference: Any) -> Storage:
        if type(reference) is not tuple or len(reference) not in (5, 6) or reference[0] != 'storage':
            raise Damaged('a reference is not one to a storage')
        _, kind, key, _, count, *view = reference
        if (not isinstance(kind, StorageType) or type(key) is not str or type(count) is not int or count < 0
                or count >= 1 << 48 or view not in ([], [None])):
            raise Damaged('a reference to a storage is not as PyTorch writes it')
        if key not in known:
            known[key] = storage(kind, key, count)
        return known[key]

    return resolve


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise Damaged('a tensor is not a view of a storage')
    shape, strides, (offset,) = row(shape), row(strides), row((offset,))
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides, offset)) < 0 or count > storage.count or count and last >= storage.count:
        raise Damaged(f'a tensor of {shape} reaches beyond its storage of {storage.count}')
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _dtype(kind: StorageType) -> np.dtype:
    if kind.dtype == 'bfloat16':
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(kind.dtype).newbyteorder('<')


def _ordered(pairs: Any = ()) -> dict:
    """An ordered dictionary, to which Python 2 gives its entries at once."""
    if type(pairs) not in (list, tuple) or [pair for pair in pairs
                                            if type(pair) not in (list, tuple) or len(pair) != 2]:
        raise Damaged('an ordered dictionary does not consist of pairs')
    return pickles.entries({}, pairs)


# Classes whose names stand for what they keep in checkpoints of PyTorch Lightning, which is left out.
LIGHTNING = ('early_stopping.EarlyStopping', 'lr_monitor.LearningRateMonitor',
             'model_checkpoint.ModelCheckpoint')
NAMES: pickles.Names = {
    ('collections', 'OrderedDict'): Function(_ordered),
    ('torch._utils', '_rebuild_tensor_v2'): Function(_rebuild_tensor),
    ('torch._utils', '_rebuild_parameter'): Function(_rebuild_parameter),
    **{(f'pytorch_lightning.callbacks.{module}', name): name
       for module, _, name in (each.partition('.') for each in LIGHTNING)},
    **{('torch', name): StorageType(dtype) for name, dtype in STORAGES.items()}}
