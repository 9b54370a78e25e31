"""Backbones: [B, 32, W, C] -> [B, 1, W/4, D].

ResNet34_vd and MobileNetV3 are the reference's variants for text lines; VGG is Table 1 of Shi et al., "An
End-to-End Trainable Neural Network for Image-based Sequence Recognition" (2015). `PEERS` says how the
reference names the parts.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.models.parts.convolutions import Pair
from recog.models.parts.layers import Context, Conv, ConvNorm
from recog.models.parts.pooling import max_pool
from recog.models.peers import PADDLE, renamed


class ResNetBlock(nn.Module):
    """Two convolutions and a shortcut, which downsamples by averaging before its 1 x 1
    convolution instead of by a stride ("vd")."""

    features: int
    strides: Pair
    project: bool

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        branch = ConvNorm(self.features, strides=self.strides, name='first')(x, context)
        branch = ConvNorm(self.features, activation=None, name='second')(branch, context)
        if self.project:
            if self.strides != (1, 1):
                x = nn.avg_pool(x, self.strides, self.strides)
            x = ConvNorm(self.features, (1, 1), activation=None, name='shortcut')(x, context)
        return jax.nn.relu(branch + x)


class ResNet34VD(nn.Module):
    """ResNet34_vd for text lines: 24.5 M parameters with CRNN's recurrence and head."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        for number, features in enumerate((32, 32, 64), 1):
            x = ConvNorm(features, name=f'stem_{number}')(x, context)
        x = max_pool(x, (3, 3), strides=(2, 2), padding=1)
        for stage, (features, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            for block in range(blocks):
                first = block == 0
                strides = (2, 1) if first and stage else (1, 1)
                x = ResNetBlock(features, strides, first, name=f'block_{stage}_{block}')(x, context)
        return max_pool(x, (2, 2))


class Row(NamedTuple):
    """A block of MobileNetV3 large at scale 1."""

    size: int
    expanded: int
    features: int
    squeeze: bool
    swish: bool
    strides: Pair = (1, 1)


# Howard et al., "Searching for MobileNetV3", Table 1, with the reference's strides, which keep the width.
MOBILENET = (
    Row(3, 16, 16, False, False),
    Row(3, 64, 24, False, False, (2, 1)),
    Row(3, 72, 24, False, False),
    Row(5, 72, 40, True, False, (2, 1)),
    Row(5, 120, 40, True, False),
    Row(5, 120, 40, True, False),
    Row(3, 240, 80, False, True),
    Row(3, 200, 80, False, True),
    Row(3, 184, 80, False, True),
    Row(3, 184, 80, False, True),
    Row(3, 480, 112, True, True),
    Row(3, 672, 112, True, True),
    Row(5, 672, 160, True, True, (2, 1)),
    Row(5, 960, 160, True, True),
    Row(5, 960, 160, True, True),
)


def scaled(width: int, scale: float) -> int:
    """A width times the scale, rounded to a multiple of 8 that is not below 0.9 of it."""
    exact = width * scale
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


class Squeeze(nn.Module):
    """Squeeze and excitation with a hard sigmoid of slope 0.2, as in the reference."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        pooled = jnp.mean(x, (1, 2), keepdims=True, dtype=jnp.float32).astype(x.dtype)
        pooled = jax.nn.relu(Conv(channels // 4, (1, 1), biased=True, name='reduce')(pooled))
        pooled = Conv(channels, (1, 1), biased=True, name='restore')(pooled)
        return x * jnp.clip(0.2 * pooled + 0.5, 0, 1)


class MobileNetBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze, and a linear projection."""

    row: Row
    scale: float

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        row, expanded = self.row, scaled(self.row.expanded, self.scale)
        features = scaled(row.features, self.scale)
        activation = jax.nn.hard_swish if row.swish else jax.nn.relu
        inside = ConvNorm(expanded, (1, 1), activation=activation, name='expand')(x, context)
        depthwise = ConvNorm(None, (row.size, row.size), row.strides, activation, name='depthwise')
        inside = depthwise(inside, context)
        if row.squeeze:
            inside = Squeeze(name='squeeze')(inside)
        inside = ConvNorm(features, (1, 1), activation=None, name='project')(inside, context)
        return x + inside if row.strides == (1, 1) and x.shape[-1] == features else inside


class MobileNetV3(nn.Module):
    """MobileNetV3 large for text lines."""

    scale: float

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        swish = jax.nn.hard_swish
        x = ConvNorm(scaled(16, self.scale), strides=(2, 2), activation=swish, name='stem')(x, context)
        for number, row in enumerate(MOBILENET):
            x = MobileNetBlock(row, self.scale, name=f'block_{number}')(x, context)
        x = ConvNorm(scaled(960, self.scale), (1, 1), activation=swish, name='last')(x, context)
        return max_pool(x, (2, 2))


class VGG(nn.Module):
    """The seven convolutions of CRNN's Table 1, batch norm after the fifth and sixth."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        rows = (64, (2, 2)), (128, (2, 2)), (256, None), (256, (2, 1))
        for number, (features, pool) in enumerate(rows, 1):
            x = jax.nn.relu(Conv(features, biased=True, name=f'conv_{number}')(x))
            x = x if pool is None else max_pool(x, pool)
        for number in (5, 6):
            x = ConvNorm(512, name=f'conv_{number}')(x, context)
        x = max_pool(x, (2, 1))
        # Unlike the paper, a column of padding keeps the width, so that every backbone gives W/4 frames.
        return jax.nn.relu(Conv(512, (2, 2), padding=((0, 0), (0, 1)), biased=True, name='conv_7')(x))


class Small(nn.Module):
    """Five convolutions, few enough to train on two CPU cores."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        for number, (features, width) in enumerate(((16, 2), (64, 2), (128, 1), (128, 1), (256, 1)), 1):
            x = max_pool(ConvNorm(features, name=f'conv_{number}')(x, context), (2, width))
        return x


class Medium(nn.Module):
    """Nine convolutions, two shortcuts: what a CPU reads in some milliseconds, and trains in hours."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = ConvNorm(32, strides=(2, 2), name='stem')(x, context)
        x = max_pool(ConvNorm(64, name='conv_1')(x, context), (2, 2))
        x = ConvNorm(128, name='conv_2')(x, context)
        x = max_pool(ResNetBlock(128, (1, 1), False, name='block_2')(x, context), (2, 1))
        x = ConvNorm(192, name='conv_3')(x, context)
        x = max_pool(ResNetBlock(192, (1, 1), False, name='block_3')(x, context), (2, 1))
        return max_pool(ConvNorm(256, name='conv_4')(x, context), (2, 1))


BACKBONES = ('resnet34_vd', 'mobilenet_v3', 'vgg', 'small', 'medium')


def backbone(name: str, scale: float) -> nn.Module:
    """The backbone of that name, one of `BACKBONES`; the scale is MobileNetV3's."""
    if name == 'mobilenet_v3':
        return MobileNetV3(scale)
    return {'resnet34_vd': ResNet34VD, 'vgg': VGG, 'small': Small, 'medium': Medium}[name]()


# Our names (regular expressions, by their path below the backbone) and the reference's.
PEERS: Mapping[str, Mapping[str, str]] = {
    'resnet34_vd': {
        r'^stem_(\d)/': r'conv1_\1/',
        r'^block_(\d)_(\d)/': r'bb_\1_\2/',
        '/conv/': '/_conv/',
        '/norm/': '/_batch_norm/',
        '/first/': '/conv0/',
        '/second/': '/conv1/',
        '/shortcut/': '/short/',
        **PADDLE,
    },
    'mobilenet_v3': {
        '^stem/': 'conv1/',
        '^last/': 'conv2/',
        r'^block_(\d+)/': r'blocks/\1/',
        '/expand/': '/expand_conv/',
        '/depthwise/': '/bottleneck_conv/',
        '/project/': '/linear_conv/',
        '/squeeze/reduce/': '/mid_se/conv1/',
        '/squeeze/restore/': '/mid_se/conv2/',
        '/norm/': '/bn/',
        **PADDLE,
    },
}


def peer_key(name: str, path: tuple[str, ...]) -> str:
    """The reference's key for the variable at `path` within the backbone called `name`."""
    return renamed(path, PEERS[name])
