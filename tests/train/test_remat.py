"""Rematerialisation: less is kept for the gradient, which stays the same."""

import math

import jax
import pytest
from narrow_models import close, make_batch, narrow, random_variables
from small import QUICKLY

from recog import models
from recog.config.fields import REMAT
from recog.train.remat import rematerialised


def summed(name, policy):
    """The loss of a narrow model as a function of parameters and statistics."""
    model, batch = narrow(name, remat=policy), make_batch(name, 8)

    def loss(params, stats):
        return model.loss({'params': params, 'stats': stats}, batch, key=jax.random.key(3))[0][0]

    return rematerialised(loss, policy)


def kept(name, policy):
    """Bytes that the gradient needs of the forward pass."""
    shapes = jax.eval_shape(narrow(name).init, jax.random.key(0))
    loss = summed(name, policy)
    needed = jax.eval_shape(lambda params, stats: jax.vjp(lambda each: loss(each, stats), params)[1],
                            shapes['params'], shapes['stats'])
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(needed)
               if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))


@pytest.mark.parametrize('name', models.names())
def test_less_than_half_is_kept_of_every_model(name):
    # Tracing is what takes time: the other policy is tried on one model.
    every = kept(name, '')
    assert all(kept(name, policy) < every / 2 for policy in REMAT[1:] if policy == 'blocks' or name == 'crnn')


def test_gradients_are_the_same():
    variables = random_variables(narrow('crnn'))
    plain, *others = (jax.device_get(jax.jit(jax.grad(summed('crnn', policy)), compiler_options=QUICKLY)(
        variables['params'], variables['stats'])) for policy in REMAT)
    for gradient in others:
        close(gradient, plain)
