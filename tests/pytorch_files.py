"""Writes state dicts to files as PyTorch does, without PyTorch."""

import collections
import io
import math
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import ml_dtypes
import numpy as np

from recog.weights import pytorch
from recog.weights.pytorch import MAGIC, PROTOCOL

STORAGES = {np.dtype(name): storage for storage, name in pytorch.STORAGES.items() if name != 'bfloat16'}
STORAGES[np.dtype(ml_dtypes.bfloat16)] = 'BFloat16Storage'
SYSTEM = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}


class Tensor:
    """An array that is pickled as PyTorch pickles a tensor: a view of a storage."""

    def __init__(self, storage, shape=None, strides=None, offset=0):
        self.storage, self.offset = storage, offset
        self.shape = storage.shape if shape is None else shape
        packed = tuple(math.prod(self.shape[axis + 1:]) for axis in range(len(self.shape)))
        self.strides = packed if strides is None else strides


class Parameter:
    """A tensor that is pickled as PyTorch pickles a trainable parameter."""

    def __init__(self, tensor):
        self.tensor = tensor


def modules():
    """Modules with the names that PyTorch's pickles refer to."""
    torch, inner = types.ModuleType('torch'), types.ModuleType('torch._utils')
    for name in pytorch.STORAGES:
        setattr(torch, name, type(name, (), {'__module__': 'torch'}))
    for name in ('_rebuild_tensor_v2', '_rebuild_parameter'):
        function = types.FunctionType((lambda *arguments: None).__code__, {}, name)
        function.__module__, function.__qualname__ = 'torch._utils', name
        setattr(inner, name, function)
    return {'torch': torch, 'torch._utils': inner}


class Pickler(pickle.Pickler):
    def __init__(self, file, old):
        super().__init__(file, protocol=2)
        self.modules, self.old, self.storages = modules(), old, []

    def dump(self, value):
        with mock.patch.dict(sys.modules, self.modules):
            super().dump(value)

    def persistent_id(self, value):
        if not isinstance(value, np.ndarray):
            return None
        if not any(value is known for known in self.storages):
            self.storages.append(value)
        key = next(str(number) for number, known in enumerate(self.storages) if known is value)
        reference = ('storage', getattr(self.modules['torch'], STORAGES[value.dtype]), key, 'cpu', value.size)
        return (*reference, None) if self.old else reference

    def reducer_override(self, value):
        inner = self.modules['torch._utils']
        if isinstance(value, Parameter):
            return inner._rebuild_parameter, (value.tensor, True, collections.OrderedDict())
        if not isinstance(value, Tensor):
            return NotImplemented
        tensor = value.storage, value.offset, value.shape, value.strides, False, collections.OrderedDict()
        return inner._rebuild_tensor_v2, tensor


def zipped(path, state, changes=None, compression=zipfile.ZIP_STORED):
    """Write a state dict in the format of today."""
    content = io.BytesIO()
    pickler = Pickler(content, False)
    pickler.dump(state)
    files = {'data.pkl': content.getvalue(), 'byteorder': b'little', 'version': b'3\n'}
    files |= {f'data/{key}': storage.tobytes() for key, storage in enumerate(pickler.storages)}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in (files | (changes or {})).items():
            archive.writestr(f'resnet34/{name}', data)
    return path


def in_a_row(path, state, system=SYSTEM):
    """Write a state dict in the format from before PyTorch 1.6."""
    path.write_bytes(row(state, system))
    return path


def row(state, system=SYSTEM):
    """A state dict in the format from before PyTorch 1.6."""
    file = io.BytesIO()
    for value in (MAGIC, PROTOCOL, system):
        pickle.dump(value, file, protocol=2)
    pickler = Pickler(file, True)
    pickler.dump(state)
    pickle.dump([str(key) for key in range(len(pickler.storages))], file, protocol=2)
    for storage in pickler.storages:
        file.write(struct.pack('<q', storage.size) + storage.tobytes())
    return file.getvalue()
