"""Transformer parts: attention, feed-forward, layer norm, fixed positions and dropout.

Vaswani et al., "Attention Is All You Need" (2017), section 3. `attention_weights`, `weighted`, `gelu` and
`layer_norm` are each jitted separately, so that their names appear in the jaxpr.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.random import threefry2x32_p

from recog.models.parts.layers import EPSILON, einsum32, matmul, normal

RULES = ('upscale', 'downscale')


@partial(jax.jit, static_argnames=('epsilon',))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, *, epsilon: float = EPSILON) -> jax.Array:
    """Layer norm of [..., D], computed in float32 and returned in the dtype of `x`."""
    values = x.astype(jnp.float32)
    centered = values - values.mean(-1, keepdims=True)
    inverse = lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + epsilon)
    return (centered * inverse * scale + bias).astype(x.dtype)


@partial(jax.jit, static_argnames=('scale',))
def attention_weights(
    query: jax.Array, keys: jax.Array, mask: jax.Array | None = None, *, scale: float
) -> jax.Array:
    """Softmax of the scaled products of queries [B, Q, N, D] and keys [B, K, N, D] with N heads, in float32:
    [B, N, Q, K].

    The mask, whose shape broadcasts to [B, N, Q, K], is true where a query may attend.
    """
    scores = einsum32('bqnd,bknd->bnqk', query, keys) * scale
    # Not infinity: a row without any key to attend to stays finite.
    return jax.nn.softmax(scores if mask is None else jnp.where(mask, scores, -1e9))


@jax.jit
def weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Values [B, K, N, D] summed by their weights [B, N, Q, K]: [B, Q, N, D]."""
    # With queries before heads in the result, a CPU would take at least twice as long for the product.
    return jnp.einsum('bnqk,bknd->bnqd', weights.astype(values.dtype), values).swapaxes(1, 2)


@partial(jax.jit, static_argnames=('rate', 'rule'))
def dropped(x: jax.Array, key: jax.Array, *, rate: float, rule: str) -> jax.Array:
    """Dropout: `x` with the share `rate` of its elements set to 0; the rule `upscale` scales up the others.

    Each element takes only sixteen random bits, because drawing them takes longer than all else.
    """
    count = -(-x.shape[-1] // 4)
    numbers = lax.iota(jnp.uint32, math.prod(x.shape[:-1]) * count).reshape(*x.shape[:-1], count)
    # Threefry computes words in pairs. Without the barrier, XLA would compute a pair again for each half of
    # its words.
    words = threefry2x32_p.bind(*jax.random.key_data(key)[:2], jnp.zeros_like(numbers), numbers)
    halves = [half for word in lax.optimization_barrier(words) for half in (word >> 16, word & 0xFFFF)]
    kept = jnp.concatenate(halves, -1)[..., : x.shape[-1]] >= round(rate * 2**16)
    return jnp.where(kept, x / (1 - rate) if rule == 'upscale' else x, jnp.zeros((), x.dtype))


@jax.jit
def gelu(x: jax.Array) -> jax.Array:
    """GELU in its exact form; JAX's default is an approximation, up to 5e-4 off."""
    return x * 0.5 * (1 + lax.erf(x * 0.5**0.5))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def relu_dropped(x: jax.Array, key: jax.Array, rate: float, rule: str) -> jax.Array:
    """`dropped` after a ReLU; its gradient needs only the output."""
    return dropped(jax.nn.relu(x), key, rate=rate, rule=rule)


def _relu_dropped_forward(
    x: jax.Array, key: jax.Array, rate: float, rule: str
) -> tuple[jax.Array, jax.Array]:
    output = relu_dropped(x, key, rate, rule)
    return output, output


def _relu_dropped_backward(
    rate: float, rule: str, output: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, None]:
    gradient = gradient / (1 - rate) if rule == 'upscale' else gradient
    return jnp.where(output > 0, gradient, jnp.zeros((), gradient.dtype)), None


relu_dropped.defvjp(_relu_dropped_forward, _relu_dropped_backward)


class Noise(NamedTuple):
    """The dropout of a recipe: its rate, and whether kept elements are scaled up in training (`upscale`) or
    all elements are scaled down in evaluation (`downscale`, as in the reference)."""

    rate: float = 0.0
    rule: str = 'upscale'


class Dropout(nn.Module):
    """Dropout. Without a key it is off; the rule `downscale` then has the factor 1 in training."""

    noise: Noise
    relu: bool = False  # a ReLU before the dropout

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        rate, rule = self.noise
        if train and rate and self.has_rng('dropout'):
            key = self.make_rng('dropout')
            return relu_dropped(x, key, rate, rule) if self.relu else dropped(x, key, rate=rate, rule=rule)
        x = jax.nn.relu(x) if self.relu else x
        return x * (1 - rate) if rate and not train and rule == 'downscale' else x


class Dense(nn.Module):
    """A linear layer and, if `biased`, a bias; unless others are given, the kernel starts Xavier uniform and
    the bias at 0.

    The result has the dtype of the input, or `dtype`.
    """

    features: int
    biased: bool = True
    dtype: jnp.dtype | None = None
    start: Callable[..., jax.Array] = nn.initializers.xavier_uniform()
    bias_start: Callable[..., jax.Array] = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', self.start, (x.shape[-1], self.features))
        if self.dtype is None:
            x = matmul(x, kernel)
        else:
            x = jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=self.dtype)
        if self.biased:
            x = x + self.param('bias', self.bias_start, (self.features,)).astype(x.dtype)
        return x


