"""A vision transformer: an image cut into patches, learned positions, and pre-norm blocks.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (2020), section 3.1, without a class token.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.models.parts.layers import matmul, normal, uniform
from recog.models.parts.transformer import Dense, LayerNorm, attention_weights, gelu, weighted

Pair = tuple[int, int]
SMALL = normal(0.02)  # initial values of matrices and embeddings
EPSILON = 1e-6  # of the layer norms


class Patches(nn.Module):
    """Images [B, H, W, C] to a token for each patch [B, T, D], row by row."""

    features: int
    size: Pair

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        (high, wide), (height, width, channels) = self.size, image.shape[1:]
        start = uniform((high * wide * channels) ** -0.5)
        kernel = self.param('kernel', start, (high, wide, channels, self.features))
        bias = self.param('bias', start, (self.features,))
        cut = image.reshape(-1, height // high, high, width // wide, wide, channels).swapaxes(2, 3)
        cut = cut.reshape(image.shape[0], -1, high * wide * channels)
        return matmul(cut, kernel.reshape(-1, self.features)) + bias.astype(image.dtype)


class Block(nn.Module):
    """Self-attention and feed-forward, each with a layer norm before it and a residual sum after it."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        inside = Dense(3 * width, start=SMALL, name='qkv')(LayerNorm(EPSILON, name='norm_1')(x))
        query, keys, values = (each.reshape(batch, length, self.heads, width // self.heads)
                               for each in jnp.split(inside, 3, -1))
        weights = attention_weights(query, keys, scale=(width // self.heads) ** -0.5)
        x = x + Dense(width, start=SMALL, name='project')(weighted(weights, values).reshape(x.shape))
        inside = Dense(self.hidden, start=SMALL, name='widen')(LayerNorm(EPSILON, name='norm_2')(x))
        return x + Dense(width, start=SMALL, name='narrow')(gelu(inside))


class VisionTransformer(nn.Module):
    """Images [B, H, W, C] to the stages `embedding`, `block_0` and so on, and `memory`, each [B, T, D]."""

    layers: int
    features: int
    heads: int
    hidden: int
    patch: Pair

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        x = Patches(self.features, self.patch, name='patches')(image)
        x = x + self.param('positions', SMALL, (1, *x.shape[1:])).astype(x.dtype)
        stages = {'embedding': x}
        for layer in range(self.layers):
            x = stages[f'block_{layer}'] = Block(self.heads, self.hidden, name=f'layer_{layer}')(x)
        return stages | {'memory': LayerNorm(EPSILON, name='norm')(x)}
