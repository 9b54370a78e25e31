"""A Transformer decoder: tokens attend to the tokens before them and to a memory, all at once or one at a
time with a cache.

Vaswani et al., "Attention Is All You Need" (2017), section 3, with layer norms after the residual sums;
parameters, initial values and dropouts are those of PyTorch's decoder layer. R rows, or rows x beams; N
heads; S tokens; T cached tokens; K cells of the memory.

In arrays, the head axis comes before the token axis, and keys have their tokens last. Products of a step read
this layout directly; any other would transpose the whole cache in each step.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.layers import Linear, einsum32, matmul, normal, uniform
from recog.models.parts.transformer import Dropout, LayerNorm, Noise

KEYS = 1  # the second of queries, keys and values
POSITIONS = 0.02  # deviation of the positions' initial values


@partial(jax.jit, static_argnames=('scale',))
def weights_by_head(
    query: jax.Array, keys: jax.Array, mask: jax.Array | None = None, *, scale: float
) -> jax.Array:
    """Softmax of the scaled products of queries and keys in float32, [R, N, S, D] and [R, N, D, K] ->
    [R, N, S, K].

    The mask is true where a query may attend.
    """
    scores = einsum32('rnsd,rndk->rnsk', query, keys) * scale
    return jax.nn.softmax(scores if mask is None else jnp.where(mask, scores, -1e9))


@jax.jit
def sum_by_head(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Values [R, N, K, D] summed by their weights [R, N, S, K]: [R, N, S, D]."""
    return jnp.matmul(weights.astype(values.dtype), values)


