"""The parts of a Transformer, compared with their formulas, and the behaviour of their dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.models.parts.transformer import (
    Dropout,
    Encoder,
    FeedForward,
    Noise,
    attention_weights,
    layer_norm,
    weighted,
)

BATCH, LENGTH, WIDTH, HEADS = 2, 5, 8, 2


def noise(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def random(module, *inputs):
    """The module's parameters, all random, as biases and scales that start at 0 and 1 hide mistakes."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    return jax.tree.map(lambda leaf: noise(*leaf.shape, seed=leaf.size), shapes)


def names(function, *inputs):
    equations = jax.make_jaxpr(function)(*inputs).eqns
    return {equation.params['name'] for equation in equations if 'name' in equation.params}


def test_layer_norm_has_mean_0_and_deviation_1_before_its_scale_and_bias():
    x, scale, bias = noise(3, 64) * 5 + 100, noise(64, seed=1), noise(64, seed=2)
    values = np.asarray(x, np.float64)
    centered = values - values.mean(-1, keepdims=True)
    want = centered / np.sqrt(values.var(-1, keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(layer_norm(x, scale, bias), want, atol=1e-4)
    half = layer_norm(x.astype(jnp.bfloat16), scale, bias)
    assert half.dtype == jnp.bfloat16
    # Only input and output are rounded, and nothing in between.
    exact = layer_norm(x.astype(jnp.bfloat16).astype(jnp.float32), scale, bias)
    np.testing.assert_array_equal(half, exact.astype(jnp.bfloat16))


def test_attention_is_the_formula_head_by_head():
    query, keys, values = (noise(BATCH, LENGTH, HEADS, 4, seed=seed) for seed in range(3))
    mask = np.tril(np.ones((LENGTH, LENGTH), bool))
    weights = attention_weights(query, keys, mask, scale=0.3)
    found = weighted(weights, values)
    for row in range(BATCH):
        for head in range(HEADS):
            scores = np.where(mask, 0.3 * query[row, :, head] @ keys[row, :, head].T, -np.inf)
            want = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            np.testing.assert_allclose(weights[row, head], want, atol=1e-6)
            np.testing.assert_allclose(found[row, :, head], want @ values[row, :, head], atol=1e-5)


def test_a_query_that_may_attend_to_nothing_gives_numbers():
    weights = attention_weights(noise(1, 2, 1, 4), noise(1, 3, 1, 4), np.zeros((2, 3), bool), scale=1.0)
    assert np.isfinite(weights).all()


def test_feed_forward_is_two_products_with_relu_between():
    x = noise(BATCH, LENGTH, WIDTH)
    variables = random(FeedForward(16), x, False)
    (widen, narrow) = (variables['params'][name] for name in ('widen', 'narrow'))
    want = np.maximum(x @ widen['kernel'] + widen['bias'], 0) @ narrow['kernel'] + narrow['bias']
    np.testing.assert_allclose(FeedForward(16).apply(variables, x, False), want, atol=1e-4)


@pytest.mark.parametrize('rule, kept, evaluated', [('upscale', 1.25, 1.0), ('downscale', 1.0, 0.8)])
def test_dropout_scales_what_it_keeps_or_all_in_evaluation(rule, kept, evaluated):
    dropout, x = Dropout(Noise(0.2, rule)), jnp.ones((100, 100))
    trained = np.asarray(dropout.apply({}, x, True, rngs={'dropout': jax.random.key(0)}))
    assert set(np.unique(trained)) == {np.float32(0), np.float32(kept)}
    assert (trained == 0).mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_allclose(dropout.apply({}, x, False), evaluated)
    # Evaluation is never random, and training without a key has the factor 1.
    np.testing.assert_allclose(dropout.apply({}, x, False, rngs={'dropout': jax.random.key(0)}), evaluated)
    np.testing.assert_array_equal(dropout.apply({}, x, True), x)


@pytest.mark.parametrize('rule', ['upscale', 'downscale'])
def test_dropout_behind_a_relu_learns_where_something_is_left(rule):
    x, rngs = noise(7, 30), {'dropout': jax.random.key(1)}

    def apart(x):
        return Dropout(Noise(0.3, rule)).apply({}, jax.nn.relu(x), True, rngs=rngs)

    def together(x):
        return Dropout(Noise(0.3, rule), relu=True).apply({}, x, True, rngs=rngs)

    np.testing.assert_array_equal(together(x), apart(x))
    slopes = [jax.grad(lambda x, form=form: (form(x) ** 3).sum())(x) for form in (together, apart)]
    np.testing.assert_allclose(*slopes, rtol=1e-6)
    assert 0.2 < (slopes[0] != 0).mean() < 0.5
    for train in (True, False):  # without a key
        np.testing.assert_allclose(Dropout(Noise(0.3, rule), relu=True).apply({}, x, train),
                                   Dropout(Noise(0.3, rule)).apply({}, jax.nn.relu(x), train))


@pytest.mark.parametrize('width', [4, 9, 64])
def test_dropout_decides_about_each_element_by_itself(width):
    x, rngs = jnp.ones((4000, width)), {'dropout': jax.random.key(5)}
    dropped = np.asarray(Dropout(Noise(0.5)).apply({}, x, True, rngs=rngs)) == 0
    together = np.corrcoef(dropped.T)
    assert np.abs(dropped.mean(0) - 0.5).max() < 0.05 and np.abs(together - np.eye(width)).max() < 0.1


def test_the_dropout_of_a_row_does_not_depend_on_the_rows_behind_it():
    dropout, rngs = Dropout(Noise(0.5)), {'dropout': jax.random.key(3)}
    few, many = (dropout.apply({}, jnp.ones((rows, 7, 9)), True, rngs=rngs) for rows in (2, 6))
    np.testing.assert_array_equal(few, many[:2])


def test_every_dropout_of_an_encoder_draws_for_itself_and_is_off_without_a_key():
    x, encoder = noise(BATCH, LENGTH, WIDTH), Encoder(2, HEADS, 16, 0.5, Noise(0.5))
    variables = random(encoder, x)
    first, second, again = (
        encoder.apply(variables, x, train=True, rngs={'dropout': jax.random.key(key)}) for key in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.1
    without = Encoder(2, HEADS, 16, 0.5).apply(variables, x)
    np.testing.assert_array_equal(encoder.apply(variables, x, train=True), without)


@pytest.mark.parametrize('deviation', [0.0, 1.0])
def test_positions_count_and_learn_or_stay_as_drawn(deviation):
    x, encoder = noise(BATCH, LENGTH, WIDTH), Encoder(1, HEADS, 16, 0.5, positions=deviation)
    variables = random(encoder, x)
    assert np.abs(encoder.apply(variables, x) - encoder.apply(variables, x[:, ::-1])[:, ::-1]).max() > 0.1
    gradients = jax.grad(lambda variables: (encoder.apply(variables, x) ** 2).sum())(variables)['params']
    assert gradients.pop('positions')['table'].any() == bool(deviation)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_elementary_operations_keep_their_names():
    x, encoder = noise(BATCH, LENGTH, WIDTH), Encoder(1, HEADS, 16, 0.5)
    found = names(lambda x: encoder.apply(random(encoder, x), x), x)
    assert {'layer_norm', 'attention_weights', 'weighted'} <= found
