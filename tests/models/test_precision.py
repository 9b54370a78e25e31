"""Precision: what products are made in, in training and where a trained model reads."""

import functools

import jax
import numpy as np
import pytest
from jax.extend import core
from narrow_models import RECIPES, VOCAB, make_batch

from recog import models
from recog.config import recipe
from recog.train import optimizer
from recog.train.step import make_state, make_step


def products(jaxpr):
    """The precisions of all matrix products and convolutions in it."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
            found.append(equation.params['precision'])
        for value in jax.tree.leaves(list(equation.params.values())):
            if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
                found += products(getattr(value, 'jaxpr', value))
    return found


def traced(name, precision):
    """The jaxprs of a training step and of decoding."""
    config = recipe.changed(RECIPES[name].copy_and_resolve_references(), {'train.precision': precision})
    model, tx = models.build(config, VOCAB), optimizer.optimizer(config, lambda step: 1.0)
    state = jax.eval_shape(functools.partial(make_state, model, tx, 0.0), jax.random.key(0))
    batch = make_batch(name, 2)
    yield jax.make_jaxpr(make_step(model, tx, lambda step: 1.0, config))(state, batch).jaxpr
    variables = {'params': state.params, 'stats': state.stats}
    yield jax.make_jaxpr(model.decode)(variables, batch['image'], batch['size'], np.int32(3)).jaxpr


# Their decoders have gradients that are written by hand.
@pytest.mark.parametrize('name', ['can', 'rare'])
def test_highest_makes_every_product_exact_in_gradients_too(name):
    exact = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    for jaxpr in traced(name, 'highest'):
        assert len(products(jaxpr)) > 8 and set(products(jaxpr)) == {exact}
    assert any(set(products(jaxpr)) - {exact} for jaxpr in traced(name, 'float32'))
