"""DenseNet for images of any size: batch norm after each convolution, padding masked or not.

Huang et al., "Densely Connected Convolutional Networks" (2017), section 3, with bottlenecks and compression;
sizes and order follow the reference implementations of CAN and, with `pytorch`, of CoMER.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.convolutions import Pair
from recog.models.parts.layers import BatchNorm, Context, Conv, uniform
from recog.models.parts.pooling import max_pool
from recog.models.parts.transformer import Dropout, Noise
from recog.models.peers import PADDLE, PYTORCH, renamed

STRIDE = 16
BLOCKS = 3


def inside(size: jax.Array, x: jax.Array, stride: int) -> jax.Array:
    """The mask [B, h, w, 1] of the cells of a map [B, h, w, C] that hold at
    least a part of images of `size` [B, 2]."""
    rows = jnp.arange(x.shape[1])[:, None, None] * stride < size[:, 0, None, None, None]
    columns = jnp.arange(x.shape[2])[:, None] * stride < size[:, 1, None, None, None]
    return rows & columns


def masked(x: jax.Array, context: Context) -> jax.Array:
    """`x` with zeros outside the images, if the context has a mask."""
    return x if context.cells is None else jnp.where(context.cells, x, jnp.zeros((), x.dtype))


@jax.jit
def average_pool(x: jax.Array, cells: jax.Array | None = None) -> jax.Array:
    """Mean of each 2 x 2 window of [B, H, W, C]; with the mask `cells` [B, H, W, 1], of the cells inside it
    alone.

    A last row or column without a partner is a window of its own.
    """
    number = _window_sums(jnp.ones((1, *x.shape[1:3], 1)) if cells is None else cells.astype(jnp.float32))
    return _window_sums(x) / jnp.maximum(number, 1).astype(x.dtype)


def _window_sums(x: jax.Array) -> jax.Array:
    """Sums of windows of 2 x 2."""
    x = _padded(x)
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3]).sum((2, 4))


def _padded(x: jax.Array, stride: int = 2) -> jax.Array:
    """Padded at the end to multiples of the stride."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % stride), (0, -x.shape[2] % stride), (0, 0)))


def concatenated(x: jax.Array, new: jax.Array) -> jax.Array:
    """Both arrays, concatenated along the channels: [B, H, W, C] and [B, H, W, D] -> [B, H, W, C + D].

    On accelerators, a barrier hides from XLA that `x` is a concatenation too. Otherwise each layer would
    concatenate the few channels of all layers before it again, which is slow.
    """
    both = jnp.concatenate([x, new], -1)
    return lax.platform_dependent(both, cpu=lambda both: both, default=lax.optimization_barrier)


class Unit(nn.Module):
    """A convolution, batch norm, ReLU and dropout."""

    features: int
    size: Pair
    dropout: float
    biased: bool = True
    pytorch: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        start = uniform((x.shape[-1] * self.size[0] * self.size[1]) ** -0.5) if self.pytorch else None
        x = Conv(self.features, self.size, start=start, name='conv')(x)
        if self.biased:
            # Batch norm cancels the bias: it only moves the running mean, and its gradient would be rounding
            # errors.
            bias = lax.stop_gradient(self.param('bias', nn.initializers.zeros, (self.features,)))
            x = x + bias.astype(x.dtype)
        x = BatchNorm(self.pytorch, name='norm')(x, context)
        return masked(Dropout(Noise(self.dropout), relu=True, name='dropout')(x, context.train), context)


class DenseNet(nn.Module):
    """Images [B, H, W, C] to maps [B, H / 16, W / 16, D], sizes rounded up.

    With two blocks, the first convolution has stride 4 and no block is at stride 4, whose large maps take
    a CPU more time than all else.

    With `sizes` [B, 2], the padding is zero in every layer and counts in no average or statistic: the maps of
    an image do not depend on its padding. Without, padding is treated as part of the image, as in the
    references.

    With `pytorch`, it has the form that is published for PyTorch: batch norm after the first convolution and
    at the end too, no biases, and PyTorch's initial values and running variance.
    """

    growth: int
    layers: int  # of each block
    stem: int
    dropout: float
    blocks: int = BLOCKS  # or one fewer
    pytorch: bool = False

    @nn.compact
    def __call__(self, image: jax.Array, sizes: jax.Array | None, context: Context) -> jax.Array:
        def with_cells(x: jax.Array, stride: int) -> Context:
            return context if sizes is None else context._replace(cells=inside(sizes, x, stride))

        x = masked(image, with_cells(image, 1))
        stride, size, edge = (2, 7, 3) if self.blocks == BLOCKS else (4, 8, 2)
        start = uniform((x.shape[-1] * size * size) ** -0.5) if self.pytorch else None
        stem = Conv(
            self.stem, (size, size), (stride, stride), ((edge, edge), (edge, edge)), start=start, name='stem')
        x = stem(_padded(x, stride))
        x = jax.nn.relu(
            BatchNorm(True, name='stem_norm')(x, with_cells(x, stride)) if self.pytorch else x)
        # No value is below 0, so zeros change no maximum.
        x = max_pool(_padded(masked(x, with_cells(x, stride))), (2, 2))
        form = self.dropout, not self.pytorch, self.pytorch
        for block in range(self.blocks):
            here = with_cells(x, 2 * stride << block)
            for layer in range(self.layers):
                name = f'dense{block}_{layer}'
                new = Unit(4 * self.growth, (1, 1), *form, name=f'{name}_narrow')(x, here)
                new = Unit(self.growth, (3, 3), *form, name=f'{name}_grow')(new, here)
                x = concatenated(x, new)
            if block < self.blocks - 1:
                half = Unit(
                    x.shape[-1] // 2, (1, 1), self.dropout, False, self.pytorch, name=f'transition{block}')
                x = half(x, here)
                x = average_pool(x, here.cells)
        return masked(BatchNorm(True, name='norm')(x, here), here) if self.pytorch else x


# Our names (regular expressions, by their path below the backbone) and the references'.
PEERS: Mapping[str, str] = {
    '^stem/': 'conv1/',
    '^stem_norm/': 'norm1/',
    '^norm/': 'post_norm/',
    **{rf'^dense{block}_(\d+)_': rf'dense{block + 1}/\1/' for block in range(BLOCKS)},
    **{f'^transition{block}/': f'trans{block + 1}/narrow/' for block in range(BLOCKS - 1)},
    '/narrow/norm/': '/bn1/',
    '/narrow/(conv/)?': '/conv1/',
    '/grow/norm/': '/bn2/',
    '/grow/(conv/)?': '/conv2/',
}


def peer_key(path: tuple[str, ...], pytorch: bool = False) -> str:
    """The reference's key for the variable at `path` within the backbone."""
    return renamed(path, {**PEERS, **(PYTORCH if pytorch else PADDLE)})
