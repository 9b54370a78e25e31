"""Fusions: one ONNX operator that replaces several nodes gives what they give in JAX."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from onnx_files import INTS, MAP, random, same

from recog.models.parts import convolutions, layers

CELLS = ('b, 5, 7, 1', 'bool')

def unit(x, cells, seed, size):
    """A convolution of 3 channels to 3, batch norm, ReLU and mask, as DenseNet has them."""
    kernel = random(f'{size}, {size}, {x.shape[-1]}, 3', 'float32', 1, seed)
    norm = [abs(random('3', 'float32', 1, seed + number)) + 0.1 for number in range(4)]
    x = convolutions.conv(x, kernel, padding=((size // 2,) * 2,) * 2) + norm[0]
    return jnp.where(cells, jax.nn.relu(layers.batch_norm(x, *norm, train=False)[0]), 0)


def test_masks_between_convolutions_become_part_of_them():
    def block(x, cells):
        for seed in (0, 10):
            x = jnp.concatenate([x, unit(unit(x, cells, seed, 1), cells, seed + 5, 3)], -1)
        return unit(x, cells, 20, 1)

    names = same(block, MAP, CELLS, tolerance=1e-5)
    assert names.count('Conv') == 5 and not {'Where', 'Mul'} & set(names)


def test_a_mask_before_what_reads_its_surroundings_stays():
    names = same(lambda x, cells: unit(unit(x, cells, 0, 3), cells, 5, 3), MAP, CELLS, tolerance=1e-5)
    assert names.count('Mul') == 2


def test_a_choice_of_what_may_be_infinite_stays_a_choice():
    assert 'Where' in same(lambda x, cells: jnp.where(cells, jnp.log(abs(x)), 0), MAP, CELLS)


def test_rows_of_a_known_product_are_read_from_it():
    shapes = '9, 5', '5, 4', '4'
    table, kernel, bias = (random(shape, 'float32', 1, seed) for seed, shape in enumerate(shapes))
    rows = jnp.asarray(table)
    names = same(lambda i: rows.at[abs(i)].get(mode='clip') @ kernel + bias, INTS, tolerance=1e-5)
    assert 'Gather' in names and 'MatMul' not in names and names[-2:] == ['Gather', 'Identity']


@pytest.mark.parametrize(('function', 'operator'), [
    (jax.nn.softmax, 'Softmax'), (lambda x: jax.nn.softmax(x, 1), 'Softmax'),
    (jax.nn.log_softmax, 'LogSoftmax'),
])
def test_a_softmax_is_one_node(function, operator):
    assert same(function, MAP) == [operator, 'Identity']


def test_a_layer_norm_is_one_node():
    scale, bias = (random('3', 'float32', 1, seed) for seed in range(2))

    def norm(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * scale + bias

    assert same(norm, MAP, tolerance=1e-5) == ['LayerNormalization', 'Identity']
    other = same(lambda x: norm(x) + norm(x.swapaxes(1, 3)).sum(), ('b, 3, 7, 3', 'float32'), tolerance=1e-4)
    assert other.count('LayerNormalization') == 2
