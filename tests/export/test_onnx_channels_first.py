"""Images keep their channels first: Transposes between convolutions are gone, and values stay the same."""

import jax
import jax.numpy as jnp
from onnx_files import MAP, random, same

from recog.models.parts import convolutions, transformer

CELLS = ('b, 5, 7, 1', 'bool')


def conv(x, features, seed, size=3):
    kernel = random(f'{size}, {size}, {x.shape[-1]}, {features}', 'float32', 1, seed)
    return convolutions.conv(x, kernel, padding=((size // 2,) * 2,) * 2)


def test_what_stands_between_convolutions_needs_no_transpose():
    def squeezed(x):
        pooled = x.mean((1, 2), keepdims=True)
        return x * jnp.clip(0.2 * (conv(pooled, 6, 9, 1) + jnp.arange(6.0)) + 0.5, 0, 1)

    def block(x, cells):
        x = jax.nn.hard_swish(conv(x, 6, 0))
        x = x + squeezed(transformer.gelu(conv(x, 6, 1)) + jnp.linspace(0, 1, 6))
        moved = jnp.pad(x[:, 1:, 2:], ((0, 0), (0, 1), (1, 1), (0, 0)))
        x = jnp.concatenate([x, jnp.where(cells, moved, 0.5)], -1)
        return conv(x, 4, 2) - x.max(-1, keepdims=True)

    names = same(block, MAP, CELLS, tolerance=2e-5)
    assert names.count('Transpose') <= 3, names  # of the image, the mask and the result
    assert {'HardSwish', 'HardSigmoid', 'GlobalAveragePool', 'Gelu'} <= {*names}
    assert not {'ReduceSum', 'Min', 'Erf'} & {*names}


def test_what_reads_channels_last_gets_them():
    def mixed(x):
        y = conv(x, 3, 0)
        rows = y.reshape(y.shape[0], 35, 3) @ random('3, 3', 'float32', 1, 5)
        z = conv(rows.reshape(y.shape) + y, 3, 1)
        return z, z.sum((1, 2)), z.max(3), jnp.argmax(z, -1)

    same(mixed, MAP, tolerance=2e-5)
