"""Each primitive that reads or writes parts of arrays gives in onnxruntime what it gives in JAX; indices are
bounded only where they may be outside."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from onnx_files import FLAGS, INTS, MAP, ROW, SCALAR, inside, primitives, same

from recog.export.to_onnx.indexing import OPERATIONS

PAIR = np.array([[4, 0], [1, 2], [0, 1]], np.int32)

# Functions that use each primitive, on inputs of these shapes and types.
CASES: dict[str, list[tuple[Any, ...]]] = {
    'slice': [(lambda x: lax.slice(x, (1, 2), (4, 5), (2, 1)), ('5, 7', 'float32'))],
    'rev': [(lambda x: x[:, ::-1, :, ::-1], MAP)],
    'pad': [
        (lambda x: jnp.pad(x, ((0, 0), (2, 1)), constant_values=3), ROW),
        (lambda x: jnp.pad(x, ((0, 0), (0, 2))), FLAGS),
    ],
    'dynamic_slice': [(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 1), ROW, SCALAR)],
    'dynamic_update_slice': [
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :1], i, 1), ROW, ROW, SCALAR),
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :3], i, 1), ROW, ROW, SCALAR),
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :1], i, 1), FLAGS, FLAGS, SCALAR),
    ],
    'gather': [
        (lambda x: x[:, 1:4:2, ::3], MAP), (lambda x: x[:, 2], MAP), (lambda x: x[:, :, [3, 0, 1]], MAP),
        (lambda x: x[:, PAIR[:, 0], PAIR[:, 1]], MAP), (lambda x: x[:, 1:, 2:5], MAP),
        (lambda x, i: x[:, i], MAP, ('2, 3', 'int32')), (lambda x, i: x[:, i], MAP, SCALAR),
        (lambda x, i: x.at[:, i].get(mode='clip'), MAP, ('2, 3', 'int32')),
        (lambda x, i: x.at[:, i, :, i].get(mode='fill', fill_value=7), MAP, ('4', 'int32')),
        (lambda x, i: jnp.take_along_axis(x, i, 1), ROW, INTS),
        (lambda x, i: jnp.take_along_axis(x, i, 1), FLAGS, INTS),
        (lambda x, i: jnp.take_along_axis(x, i[:, :, None, None], 1, mode='clip'), MAP, INTS),
    ],
    'scatter': [
        (lambda x: x.at[..., 2].set(-jnp.inf), MAP), (lambda x, y: x.at[:, 1].set(y[:, 0]), MAP, MAP),
    ],
}
BOUNDING = {'Max', 'Min', 'Where', 'Less'}  # operators that bound an index, or count it from the end


@pytest.mark.parametrize('name', CASES)
def test_a_primitive_of_parts_gives_what_jax_gives(name):
    for function, *given in CASES[name]:
        same(function, *given)


def test_every_primitive_of_parts_is_compared():
    assert set(CASES) == set(OPERATIONS)
    for name, cases in CASES.items():
        for function, *given in cases:
            assert name in primitives(function, *given), (name, given)


def test_indices_that_cannot_be_outside_are_not_bounded():
    table = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    names = same(lambda x: jnp.asarray(table)[x], ('b, 5', 'uint8'))
    assert 'Gather' in names and not BOUNDING & set(names)
    names = same(lambda x: jnp.take_along_axis(x, x.argmax(1)[:, None], 1), ROW)
    assert not BOUNDING & set(names)

    def counted(x):
        return lax.while_loop(
            lambda carry: (carry[0] < 5) & (carry[1].sum() < 9),
            lambda carry: (carry[0] + 1, carry[1].at[:, carry[0]].set(1.0)), (jnp.int32(0), x * 0))[1]

    assert not {'Max', 'Min'} & set(inside(counted, ROW))


def test_indices_that_may_be_outside_are_bounded():
    def clipped(x, i):
        return x.at[:, i].get(mode='clip')

    for function in (clipped, lambda x, i: clipped(x, i + 1), lambda x, i: clipped(x, i * 2)):
        assert {'Max', 'Min'} <= set(same(function, MAP, ('2, 3', 'uint8')))

    def counted_further(x):
        """Another condition ends this loop: its counter goes beyond 5."""
        return lax.while_loop(
            lambda carry: (carry[0] < 3) | (carry[0] * 2 < 16),
            lambda carry: (carry[0] + 1, lax.dynamic_update_slice_in_dim(carry[1], x[:, :1], carry[0], 1)),
            (jnp.int32(0), x * 0))[1]

    assert 'Min' in inside(counted_further, ROW)
