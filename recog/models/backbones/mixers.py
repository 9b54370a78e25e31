"""An encoder of three stages whose blocks mix places near each other by convolutions, or all places by
attention.

The reference's form: norms stand after the sums, there are no positions and no norm at the end. The map is a
quarter as wide as the image; its height is a quarter, and an eighth from the second downsampling on.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.models.parts.convolutions import conv, grouped
from recog.models.parts.layers import BatchNorm, Context, normal, uniform
from recog.models.parts.transformer import Dense, LayerNorm, attention_weights, gelu, weighted
from recog.models.peers import PYTORCH, renamed

STRIDE = (8, 4)
STAGES = 3
DOWN = ((1, 1), (2, 1))  # strides of the downsamplings, which stand after all stages but the last
EXPANDED = 4  # width of a feed-forward layer, times that of its input
EPSILON = 1e-6  # of the norms in blocks; all others have that of `layers`


class Convolution(nn.Module):
    """A convolution of 3 x 3, of `groups` of channels by themselves, with a bias unless it is left out."""

    features: int
    strides: tuple[int, int] = (1, 1)
    groups: int = 1
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        given = x.shape[-1] // self.groups
        # As in the reference, the deviation counts all outputs, those of other groups too.
        kernel = self.param('kernel', normal((2 / (9 * self.features)) ** 0.5), (3, 3, given, self.features))
        x = grouped(x, kernel) if self.groups > 1 else conv(
            x, kernel, strides=self.strides, padding=((1, 1), (1, 1)))
        if self.biased:
            x = x + self.param('bias', uniform((9 * given) ** -0.5), (self.features,)).astype(x.dtype)
        return x


def linear(features: int, given: int, small: bool, name: str, biased: bool = True) -> Dense:
    """A linear layer of an input of `given` numbers. If `small`, its matrix starts from N(0, 0.02) and its
    bias at 0; else both start as PyTorch's do."""
    if small:
        return Dense(features, biased, start=normal(0.02), name=name)
    start = uniform(given ** -0.5)
    return Dense(features, biased, start=start, bias_start=start, name=name)


class SelfAttention(nn.Module):
    """Multi-head self-attention [B, T, D], whose queries, keys and values come from one matrix."""

    heads: int
    small: bool = True
    biased: bool = True  # queries, keys and values

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        joint = linear(3 * width, width, self.small, 'qkv', self.biased)(x)
        query, keys, values = (part.reshape(batch, length, self.heads, width // self.heads)
                               for part in jnp.split(joint, 3, -1))
        weights = attention_weights(query, keys, scale=(width // self.heads) ** -0.5)
        return linear(width, width, self.small, 'project')(weighted(weights, values).reshape(x.shape))


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    small: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, hidden = x.shape[-1], EXPANDED * x.shape[-1]
        return linear(width, hidden, self.small, 'narrow')(
            gelu(linear(hidden, width, self.small, 'widen')(x)))


class Skipped(nn.Module):
    """Stochastic depth: in training, images at random go without this branch, and for the rest it counts
    more. Without a key it is off."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not (train and self.rate and self.has_rng('dropout')):
            return x
        kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - self.rate, (x.shape[0], 1, 1, 1))
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros((), x.dtype))


class Block(nn.Module):
    """Mixing of the places of a map [B, H, W, D], local or global, then a feed-forward layer for each."""

    heads: int
    local: bool
    rate: float  # of stochastic depth

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        batch, height, columns, width = x.shape
        if self.local:  # nothing stands between the two convolutions
            mixed = Convolution(width, groups=self.heads, name='local_0')(x)
            mixed = Convolution(width, groups=self.heads, name='local_1')(mixed)
        else:
            places = x.reshape(batch, height * columns, width)
            mixed = SelfAttention(self.heads, name='attention')(places).reshape(x.shape)
        x = LayerNorm(EPSILON, name='norm_1')(x + Skipped(self.rate, name='skipped_1')(mixed, train))
        inside = FeedForward(name='feed_forward')(x)
        return LayerNorm(EPSILON, name='norm_2')(x + Skipped(self.rate, name='skipped_2')(inside, train))


class Mixers(nn.Module):
    """From images [B, H, W, C] to `stem`, each `stage_N` with the downsampling after it, and `backbone`,
    maps [B, H / 8, W / 4, D]."""

    widths: Sequence[int]
    blocks: Sequence[int]
    local: Sequence[int]  # so many blocks of each stage, its first, are local
    head: int  # channels of a head, and of a group of a convolution
    depth: float  # rate of stochastic depth of the last block; it grows from 0 for the first

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> dict[str, jax.Array]:
        for number, features in enumerate((self.widths[0] // 2, self.widths[0])):
            x = Convolution(features, (2, 2), biased=False, name=f'stem_{number}_conv')(x)
            x = gelu(BatchNorm(unbiased=True, name=f'stem_{number}_norm')(x, context))
        stages, done = {'stem': x}, 0
        for stage, (width, count, local) in enumerate(zip(self.widths, self.blocks, self.local, strict=True)):
            for number in range(count):
                rate = self.depth * done / max(sum(self.blocks) - 1, 1)
                x = Block(width // self.head, number < local, rate, name=f'block_{stage}_{number}')(
                    x, context.train)
                done += 1
            if stage < len(DOWN):
                x = Convolution(self.widths[stage + 1], DOWN[stage], name=f'down_{stage}_conv')(x)
                x = LayerNorm(name=f'down_{stage}_norm')(x)
                stages[f'stage_{stage}'] = x
        return {**stages, 'backbone': x}


# Our names (regular expressions, by their path below the backbone) and the reference's.
PEERS: Mapping[str, str] = {
    r'^stem_(\d)_(conv|norm)/': r'pope/patch_embed/\1/\2/',
    r'^down_(\d)_(conv|norm)/': r'stages/\1/downsample/\2/',
    r'^block_(\d)_(\d+)/': r'stages/\1/blocks/\2/',
    r'/norm_(\d)/': r'/norm\1/',
    r'/local_(\d)/': r'/mixer/\1/',
    '/attention/': '/mixer/',
    '/project/': '/proj/',
    '/feed_forward/widen/': '/mlp/fc1/',
    '/feed_forward/narrow/': '/mlp/fc2/',
    **PYTORCH,
}


def peer_key(path: Sequence[str], blocks: Sequence[int], local: Sequence[int]) -> str:
    """The reference's key for the variable at `path` within the backbone.

    Between the local and the global blocks of a stage, the reference counts a module without parameters.
    """
    kind, *numbers = path[0].split('_')
    if kind == 'block':
        stage, number = map(int, numbers)
        after = 0 < local[stage] <= number
        path = (f'block_{stage}_{number + after}', *path[1:])
    return renamed(path, PEERS)