class LayerNorm(nn.Module):
    """Layer norm with a scale and a bias."""

    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
        bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
        return layer_norm(x, scale, bias, epsilon=self.epsilon)


class Positions(nn.Module):
    """Adds a table of position embeddings. With a deviation, the table starts from a normal distribution and
    is trained; with 0 it keeps its random initial values, which are saved with the weights."""

    deviation: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = normal(self.deviation) if self.deviation else nn.initializers.xavier_uniform()
        table = self.param('table', start, x.shape[-2:])
        return x + (table if self.deviation else lax.stop_gradient(table)).astype(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention without biases; `scale` multiplies the products of queries and keys."""

    heads: int
    scale: float
    noise: Noise = Noise()

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        query, keys, values = (
            Dense(width, False, name=name)(x).reshape(shape) for name in ('query', 'key', 'value'))
        weights = attention_weights(query, keys, mask, scale=self.scale)
        weights = Dropout(self.noise, name='dropout')(weights, train)
        return Dense(width, False, name='project')(weighted(weights, values).reshape(x.shape))


class FeedForward(nn.Module):
    """Two linear layers with ReLU and dropout between."""

    hidden: int
    noise: Noise = Noise()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        inside = Dropout(self.noise, relu=True, name='dropout')(Dense(self.hidden, name='widen')(x), train)
        return Dense(x.shape[-1], name='narrow')(inside)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a layer norm before
    it and a residual connection around it."""

    heads: int
    hidden: int
    scale: float
    noise: Noise = Noise()

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        attention = Attention(self.heads, self.scale, self.noise, name='attention')
        inside = attention(LayerNorm(name='norm_1')(x), mask, train)
        x = x + Dropout(self.noise, name='dropout_1')(inside, train)
        inside = FeedForward(self.hidden, self.noise, name='feed_forward')(LayerNorm(name='norm_2')(x), train)
        return x + Dropout(self.noise, name='dropout_2')(inside, train)


class Encoder(nn.Module):
    """Positions and encoder layers over a sequence [B, T, D], and a final layer norm."""

    layers: int
    heads: int
    hidden: int
    scale: float
    noise: Noise = Noise()
    positions: float = 0.0  # deviation of their initial values; 0: they are not trained

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        x = Dropout(self.noise, name='dropout')(Positions(self.positions, name='positions')(x), train)
        for layer in range(self.layers):
            name = f'layer_{layer}'
            x = EncoderLayer(self.heads, self.hidden, self.scale, self.noise, name=name)(x, mask, train)
        return LayerNorm(name='norm')(x)
