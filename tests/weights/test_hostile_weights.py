"""Weights files that would run code, reach beyond their bytes, or ask for far more than they hold, are
refused, in a process of their own, as they once ended it."""

import os
import pickle
import tarfile

import numpy as np
import pytest
from hostile_weights import GADGETS
from pytorch_files import Tensor, zipped
from victim import REFUSED, Victim

from recog.errors import ConfigError
from recog.weights.arrays import TYPES
from recog.weights.files import read_weights


@pytest.fixture(scope='module')
def victim():
    with Victim('hostile_weights:read', memory=256 << 20) as started:
        yield started


@pytest.mark.parametrize('name', GADGETS)
def test_it_is_refused_in_one_line(name, victim, tmp_path):
    file = tmp_path / 'weights.pth'
    file.write_bytes(GADGETS[name])
    outcome = victim.attempt(name, str(file))
    assert outcome.kind == REFUSED, outcome
    assert str(file) in outcome.said and len(outcome.said) < 1000


def test_what_is_no_regular_file_is_refused_at_once(victim, tmp_path):
    os.mkfifo(tmp_path / 'pipe.pth')
    (tmp_path / 'circle.pth').symlink_to(tmp_path / 'circle.pth')
    for file in (tmp_path / 'pipe.pth', tmp_path, tmp_path / 'circle.pth', '/dev/zero', '/dev/urandom'):
        outcome = victim.attempt('no file', str(file))
        assert outcome.kind == REFUSED and f'{file} cannot be read: ' in outcome.said, outcome


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_type_and_order_are_read_from_every_protocol(protocol, tmp_path):
    numbers = np.arange(12).reshape(3, 4)
    wanted = {f'{order}{name}': np.array(numbers, dtype=np.dtype(name).newbyteorder(order))
              for name in TYPES for order in '<>'}
    wanted |= {'turned': numbers.T.astype('f4'), 'none': np.zeros((0, 3)), 'one': np.array(2.5)}
    if protocol < 3:  # in which Python 3 calls a function for no bytes
        del wanted['none']
    (tmp_path / 'a.pdparams').write_bytes(pickle.dumps(wanted, protocol))
    got = read_weights(tmp_path / 'a.pdparams')
    assert list(got) == list(wanted)
    for name, want in wanted.items():
        assert got[name].dtype == want.dtype and got[name].flags.c_contiguous and got[name].flags.writeable
        np.testing.assert_array_equal(got[name], want, err_msg=name)


def test_arrays_of_python_2_are_read(tmp_path):
    old = (b"(dp0\nS'a\\xe9'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
           b"S'b'\np5\ntp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\n"
           b"S'|'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'\\xff\\n'\np15\ntp16\nbs.")
    (tmp_path / 'a.pdparams').write_bytes(old)
    assert {name: array.tolist() for name, array in read_weights(tmp_path / 'a.pdparams').items()} == {
        'a\xe9': [255, 10]}


def test_tied_tensors_are_read(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    got = read_weights(zipped(tmp_path / 'a.pth', {'a': Tensor(numbers), 'b': Tensor(numbers, (2, 3))}))
    assert got['a'].tolist() == got['b'].ravel().tolist() == numbers.tolist()
    got['a'][0] = 7
    assert got['b'][0, 0] == 0


def test_a_compressed_tar_is_to_be_unpacked_first(tmp_path):
    (tmp_path / 'a.pdparams').write_bytes(pickle.dumps({'a': np.zeros(3)}))
    for form in ('gz', 'bz2', 'xz'):
        with tarfile.open(tmp_path / f'a.tar.{form}', f'w:{form}') as archive:
            archive.add(tmp_path / 'a.pdparams', 'a.pdparams')
        with pytest.raises(ConfigError, match='it is compressed; unpack it first'):
            read_weights(tmp_path / f'a.tar.{form}')
