"""The models' named operations give in onnxruntime what they give in JAX, each by its own ONNX operator."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from onnx_files import MAP, ROW, inside, random, same

from recog.models.backbones import densenet
from recog.models.parts import (
    convolutions,
    coverage_weights,
    depthwise,
    layers,
    pooling,
    rectification,
    recurrence,
    transformer_decoder,
)

TOKENS = ('b, 6, 6', 'float32')


@pytest.mark.parametrize(('size', 'strides', 'padding'), [
    ((1, 1), (1, 1), (0, 0)), ((3, 3), (2, 1), (1, 1)), ((2, 3), (1, 2), (0, 1)),
])
def test_a_convolution_takes_batch_norm_in(size, strides, padding):
    kernel = random(f'{size[0]}, {size[1]}, 3, 4', 'float32', 1, 0)
    norm = [abs(random('4', 'float32', 1, seed)) + 0.1 for seed in range(4)]

    def function(x):
        x = convolutions.conv(x, kernel, strides=strides, padding=((padding[0],) * 2, (padding[1],) * 2))
        return jax.nn.relu(layers.batch_norm(x, *norm, train=False)[0])

    names = same(function, MAP, tolerance=1e-5)
    assert [name for name in names if name != 'Transpose'] == ['Conv', 'Relu', 'Identity']


@pytest.mark.parametrize('strides', [(1, 1), (2, 1)])
def test_a_depthwise_convolution_is_one_node(strides):
    kernel = random('5, 5, 1, 3', 'float32', 1, 0)
    names = same(lambda x: depthwise.depthwise(x, kernel, strides=strides), MAP)
    assert names == ['Transpose', 'Conv', 'Transpose', 'Identity']


def test_batch_norm_alone_is_a_factor_and_a_summand():
    norm = [abs(random('3', 'float32', 1, seed)) + 0.1 for seed in range(4)]
    names = same(lambda x: layers.batch_norm(x, *norm, train=False)[0], MAP)
    assert names == ['Mul', 'Add', 'Identity']


@pytest.mark.parametrize(('window', 'strides', 'padding'), [
    ((2, 2), None, 0), ((3, 3), (2, 2), 1), ((2, 1), (2, 1), 0),
])
def test_a_max_pool_is_one_node(window, strides, padding):
    pool = functools.partial(pooling.max_pool, window=window, strides=strides, padding=padding)
    names = same(pool, ('b, 6, 9, 2', 'float32'))
    assert names == ['Transpose', 'MaxPool', 'Transpose', 'Identity']


def test_an_lstm_is_one_node():
    shapes = '2, 5, 12', '2, 3, 12', '2, 12', '2, 12'
    weights = [random(shape, 'float32', 1, seed) for seed, shape in enumerate(shapes)]
    assert same(lambda x: recurrence.lstm(x, *weights), ('b, 7, 5', 'float32')).count('LSTM') == 1


def test_an_lstm_whose_weights_are_given_is_a_loop():
    shapes = 'b, 7, 5', '2, 5, 12', '2, 3, 12', '2, 12', '2, 12'
    assert 'Scan' in same(recurrence.lstm, *((shape, 'float32') for shape in shapes))


@pytest.mark.parametrize('border', rectification.BORDERS)
def test_sampling_is_one_node_beyond_the_border_too(border):
    names = same(lambda x, grid: rectification.sample(x, grid, border=border), MAP, ('b, 4, 6, 2', 'float32'))
    assert 'GridSample' in names and 'GatherND' not in names


def test_an_average_of_cells_is_pooled():
    names = same(densenet.average_pool, ('b, 4, 6, 3', 'float32'), ('b, 4, 6, 1', 'bool'), tolerance=1e-6)
    assert names.count('AveragePool') == 2 and 'ReduceSum' not in names
    assert 'AveragePool' not in same(densenet.average_pool, ('b, 5, 6, 3', 'float32'))


@pytest.mark.parametrize('beams', [1, 3])
def test_the_attention_with_coverage_is_a_conv_and_a_softmax(beams):
    coverage_kernel, energy = random('9, 4', 'float32', 1, 0), random('4, 1', 'float32', 1, 1)

    def attend(keys, cells, query, coverage):
        features = jnp.zeros((keys.shape[0], 5, 6, 2))
        memory = coverage_weights.Memory(features, keys, cells, jnp.zeros(()), coverage_kernel)
        return coverage_weights.coverage_weights(memory, energy, query, coverage)

    names = same(attend, ('b, 5, 6, 4', 'float32'), ('b, 5, 6', 'bool'), (f'b, {beams}, 4', 'float32'),
                 (f'b, {beams}, 5, 6', 'float32'), tolerance=1e-5)
    assert names.count('Conv') == names.count('Softmax') == 1 and 'Gather' not in names


def attending(x, steps, start=0, turned=False, keep=False):
    """The output of attention with a cache in the last of `steps` steps."""
    shapes = (x.shape[0], 2, 3, 5), (x.shape[0], 2, 5, 3)

    def forward(carry):
        number, keys, values, _ = carry
        token = x[:, number].reshape(-1, 2, 1, 3)
        place = number - start if start else number
        attended, keys, values = transformer_decoder.attend_cached(
            token, token.swapaxes(2, 3), token * 2, keys, values, place, scale=0.5)
        if turned:
            keys, values = (leaf.at[jnp.arange(x.shape[0])[::-1]].get(mode='clip') for leaf in (keys, values))
        return number + 1, keys, values, attended + token

    begun = (jnp.int32(start), *(jnp.zeros(shape) for shape in shapes), jnp.zeros((x.shape[0], 2, 1, 3)))
    done = lax.while_loop(lambda carry: carry[0] < start + steps, forward, begun)
    return done[1:] if keep else done[3]


@pytest.mark.parametrize('turned', [False, True])
def test_a_cache_grows_by_a_token_in_each_iteration(turned):
    assert inside(functools.partial(attending, steps=4, turned=turned), TOKENS).count('Concat') == 2


@pytest.mark.parametrize('how', [{'keep': True}, {'start': 1}, {'steps': 6}])
def test_a_cache_that_is_read_later_or_counted_otherwise_or_has_no_room_does_not_grow(how):
    function = functools.partial(attending, **{'steps': 4, **how})
    assert 'Concat' not in inside(lambda x: jax.tree.leaves(function(x))[0], TOKENS)


@pytest.mark.parametrize(('number', 'operator'), [(7, 'Div'), (-7, 'Sign')])
def test_a_quotient_of_what_is_never_negative_needs_no_signs(number, operator):
    names = same(lambda x: (x.argmax(1) // number, x.argmax(1) % number), ROW)
    assert operator in names and ('Sign' in names) == (operator == 'Sign')


def test_a_hard_swish_is_one_node():
    assert same(jax.nn.hard_swish, MAP) == ['HardSwish', 'Identity']
