"""Digests of arrays: the same on every layout, different after any change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from recog.config import values
from recog.devices.mesh import make_mesh
from recog.workdir import array_digests


@pytest.fixture(autouse=True, params=['here', 'on devices'])
def _where(request, monkeypatch):
    """Small arrays are summed by NumPy, large ones on the devices: every test does both."""
    monkeypatch.setattr(array_digests, 'SMALL', 2 ** 14 if request.param == 'here' else -1)


def one(array):
    return array_digests.digests({'a': array})['a']


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'uint8'])
def test_every_flipped_bit_changes_the_digest(dtype):
    array = np.asarray(jnp.arange(12).reshape(3, 4).astype(dtype))
    sound, seen = one(jnp.asarray(array)), set()
    for place in range(array.nbytes * 8):
        bytes_ = bytearray(array.tobytes())
        bytes_[place // 8] ^= 1 << place % 8
        seen.add(one(jnp.asarray(np.frombuffer(bytes(bytes_), array.dtype).reshape(array.shape))))
    assert sound not in seen and len(seen) == array.nbytes * 8


def test_places_count_not_only_values():
    array = jnp.arange(6.0).reshape(2, 3)
    assert len({one(array), one(array[::-1]), one(array[:, ::-1])}) == 3


@pytest.mark.parametrize('axes', [(), ('fsdp',), (None, 'fsdp'), ('data', 'fsdp')])
def test_the_layout_does_not_matter(axes):
    mesh = make_mesh(values.ConfigDict({'data': 2, 'fsdp': 4}), jax.devices())
    array = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    sharded = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*axes)))
    assert one(sharded) == one(jnp.asarray(array)) == one(array)


def test_leaves_are_named_by_their_path():
    tree = {'params': {'head': {'kernel': jnp.ones(2)}}, 'step': jnp.int32(3)}
    assert list(array_digests.digests(tree)) == ['params/head/kernel', 'step']


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'uint8'])
def test_digests_are_those_of_the_checkpoints_there_are(dtype):
    array = jnp.asarray(np.random.default_rng(0).integers(0, 100, (5, 7, 3)), dtype)
    known = {'float32': '0f3839facc6b883f', 'bfloat16': 'cf7e1e917b6c2d0c'}.get(dtype, 'c1c92a740f68914b')
    assert one(array) == one(np.asarray(array)) == known
    assert one(array[0, 0, 0]) == one(np.asarray(array[0, 0, 0])) and len(one(array[0, 0, 0])) == 16
