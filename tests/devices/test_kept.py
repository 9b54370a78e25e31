"""A function in two parts: what depends on the weights alone, and the rest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from narrow_models import NARROW, make_batch, narrow, random_variables, slowly
from small import QUICKLY

from recog.devices.kept import parted


@jax.custom_vjp
def doubled(x):
    return 2 * jnp.tanh(x)


doubled.defvjp(lambda x: (doubled(x), None), lambda kept, gradient: (gradient,))


def layered(weights, x, count):
    """Calls of several kinds, some of the weights alone."""
    kernel = jax.jit(lambda kernel: jnp.sin(kernel) + jnp.arange(3.0))(weights['kernel'])
    start = doubled(weights['bias']) + 1
    total = lax.fori_loop(0, count, lambda _, total: total + (x @ kernel)[0], start)
    return {'sum': doubled(total), 'weights': kernel.sum(), 'one': jnp.ones(2), 'bias': weights['bias']}


WEIGHTS = {'kernel': jnp.arange(6.0).reshape(2, 3), 'bias': jnp.array([1.0, -1.0, 0.5])}


def test_both_parts_give_what_the_function_gives():
    x, count = jnp.array([[1.0, 2.0]]), 3
    first, rest = parted(layered, WEIGHTS, x, count)
    kept = jax.jit(first)(WEIGHTS)
    for given in (x, 2 * x):
        expected = layered(WEIGHTS, given, count)
        found = jax.jit(rest)(kept, given, count)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


def test_what_depends_on_the_weights_alone_is_only_in_the_first_part():
    x = jnp.array([[1.0, 2.0]])
    first, rest = parted(layered, WEIGHTS, x, 3)
    kept = first(WEIGHTS)
    assert len(kept) == 4  # the kernel and its sum, where the loop starts, and the bias, which is a result
    before, after = (str(jax.make_jaxpr(part)(*given)) for part, given in (
        (first, (WEIGHTS,)), (rest, (kept, x, 3))))
    assert ' sin ' in before and ' sin ' not in after
    assert before.count(' tanh ') == 1 and after.count(' tanh ') == 1
    assert ' while[' in after and ' while[' not in before


@pytest.mark.parametrize('name', slowly(NARROW, set(NARROW) - {'crnn', 'rare', 'comer'}))
def test_models_read_the_same_in_two_parts(name):
    model, batch = narrow(name), make_batch(name, 1)
    variables = random_variables(model, seed=2)
    given = batch['image'], batch['size'], np.int32(6)
    expected = jax.jit(model.decode, compiler_options=QUICKLY)(variables, *given)
    first, rest = parted(model.decode, variables, *given)
    kept = jax.jit(first, compiler_options=QUICKLY)(variables)
    found = jax.jit(rest, compiler_options=QUICKLY)(kept, *given)
    for key in ('tokens', 'length'):
        np.testing.assert_array_equal(found[key], expected[key])
    np.testing.assert_allclose(found['score'], expected['score'], rtol=1e-4, atol=1e-5)
