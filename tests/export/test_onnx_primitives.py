"""Each primitive gives in onnxruntime what it gives in JAX."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from onnx_files import FLAGS, INTS, MAP, ROW, primitives, same

from recog.export.to_onnx import indexing
from recog.export.to_onnx.graph import Unconvertible
from recog.export.to_onnx.jaxpr import to_onnx
from recog.export.to_onnx.primitives import OPERATIONS

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)

# Functions that use each primitive, on inputs of these shapes and types.
CASES: dict[str, list[tuple[Any, ...]]] = {
    **{name: [(getattr(lax, name), ROW)] for name in (
        'abs', 'ceil', 'cos', 'erf', 'exp', 'floor', 'logistic', 'neg', 'sign', 'sin', 'square', 'tanh')},
    **{name: [(lambda x, name=name: getattr(lax, name)(abs(x) + 0.1), ROW)]
       for name in ('log', 'log1p', 'rsqrt', 'sqrt')},
    **{name: [(getattr(lax, name), ROW, ROW), (getattr(lax, name), INTS, INTS)] for name in (
        'add', 'eq', 'ge', 'gt', 'le', 'lt', 'max', 'min', 'mul', 'ne', 'sub')},
    **{name: [(getattr(lax, f'bitwise_{name}'), FLAGS, FLAGS), (getattr(lax, f'bitwise_{name}'), INTS, INTS)]
       for name in ('and', 'or', 'xor')},
    'not': [(lax.bitwise_not, FLAGS), (lax.bitwise_not, INTS)],
    'div': [(lax.div, ROW, ROW), (lambda x, y: lax.div(x, abs(y) + 1), INTS, INTS)],
    'rem': [(lambda x, y: lax.rem(x, abs(y) + 1), INTS, INTS), (lambda x: lax.rem(x, jnp.float32(0.3)), ROW)],
    'pow': [(lambda x, y: lax.pow(abs(x) + 0.1, y), ROW, ROW)],
    'integer_pow': [(lambda x: lax.integer_pow(x, 3), ROW), (lambda x: lax.integer_pow(x, 2), INTS)],
    'clamp': [(lambda x: lax.clamp(-0.5, x, 0.25), ROW)],
    'convert_element_type': [
        (lambda x: x.astype(jnp.int32), ROW), (lambda x: x.astype(jnp.float32), FLAGS),
        (lambda x: x.astype(bool), INTS), (lambda x: x.astype(jnp.float32), ('b, 5', 'uint8')),
    ],
    'select_n': [(lax.select, FLAGS, ROW, ROW), (lax.select, FLAGS, FLAGS, FLAGS)],
    'stop_gradient': [(lax.stop_gradient, ROW)],
    'copy': [(lax.copy_p.bind, ROW)],
    'transpose': [(lambda x: x.transpose(3, 0, 2, 1), MAP)],
    'reshape': [
        (lambda x: x.reshape(-1, 21), MAP), (lambda x: x.reshape(5, x.shape[0], 21) + x.shape[0], MAP),
    ],
    'squeeze': [(lambda x: lax.squeeze(x, (1,)), ('b, 1, 5', 'float32'))],
    'broadcast_in_dim': [(lambda x: lax.broadcast_in_dim(x, (3, x.shape[0], 2, 5), (1, 3)), ROW)],
    'concatenate': [(lambda x, y: lax.concatenate([x, y, x], 1), ROW, ROW)],
    'stack': [(lambda x, y: jnp.stack([x, y], 1), ROW, ROW)],
    'split': [(lambda x: lax.split(x, (2, 4, 1), 2), MAP)],
    'tile': [(lambda x: lax.tile(x, (2, 3)), ROW)],
    'iota': [
        (lambda x: x + lax.broadcasted_iota(jnp.float32, x.shape, 0), ROW),
        (lambda x: x + lax.iota(jnp.float32, 5), ROW),
    ],
    'dim_as_value': [(lambda x: x * jnp.asarray(x.shape[0] * 2 + 1, jnp.float32), ROW)],
    'reduce_max': [(lambda x: x.max((1, 3)), MAP)],
    'reduce_min': [(lambda x: x.min((1, 2)), MAP)],
    'reduce_sum': [(lambda x: x.sum((0, 2)), MAP), (lambda x: x.sum(), INTS)],
    'reduce_prod': [(lambda x: x.prod(1), ROW)],
    'reduce_and': [(lambda x: x.all(1), FLAGS)],
    'reduce_or': [(lambda x: x.any(), FLAGS)],
    'argmax': [(lambda x: x.argmax(2), MAP), (lambda x: x.argmax(1), INTS)],
    'argmin': [(lambda x: x.argmin(1), INTS)],
    'top_k': [(lambda x: lax.top_k(x, 3), ROW)],
    'cumsum': [(lambda x: lax.cumsum(x, 1), INTS), (lambda x: lax.cumsum(x, 0, reverse=True), ROW)],
    'dot_general': [(lambda x: x @ np.arange(6, dtype=np.float32).reshape(3, 2), MAP),
                    (lambda x, y: jnp.einsum('bhwc,bhwd->bhcd', x, y), MAP, MAP),
                    (lambda x, y: jnp.einsum('bhwc,bhwc->b', x, y), MAP, MAP),
                    (lambda x, y: jnp.einsum('bt,btd->bd', x, y), ROW, ('b, 5, 3', 'float32'))],
    'conv_general_dilated': [(lambda x: lax.conv_general_dilated(
        x, KERNEL, (2, 1), ((1, 2), (0, 3)), rhs_dilation=(1, 2),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC')), MAP)],
    'reduce_window_max': [
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), 'SAME'), MAP)],
    'reduce_window_sum': [
        (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 1, 1), 'SAME'), MAP)],
}


@pytest.mark.parametrize('name', CASES)
def test_a_primitive_gives_what_jax_gives(name):
    for function, *given in CASES[name]:
        same(function, *given)


def test_every_primitive_is_compared():
    assert set(CASES) | set(indexing.OPERATIONS) == set(OPERATIONS)
    for name, cases in CASES.items():
        for function, *given in cases:
            assert name in primitives(function, *given), (name, given)


def test_a_primitive_without_counterpart_is_refused_by_name_and_place():
    place = r'\(test_onnx_primitives.py line \d+ in'
    with pytest.raises(Unconvertible, match=rf'^primitive sort has no counterpart in ONNX {place}'):
        to_onnx(lambda _, x: {'y': lax.sort(x)}, (), {'x': ROW})


def test_a_sum_of_logarithms_is_exact_at_every_distance():
    apart = np.array([0, 1e-7, 0.3, 1, 5, 12, 17, 40, 120, np.inf], np.float32)
    names = same(lambda x: jnp.logaddexp(x[:, :1], x[:, :1] - apart), ROW)
    assert 'Atanh' in names and 'Log' not in names


def test_a_reduction_keeps_its_axes_itself():
    assert same(lambda x: x.max((1, 2), keepdims=True) * 2, MAP) == ['ReduceMax', 'Mul', 'Identity']
