"""PyTorch's checkpoints are read without PyTorch, and nothing in them is run."""

import collections
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
from pytorch_files import STORAGES, SYSTEM, Parameter, Tensor, in_a_row, zipped

from recog.errors import ConfigError
from recog.weights.files import read_weights
from recog.weights.pytorch import MAGIC


def a_state():
    """A state dict with arrays of many types, some of them views of one storage, and the expected arrays."""
    shared, random = np.arange(24, dtype=np.float32), np.random.default_rng(0)
    state = collections.OrderedDict({
        'whole': Tensor(shared, (2, 3, 4), (12, 4, 1)), 'turned': Tensor(shared, (4, 3), (1, 4), 12),
        'learns': Parameter(Tensor(shared, (5,))), 'count': Tensor(np.array([7], np.int64), ()),
        'none': Tensor(np.zeros(0, np.float32), (0, 3), (3, 1)),
    })
    wanted = {'whole': shared.reshape(2, 3, 4), 'turned': shared[12:].reshape(3, 4).T, 'learns': shared[:5],
              'count': np.array(7), 'none': np.zeros((0, 3), np.float32)}
    for dtype in STORAGES:
        array = (10 * random.normal(size=6)).astype(dtype)
        state[f'kind_{dtype}'], wanted[f'kind_{dtype}'] = Tensor(array), array
    state._metadata = collections.OrderedDict({'': {'version': 1}})  # as Module.state_dict leaves it
    return state, wanted


@pytest.mark.parametrize('write', [zipped, in_a_row])
def test_arrays_of_every_kind_and_views_are_read_from_both_formats(write, tmp_path):
    state, wanted = a_state()
    got = read_weights(write(tmp_path / 'weights.pth', state))
    assert list(got) == list(wanted)
    for name, want in wanted.items():
        assert got[name].dtype == want.dtype, name
        assert got[name].flags.c_contiguous and got[name].flags.writeable, name
        np.testing.assert_array_equal(got[name], want, err_msg=name)


def test_a_checkpoint_of_lightning_gives_its_model_without_its_callbacks_and_optimizer(monkeypatch, tmp_path):
    kind = type('ModelCheckpoint', (), {'__module__': 'pytorch_lightning.callbacks.model_checkpoint'})
    for count in range(1, 4):
        name = '.'.join(kind.__module__.split('.')[:count])
        module = types.ModuleType(name)
        module.ModelCheckpoint = kind
        monkeypatch.setitem(sys.modules, name, module)
    state, wanted = a_state()
    best = Tensor(np.float32([0.6]), ())
    saved = {'epoch': 3, 'callbacks': {kind: {'best_model_score': best}}, 'state_dict': state,
             'optimizer_states': [{'state': {0: {'momentum_buffer': best}}, 'param_groups': [{'lr': 0.08}]}],
             'hyper_parameters': {'d_model': 256}}
    got = read_weights(zipped(tmp_path / 'epoch=3.ckpt', saved))
    assert list(got) == list(wanted)
    np.testing.assert_array_equal(got['whole'], wanted['whole'])


@pytest.mark.parametrize('write', [zipped, in_a_row])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(write, tmp_path):
    trace = tmp_path / 'trace'

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    said = r'weights.pth cannot be read as weights of PyTorch or Paddle: it wants posix.mkdir'
    with pytest.raises(ConfigError, match=said):
        read_weights(write(tmp_path / 'weights.pth', {'a': Evil()}))
    assert not trace.exists()


@pytest.mark.parametrize('name', [
    'torch._utils._rebuild_tensor', 'torch.load', 'collections.Counter', 'builtins.eval'])
def test_only_exact_names_are_known(name, tmp_path):
    module, _, thing = name.rpartition('.')
    content = f'c{module}\n{thing}\n.'.encode()
    with zipfile.ZipFile(tmp_path / 'weights.pth', 'w') as archive:
        archive.writestr('a/data.pkl', content)
    with pytest.raises(ConfigError, match=f'it wants {name}'):
        read_weights(tmp_path / 'weights.pth')


@pytest.mark.parametrize(('shape', 'strides', 'offset'), [
    ((5,), (1,), 0), ((2, 2), (3, 1), 0), ((2,), (1,), 3), ((2,), (-1,), 1), ((2,), (1,), -1),
    ((1000,), (0,), 0)])
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(shape, strides, offset, tmp_path):
    state = {'a': Tensor(np.zeros(4, np.float32), shape, strides, offset)}
    with pytest.raises(ConfigError, match='reaches beyond its storage of 4'):
        read_weights(zipped(tmp_path / 'weights.pth', state))


def test_a_storage_whose_size_is_not_the_one_given_is_refused(tmp_path):
    state = {'a': Tensor(np.zeros(1000, np.float32))}
    with pytest.raises(ConfigError, match='resnet34/data/0 has another size'):
        read_weights(zipped(tmp_path / 'short.pth', state, {'data/0': bytes(3999)}))
    packed = zipped(tmp_path / 'packed.pth', state, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ConfigError, match='has another size'):  # it may be far larger than the file
        read_weights(packed)
    whole = in_a_row(tmp_path / 'row.pth', state).read_bytes()
    (tmp_path / 'row.pth').write_bytes(whole[:-1])
    with pytest.raises(ConfigError, match='storage 0 is cut off'):
        read_weights(tmp_path / 'row.pth')
    # The count of 1000 becomes 2^31 - 1.
    (tmp_path / 'row.pth').write_bytes(whole.replace(b'M\xe8\x03', b'J\xff\xff\xff\x7f'))
    with pytest.raises(ConfigError, match='is larger than the file'):
        read_weights(tmp_path / 'row.pth')


def test_big_endian_numbers_are_refused(tmp_path):
    state = {'a': Tensor(np.zeros(3, np.float32))}
    for file in (zipped(tmp_path / 'a.pth', state, {'byteorder': b'big'}),
                 in_a_row(tmp_path / 'b.pth', state, SYSTEM | {'little_endian': False})):
        with pytest.raises(ConfigError, match='its numbers are not little-endian'):
            read_weights(file)


@pytest.mark.parametrize('content', [b'', b'text', pickle.dumps(MAGIC), b'PK\x03\x04'])
def test_other_files_are_refused_in_one_line(content, tmp_path):
    (tmp_path / 'weights.pth').write_bytes(content)
    said = r'weights.pth cannot be read as weights of PyTorch or Paddle: .'
    with pytest.raises(ConfigError, match=said) as refused:
        read_weights(tmp_path / 'weights.pth')
    assert '\n' not in str(refused.value)


def test_anything_but_a_dictionary_of_arrays_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='holds a list instead of arrays by their names'):
        read_weights(zipped(tmp_path / 'weights.pth', [1]))
    with pytest.raises(ConfigError, match="'epoch' is a int instead of an array"):
        read_weights(zipped(tmp_path / 'weights.pth', {'epoch': 3}))
    for value, said in ((1, 'holds a int instead of arrays'), ({'a': 1}, "'a' is a int instead of an array")):
        (tmp_path / 'weights.pdparams').write_bytes(pickle.dumps(value))
        with pytest.raises(ConfigError, match=said):
            read_weights(tmp_path / 'weights.pdparams')
    with pytest.raises(ConfigError, match=r'missing.pth cannot be read: No such file'):
        read_weights(tmp_path / 'missing.pth')
