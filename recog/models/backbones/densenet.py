"""DenseNet for images of any size, as CAN has it: convolutions before their norms, masked or not.

Huang et al., "Densely Connected Convolutional Networks" (2017), section 3, with bottlenecks and compression; sizes and order
follow the reference implementation of CAN.
"""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.convolutions import Pair, max_pool
from recog.models.parts.layers import BatchNorm, Context, Conv
from recog.models.parts.transformer import Dropout, Noise

STRIDE = 16
BLOCKS = 3


def inside(size: jax.Array, x: jax.Array, stride: int) -> jax.Array:
    """Which cells [B, h, w, 1] of a map [B, h, w, C] belong to images of `size` [B, 2]; those that hold part of one do."""
    rows = jnp.arange(x.shape[1])[:, None, None] * stride < size[:, 0, None, None, None]
    columns = jnp.arange(x.shape[2])[:, None] * stride < size[:, 1, None, None, None]
    return rows & columns


def masked(x: jax.Array, context: Context) -> jax.Array:
    """`x` with zeros outside the images, where the context tells them from their padding."""
    return x if context.cells is None else jnp.where(context.cells, x, jnp.zeros((), x.dtype))


@jax.jit
def average_pool(x: jax.Array, cells: jax.Array | None = None) -> jax.Array:
    """Mean of what each window of 2 x 2 holds of [B, H, W, C], or of its `cells` [B, H, W, 1]; a lone last row counts."""
    number = _windows(jnp.ones((1, *x.shape[1:3], 1)) if cells is None else cells.astype(jnp.float32))
    return _windows(x) / jnp.maximum(number, 1).astype(x.dtype)


def _windows(x: jax.Array) -> jax.Array:
    """Sums of windows of 2 x 2."""
    x = _even(x)
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3]).sum((2, 4))


def _even(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))


def joined(x: jax.Array, found: jax.Array) -> jax.Array:
    """The channels of both, [B, H, W, C] and [B, H, W, D] -> [B, H, W, C + D].

    On accelerators XLA must not see that `x` was joined, too: it would join all layers' few channels anew for each, slowly.
    """
    both = jnp.concatenate([x, found], -1)
    return lax.platform_dependent(both, cpu=lambda both: both, default=lax.optimization_barrier)


class Unit(nn.Module):
    """A convolution, batch norm, ReLU and dropout."""

    features: int
    size: Pair
    dropout: float
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = Conv(self.features, self.size, name='conv')(x)
        if self.biased:
            # The norm takes it away again: it moves the running mean, and its gradient would be rounding errors.
            x = x + lax.stop_gradient(self.param('bias', nn.initializers.zeros, (self.features,))).astype(x.dtype)
        x = BatchNorm(name='norm')(x, context)
        return masked(Dropout(Noise(self.dropout), relu=True, name='dropout')(x, context.train), context)


class DenseNet(nn.Module):
    """Images [B, H, W, C] to maps [B, H / 16, W / 16, D], sizes rounded up.

    With `sizes` [B, 2] all that is not image is zero in every layer, and no average or statistic counts it: an image's maps are
    those it would have alone. Without, padding is read as if it were image, as the reference does.
    """

    growth: int
    layers: int  # of each block
    stem: int
    dropout: float

    @nn.compact
    def __call__(self, image: jax.Array, sizes: jax.Array | None, context: Context) -> jax.Array:
        def seeing(x: jax.Array, stride: int) -> Context:
            return context if sizes is None else context._replace(cells=inside(sizes, x, stride))

        x = masked(image, seeing(image, 1))
        x = jax.nn.relu(Conv(self.stem, (7, 7), strides=(2, 2), name='stem')(x))
        x = max_pool(_even(masked(x, seeing(x, 2))), (2, 2))  # no value is below 0: zeros do not count
        for block in range(BLOCKS):
            here = seeing(x, 4 << block)
            for layer in range(self.layers):
                found = Unit(4 * self.growth, (1, 1), self.dropout, name=f'dense{block}_{layer}_narrow')(x, here)
                found = Unit(self.growth, (3, 3), self.dropout, name=f'dense{block}_{layer}_grow')(found, here)
                x = joined(x, found)
            if block < BLOCKS - 1:
                x = Unit(x.shape[-1] // 2, (1, 1), self.dropout, biased=False, name=f'transition{block}')(x, here)
                x = average_pool(x, here.cells)
        return x


LEAVES = {('conv', 'kernel'): 'conv{}.weight', ('bias',): 'conv{}.bias', ('norm', 'scale'): 'bn{}.weight',
          ('norm', 'bias'): 'bn{}.bias', ('norm', 'mean'): 'bn{}._mean', ('norm', 'variance'): 'bn{}._variance'}


def peer_key(path: tuple[str, ...]) -> str:
    """The reference's name of the parameter or statistic at this path below the backbone."""
    if path[0] == 'stem':
        return 'conv1.weight'
    leaf, found = LEAVES[path[1:]], re.fullmatch(r'dense(\d)_(\d+)_(narrow|grow)', path[0])
    if found is None:
        return f'trans{int(path[0][-1]) + 1}.{leaf.format(1)}'
    return f'dense{int(found[1]) + 1}.{found[2]}.{leaf.format(1 if found[3] == "narrow" else 2)}'