@partial(jax.jit, static_argnames=('scale',))
def attend_cached(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    number: jax.Array,
    *,
    scale: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Attention of the token at position `number`, whose query is [R, N, 1, D], to itself and the tokens
    before it; returns also the caches of keys [R, N, D, T] and values [R, N, T, D] with its own.

    It is jitted separately, so that the ONNX export finds it by name: an ONNX file needs no room for later
    tokens.
    """
    keys = lax.dynamic_update_slice_in_dim(keys, key, number, 3)
    values = lax.dynamic_update_slice_in_dim(values, value, number, 2)
    weights = weights_by_head(query, keys, jnp.arange(keys.shape[3]) <= number, scale=scale)
    return sum_by_head(weights, values), keys, values


class Attention(nn.Module):
    """Multi-head attention; one matrix projects to queries, keys and values."""

    features: int
    heads: int
    noise: Noise
    start: Callable[..., jax.Array] | None = None  # initial values of `kernel_out`; None: PyTorch's

    def setup(self) -> None:
        width, zeros = self.features, nn.initializers.zeros
        self.kernel_in = self.param('kernel_in', uniform((6 / (4 * width)) ** 0.5), (width, 3 * width))
        self.bias_in = self.param('bias_in', zeros, (3 * width,))
        self.kernel_out = self.param('kernel_out', self.start or uniform(width**-0.5), (width, width))
        self.bias_out = self.param('bias_out', zeros, (width,))
        self.dropout = Dropout(self.noise)

    def project(self, x: jax.Array, first: int, last: int, tokens: Any) -> list[jax.Array]:
        """Those of queries [R, N, S, D / N], keys [R, N, D / N, S] and values [R, N, S, D / N]
        from number `first` to before `last`."""
        part = slice(first * self.features, last * self.features)
        projected = matmul(x, self.kernel_in[:, part])
        projected = projected + self.bias_in[part].astype(x.dtype)
        shape = (-1, tokens, self.heads, self.features // self.heads)
        parts = [each.reshape(shape).swapaxes(1, 2) for each in jnp.split(projected, last - first, -1)]
        return [each.swapaxes(2, 3) if kind == KEYS else each for kind, each in enumerate(parts, first)]

    def attend(
        self, projected: Sequence[jax.Array], mask: jax.Array | None, train: bool, shape: Any
    ) -> tuple[jax.Array, jax.Array]:
        """The output for queries, keys and values, in the shape of the tokens,
        and the attention weights [R, N, S, K]."""
        queries, keys, values = projected
        weights = weights_by_head(queries, keys, mask, scale=self.scale)
        return self.merge_heads(sum_by_head(self.dropout(weights, train), values), shape), weights

    def attend_cached(self, x: jax.Array, cache: Any, number: jax.Array) -> tuple[jax.Array, Any]:
        """The output for one token of each row [R, D], which attends to itself and the tokens before it,
        and the updated cache."""
        query, *new = self.project(x, 0, 3, 1)
        attended, *cache = attend_cached(query, *new, *cache, number, scale=self.scale)
        return self.merge_heads(attended, x.shape), tuple(cache)

    def attend_memory(self, x: jax.Array, memory: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """The output for tokens [B, S, D] that attend to a memory [B, K, D], and the attention weights
        [B, N, S, K], without projecting the memory to keys and values.

        For few tokens, it is cheaper to project the queries into the space of the memory, and the weighted
        sums back.
        """
        queries, depth = self.project(x, 0, 1, x.shape[1])[0], self.features // self.heads
        to_keys, to_values = (kernel.reshape(-1, self.heads, depth).astype(x.dtype)
                              for kernel in jnp.split(self.kernel_in, 3, -1)[1:])
        # The queries of all heads are rows [B, N S, D]. The bias of the keys is left out: it adds the same to
        # the scores of all cells and cancels.
        queries = jnp.einsum('bnsd,end->bnse', queries, to_keys).reshape(x.shape[0], -1, x.shape[-1])
        weights = jax.nn.softmax(einsum32('bqe,bke->bqk', queries, memory) * self.scale)
        dropped = self.dropout(weights, train)
        shape = (x.shape[0], self.heads, x.shape[1], -1)
        summed = jnp.matmul(dropped.astype(x.dtype), memory).reshape(shape)
        bias = self.bias_in[2 * self.features :].reshape(self.heads, 1, depth)
        bias = bias * dropped.sum(-1).reshape(shape)
        attended = jnp.einsum('bnse,end->bnsd', summed, to_values) + bias.astype(x.dtype)
        return self.merge_heads(attended, x.shape), weights.reshape(shape)

    def merge_heads(self, attended: jax.Array, shape: Any) -> jax.Array:
        """The output projection of all heads' results [R, N, S, D / N], in the shape of the tokens."""
        merged = attended.swapaxes(1, 2).reshape(shape)
        return matmul(merged, self.kernel_out) + self.bias_out.astype(merged.dtype)

    @property
    def scale(self) -> float:
        """The factor of the products of queries and keys."""
        return (self.features // self.heads) ** -0.5


class DecoderLayer(nn.Module):
    """Self-attention, attention to the memory, and feed-forward,
    each with a layer norm after its residual sum."""

    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.own = Attention(self.features, self.heads, self.noise)
        self.cross = Attention(self.features, self.heads, self.noise)
        self.widen, self.narrow = Linear(self.hidden), Linear(self.features)
        self.norm_1, self.norm_2, self.norm_3 = LayerNorm(), LayerNorm(), LayerNorm()
        self.dropout, self.relu_dropout = Dropout(self.noise), Dropout(self.noise, relu=True)

    def project_memory(self, memory: jax.Array) -> tuple[jax.Array, ...]:
        """Keys [B, N, D / N, K] and values [B, N, K, D / N] of a memory [B, K, D]."""
        return tuple(self.cross.project(memory, 1, 3, memory.shape[1]))

    def __call__(
        self, x: jax.Array, memory: jax.Array, mask: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """The output for all tokens [B, S, D] at once, and their
        attention weights over a memory [B, K, D]."""
        attended, _ = self.own.attend(self.own.project(x, 0, 3, x.shape[1]), mask, train, x.shape)
        x = self.norm_1(x + self.dropout(attended, train))
        if x.shape[1] * (self.heads - 1) < self.features:
            attended, weights = self.cross.attend_memory(x, memory, train)
        else:
            attended, weights = self.cross_attend(x, self.project_memory(memory), train, x.shape[1])
        return self.feed_forward(x, attended, train), weights

    def step(
        self, x: jax.Array, projected: Any, cache: Any, number: jax.Array, beam: int
    ) -> tuple[jax.Array, Any, jax.Array]:
        """The output for one token of each row and beam [R, D] at position `number`, the updated cache of the
        tokens so far, and the attention weights; `projected` are the memory's keys and values."""
        attended, cache = self.own.attend_cached(x, cache, number)
        x = self.norm_1(x + attended)
        # The beams of a row share its memory, so they count as tokens of one row.
        attended, weights = self.cross_attend(x, projected, False, beam)
        return self.feed_forward(x, attended, False), cache, weights

    def cross_attend(
        self, x: jax.Array, projected: Any, train: bool, tokens: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Attention to the keys and values of a memory; `tokens` is how many queries share a row of it."""
        return self.cross.attend((*self.cross.project(x, 0, 1, tokens), *projected), None, train, x.shape)

    def feed_forward(self, x: jax.Array, attended: jax.Array, train: bool) -> jax.Array:
        """The rest of the layer, after the attention to the memory."""
        x = self.norm_2(x + self.dropout(attended, train))
        inside = self.relu_dropout(self.widen(x).astype(x.dtype), train)
        return self.norm_3(x + self.dropout(self.narrow(inside).astype(x.dtype), train))


class DecoderLayers(nn.Module):
    """A stack of decoder layers."""

    count: int
    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.layer = [
            DecoderLayer(self.features, self.heads, self.hidden, self.noise) for _ in range(self.count)]

    def __call__(self, x: jax.Array, memory: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """The output for tokens [B, S, D], each of which attends to itself and those before it, and the
        attention weights of the last layer over the memory [B, N, S, K]."""
        mask, weights = jnp.tri(x.shape[1], dtype=bool), jnp.zeros(())
        for layer in self.layer:
            x, weights = layer(x, memory, mask, train)
        return x, weights

    def project_memory(self, memory: jax.Array) -> list[Any]:
        """The memory's keys and values in each layer."""
        return [layer.project_memory(memory) for layer in self.layer]

    def step(
        self, x: jax.Array, projected: Any, cache: Any, number: jax.Array, beam: int
    ) -> tuple[jax.Array, Any, jax.Array]:
        """`DecoderLayer.step` through all layers; the weights are those of the last."""
        caches, weights = [], jnp.zeros(())
        for layer, memory, own in zip(self.layer, projected, cache, strict=True):
            x, own, weights = layer.step(x, memory, own, number, beam)
            caches.append(own)
        return x, caches, weights


class Table(nn.Module):
    """A trainable table of embeddings, of shape [..., rows, D]:
    a vector of D for each class, or for each position."""

    shape: tuple[int, ...]
    deviation: float

    @nn.compact
    def __call__(self, rows: jax.Array) -> jax.Array:
        table = self.param('table', normal(self.deviation), self.shape)
        return table.reshape(self.shape[-2:]).at[rows].get(mode='clip')


class TransformerDecoder(nn.Module):
    """From a memory [B, K, D] and the classes so far to logits of the next class."""

    count: int
    features: int
    heads: int
    hidden: int
    noise: Noise
    tokens: int  # the most that there are positions for
    classes: int

    def setup(self) -> None:
        self.positions = Table((1, self.tokens, self.features), POSITIONS)
        self.embedding = Table((self.classes, self.features), 1.0)
        self.layers = DecoderLayers(self.count, self.features, self.heads, self.hidden, self.noise)
        self.output = Linear(self.classes)

    def __call__(self, memory: jax.Array, classes: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Logits [B, S, classes] of the class that follows each of the classes [B, S],
        and the attention weights [B, S, K]."""
        x = self.positions(jnp.arange(classes.shape[1])) + self.embedding(classes)
        x, weights = self.layers(x.astype(memory.dtype), memory, train)
        return self.output(x), weights.mean(1)

    def project_memory(self, memory: jax.Array) -> list[Any]:
        """The memory's keys and values in each layer, which are the same in every step."""
        return self.layers.project_memory(memory)

    def empty_cache(self, rows: Any, steps: int, dtype: Any) -> list[Any]:
        """An empty cache for each layer: keys [R, N, D / N, T] and
        values [R, N, T, D / N] of `steps` tokens."""
        depth = self.features // self.heads
        shapes = (rows, self.heads, depth, steps), (rows, self.heads, steps, depth)
        return [tuple(jnp.zeros(shape, dtype) for shape in shapes)] * self.count

    def step(
        self, projected: Any, cache: Any, classes: jax.Array, number: jax.Array, beam: int
    ) -> tuple[jax.Array, Any, jax.Array]:
        """Logits [R, classes] of the class that follows the class [R] at position `number` of each row and
        beam, the updated cache, and the attention weights [R, K]; `projected` comes from `project_memory`."""
        x = (self.positions(number) + self.embedding(classes)).astype(projected[0][0].dtype)
        x, cache, weights = self.layers.step(x, projected, cache, number, beam)
        return self.output(x), cache, weights.mean(1).reshape(-1, weights.shape[-1])
