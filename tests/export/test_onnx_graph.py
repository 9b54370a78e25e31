"""Whole graphs: constants, symbolic sizes, nodes that are shared, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from onnx_files import ROW, SCALAR, operators, same, session

from recog.errors import ConfigError
from recog.export.to_onnx.graph import Unconvertible
from recog.export.to_onnx.jaxpr import to_onnx


@pytest.mark.parametrize(('function', 'words'), [
    (lambda x: lax.select_n((x > 0).astype(jnp.int32), x, x, x), 'select_n among 3'),
    (lambda x: x.at[0, :2].set(x.sum()), 'scatter'),
    (lambda x: lax.dynamic_update_slice(jnp.zeros((7, 7)), jnp.zeros((2, 2)) + x.sum(), (1, 1)),
     'dynamic_update_slice along 2'),
    (lambda x: lax.switch(x.sum().astype(jnp.int32), [lambda x: x, lambda x: -x, lambda x: x + 1], x),
     'a choice among 3'),
    (lambda x: lax.pad(x, jnp.float32(0), ((0, 0, 0), (1, 1, 1))), 'pad between'),
    (lambda x: jnp.zeros((x.shape[0] ** 2,)), 'dimension b'),
])
def test_a_form_without_counterpart_is_refused(function, words):
    with pytest.raises(Unconvertible, match=words):
        to_onnx(lambda _, x: {'y': function(x)}, (), {'x': ROW})


def test_an_output_that_is_no_array_is_refused():
    with pytest.raises(Unconvertible, match='output maps is no array'):
        to_onnx(lambda _, x: {'y': x, 'maps': {'z': x}}, (), {'x': ROW})


def test_bfloat16_is_refused():
    with pytest.raises(ConfigError, match='bfloat16'):
        to_onnx(lambda _, x: {'y': x.astype(jnp.bfloat16)}, (), {'x': ROW})


def test_what_depends_on_constants_alone_is_not_in_the_file():
    made = to_onnx(lambda w, x: {'y': x + jnp.exp(w).T.sum(0)}, np.ones((5, 2), np.float32), {'x': ROW})
    assert operators(made.graph) == ['Add', 'Identity']


def test_a_constant_of_one_value_takes_no_room():
    made = to_onnx(lambda _, x: {'y': x + jnp.zeros((1000, 1000))}, (), {'x': SCALAR})
    assert made.ByteSize() < 5000


def test_a_second_symbol_may_be_a_multiple():
    made = to_onnx(lambda _, x: {'y': x.reshape(x.shape[0], -1, 4).sum(2)}, (), {'x': ('b, 4*w', 'float32')})
    ready = session(made)
    for shape in ((2, 4), (3, 12)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        got = ready.run(None, {'x': x})[0]
        np.testing.assert_allclose(got, x.reshape(shape[0], -1, 4).sum(2), rtol=1e-6, atol=1e-6)


def test_the_same_thing_is_computed_once():
    assert same(lambda x: (jnp.exp(x) + 1) * (jnp.exp(x) + 1), ROW).count('Exp') == 1
