"""ResNet with a feature pyramid, [B, H, W, C] -> [B, H/8, W/8, D]: He et al., "Deep Residual Learning for
Image Recognition" (2015), Table 1, with the strides and merges of Yu et al., "Towards Accurate Scene Text
Recognition with Semantic Reasoning Networks" (2020), section 3.1, in the form of the reference
implementation. `PEERS` says how the reference names the parts."""

from collections.abc import Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.convolutions import native_conv
from recog.models.parts.layers import BatchNorm, Context, Conv, ConvNorm, normal
from recog.models.peers import PADDLE, renamed

STRIDE, STAGES = 8, 4
GROWTH = 4  # a block's output channels to those inside it
STRIDES = (2, 2, 1, 1)  # of the first block of each stage


@jax.jit
def dilated_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of [B, H, W, C] with [2, 2, C, D] whose taps lie two apart; the size is kept."""
    native = partial(native_conv, dilation=(2, 2))
    return lax.platform_dependent(x, kernel.astype(x.dtype), cpu=_product_of_taps, default=native)


def _product_of_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as one product: one image, and the gradients of many, take a CPU two thirds of the time."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, i : i + height, j : j + width] for i in (0, 2) for j in (0, 2)]
    return jnp.einsum('bhwc,cd->bhwd', jnp.concatenate(taps, -1), kernel.reshape(-1, kernel.shape[3]))


class DilatedNorm(nn.Module):
    """A dilated convolution of four taps, batch norm and ReLU."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return jax.nn.relu(BatchNorm(name='norm')(Dilated(self.features, name='conv')(x), context))


class Dilated(nn.Module):
    """A dilated convolution of four taps."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start, shape = normal((2 / (x.shape[-1] * 4)) ** 0.5), (2, 2, x.shape[-1], self.features)
        return dilated_conv(x, self.param('kernel', start, shape))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut; the 3 x 3 has the stride."""

    features: int
    stride: int
    first: bool  # of its stage

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        outside, strides = GROWTH * self.features, (self.stride, self.stride)
        branch = ConvNorm(self.features, (1, 1), name='reduce')(x, context)
        if self.first and self.stride == 1:
            # Unlike the paper, as the reference: the first block of a stage that keeps the size has four
            # taps, two apart.
            branch = DilatedNorm(self.features, name='spatial')(branch, context)
        else:
            branch = ConvNorm(self.features, strides=strides, name='spatial')(branch, context)
        branch = ConvNorm(outside, (1, 1), activation=None, name='expand')(branch, context)
        if self.first:
            x = ConvNorm(outside, (1, 1), strides, activation=None, name='shortcut')(x, context)
        return jax.nn.relu(branch + x)


class Smooth(nn.Module):
    """A 3 x 3 convolution with a bias, batch norm and ReLU."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = Conv(self.features, name='conv')(x)
        # Batch norm takes the bias away again: its gradient is rounding, which Adam would blow up to whole
        # steps.
        bias = lax.stop_gradient(self.param('bias', nn.initializers.zeros, (self.features,)))
        return jax.nn.relu(BatchNorm(name='norm')(x + bias.astype(x.dtype), context))


class ResNetFPN(nn.Module):
    """Four stages of bottlenecks; the last three, all of one size, are merged from the last to the first."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    features: int = 512

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        # Unlike the paper, as the reference: no max pool.
        x = ConvNorm(self.widths[0], (7, 7), (2, 2), name='stem')(x, context)
        levels = []
        for stage, (depth, width, stride) in enumerate(zip(self.depths, self.widths, STRIDES, strict=True)):
            for block in range(depth):
                first, name = block == 0, f'block_{stage}_{block}'
                x = Bottleneck(width, stride if first else 1, first, name=name)(x, context)
            levels.append(x)
        for stage in (2, 1):
            features = GROWTH * self.widths[stage]
            x = jnp.concatenate([x, levels[stage]], -1)
            x = Conv(features, (1, 1), biased=True, name=f'merge_{stage}')(x)
            x = Smooth(features, name=f'smooth_{stage}')(x, context)
        return Conv(self.features, (1, 1), biased=True, name='last')(x)


# Biases that never learn.
NO_GRADIENT = ('smooth_1/bias', 'smooth_2/bias')

# Our names (regular expressions, by their path below the backbone) and the reference's.
PEERS: Mapping[str, str] = {
    r'stem/': r'conv/',
    r'block_(\d)_(\d)/': r'bottleneckBlock_\1_\2/',
    r'/reduce/': r'/conv0/',
    r'/spatial/': r'/conv1/',
    r'/expand/': r'/conv2/',
    r'/shortcut/': r'/short/conv/',
    r'/norm/': r'/bn/',
    r'merge_2/': r'F_-2_base_block_0/',
    r'smooth_2/(conv/)?(?=kernel|bias)': r'F_-2_base_block_1/',
    r'smooth_2/(norm|bn)/': r'F_-2_base_block_2/',
    r'merge_1/': r'F_-3_base_block_0/',
    r'smooth_1/(conv/)?(?=kernel|bias)': r'F_-3_base_block_1/',
    r'smooth_1/(norm|bn)/': r'F_-3_base_block_2/',
    r'last/': r'F_-3_base_block_3/',
    **PADDLE,
}


def peer_key(path: tuple[str, ...]) -> str:
    """The reference's key for what lies at `path` within the backbone."""
    return renamed(path, PEERS)
