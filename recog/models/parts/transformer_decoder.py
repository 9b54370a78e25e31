"""The decoder of a Transformer: tokens that look at those before them and at a memory, all at once or one after the other.

Vaswani et al., "Attention Is All You Need" (2017), section 3, norms behind the sums; parameters, initial values and dropouts
are those of PyTorch's decoder layer. R rows or rows x beams, N heads, S tokens, T kept tokens, K cells of the memory.

Heads stand before tokens, and keys last, as a step's products want them: else it would turn all that is kept, each time.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.layers import Linear, normal, uniform, wide
from recog.models.parts.transformer import Dropout, LayerNorm, Noise

KEYS = 1  # of queries, keys and values, the second
POSITIONS = 0.02  # deviation of the positions before they have learnt


@partial(jax.jit, static_argnames=('scale',))
def kept_weights(query: jax.Array, keys: jax.Array, mask: jax.Array | None = None, *, scale: float) -> jax.Array:
    """Softmax of scaled products in float32, [R, N, S, D] and [R, N, D, K] -> [R, N, S, K]; the mask says where one may look."""
    scores = wide('rnsd,rndk->rnsk', query, keys) * scale
    return jax.nn.softmax(scores if mask is None else jnp.where(mask, scores, -1e9))


@jax.jit
def kept_weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Values [R, N, K, D] summed by their weights [R, N, S, K]: [R, N, S, D]."""
    return jnp.matmul(weights.astype(values.dtype), values)


@partial(jax.jit, static_argnames=('scale',))
def recalled(
    query: jax.Array, key: jax.Array, value: jax.Array, keys: jax.Array, values: jax.Array, number: jax.Array, *, scale: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the token of this number [R, N, 1, D] finds in itself and those before it, whose keys [R, N, D, T] and values
    [R, N, T, D] were kept, and both with its own. A function of its own, as ONNX has no need of room for tokens to come."""
    keys = lax.dynamic_update_slice_in_dim(keys, key, number, 3)
    values = lax.dynamic_update_slice_in_dim(values, value, number, 2)
    weights = kept_weights(query, keys, jnp.arange(keys.shape[3]) <= number, scale=scale)
    return kept_weighted(weights, values), keys, values


class Attention(nn.Module):
    """Attention of several heads; what makes queries, keys and values is one matrix."""

    features: int
    heads: int
    noise: Noise

    def setup(self) -> None:
        width, zeros = self.features, nn.initializers.zeros
        self.kernel_in = self.param('kernel_in', uniform((6 / (4 * width)) ** 0.5), (width, 3 * width))
        self.bias_in = self.param('bias_in', zeros, (3 * width,))
        self.kernel_out = self.param('kernel_out', uniform(width**-0.5), (width, width))
        self.bias_out = self.param('bias_out', zeros, (width,))
        self.dropout = Dropout(self.noise)

    def made(self, x: jax.Array, first: int, last: int, tokens: Any) -> list[jax.Array]:
        """Of queries [R, N, S, D / N], keys [R, N, D / N, S] and values, laid out as queries, those from `first` up to `last`."""
        part = slice(first * self.features, last * self.features)
        made = jnp.matmul(x, self.kernel_in[:, part].astype(x.dtype)) + self.bias_in[part].astype(x.dtype)
        shape = (-1, tokens, self.heads, self.features // self.heads)
        parts = [each.reshape(shape).swapaxes(1, 2) for each in jnp.split(made, last - first, -1)]
        return [each.swapaxes(2, 3) if kind == KEYS else each for kind, each in enumerate(parts, first)]

    def look(self, made: Sequence[jax.Array], mask: jax.Array | None, train: bool, shape: Any) -> tuple[jax.Array, jax.Array]:
        """What queries find in keys and values, in the shape of the tokens, and by which weights [R, N, S, K]."""
        queries, keys, values = made
        weights = kept_weights(queries, keys, mask, scale=self.scale)
        return self.told(kept_weighted(self.dropout(weights, train), values), shape), weights

    def recall(self, x: jax.Array, cache: Any, number: jax.Array) -> tuple[jax.Array, Any]:
        """What one token of each row [R, D] finds in itself and those before it, and these with it."""
        query, *new = self.made(x, 0, 3, 1)
        found, *cache = recalled(query, *new, *cache, number, scale=self.scale)
        return self.told(found, x.shape), tuple(cache)

    def browse(self, x: jax.Array, memory: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """What tokens [B, S, D] find in a memory [B, K, D], and by which weights [B, N, S, K], without its keys and values.

        Where tokens are few, it takes less to bring their queries to the memory, and what they find back.
        """
        queries, depth = self.made(x, 0, 1, x.shape[1])[0], self.features // self.heads
        to_keys, to_values = (kernel.reshape(-1, self.heads, depth).astype(x.dtype)
                              for kernel in jnp.split(self.kernel_in, 3, -1)[1:])
        # All heads' queries [B, N S, D] are rows side by side. The keys' bias says the same to all cells, and is left out.
        sought = jnp.einsum('bnsd,end->bnse', queries, to_keys).reshape(x.shape[0], -1, x.shape[-1])
        weights = jax.nn.softmax(wide('bqe,bke->bqk', sought, memory) * self.scale)
        taken = self.dropout(weights, train)
        shape = (x.shape[0], self.heads, x.shape[1], -1)
        found = jnp.matmul(taken.astype(x.dtype), memory).reshape(shape)
        bias = self.bias_in[2 * self.features :].reshape(self.heads, 1, depth) * taken.sum(-1).reshape(shape)
        found = jnp.einsum('bnse,end->bnsd', found, to_values) + bias.astype(x.dtype)
        return self.told(found, x.shape), weights.reshape(shape)

    def told(self, found: jax.Array, shape: Any) -> jax.Array:
        """What heads have found [R, N, S, D / N], together, in the shape of the tokens."""
        found = found.swapaxes(1, 2).reshape(shape)
        return jnp.matmul(found, self.kernel_out.astype(found.dtype)) + self.bias_out.astype(found.dtype)

    @property
    def scale(self) -> float:
        """Of the products of queries and keys."""
        return (self.features // self.heads) ** -0.5


class Layer(nn.Module):
    """Attention to the tokens so far, attention to the memory, and feed-forward, each with a norm behind its sum."""

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

    def remember(self, memory: jax.Array) -> tuple[jax.Array, ...]:
        """Keys [B, N, D / N, K] and values [B, N, K, D / N] of a memory [B, K, D]."""
        return tuple(self.cross.made(memory, 1, 3, memory.shape[1]))

    def __call__(self, x: jax.Array, memory: jax.Array, mask: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Tokens [B, S, D] all at once, and how they look at a memory [B, K, D]."""
        found, _ = self.own.look(self.own.made(x, 0, 3, x.shape[1]), mask, train, x.shape)
        x = self.norm_1(x + self.dropout(found, train))
        if x.shape[1] * (self.heads - 1) < self.features:
            found, weights = self.cross.browse(x, memory, train)
        else:
            found, weights = self.consult(x, self.remember(memory), train, x.shape[1])
        return self.after(x, found, train), weights

    def step(self, x: jax.Array, kept: Any, cache: Any, number: jax.Array, beam: int) -> tuple[jax.Array, Any, jax.Array]:
        """One token of each row and beam [R, D], what is kept of the memory, and of the tokens before this number."""
        found, cache = self.own.recall(x, cache, number)
        x = self.norm_1(x + found)
        # The beams of a row share its memory: there they are tokens side by side.
        found, weights = self.consult(x, kept, False, beam)
        return self.after(x, found, False), cache, weights

    def consult(self, x: jax.Array, kept: Any, train: bool, tokens: Any) -> tuple[jax.Array, jax.Array]:
        """What tokens find in a memory that so many of them share, by its keys and values, and by which weights."""
        return self.cross.look((*self.cross.made(x, 0, 1, tokens), *kept), None, train, x.shape)

    def after(self, x: jax.Array, found: jax.Array, train: bool) -> jax.Array:
        """The layer behind what was found in the memory."""
        x = self.norm_2(x + self.dropout(found, train))
        inside = self.relu_dropout(self.widen(x).astype(x.dtype), train)
        return self.norm_3(x + self.dropout(self.narrow(inside).astype(x.dtype), train))


class Layers(nn.Module):
    """Layers on one another."""

    count: int
    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.layer = [Layer(self.features, self.heads, self.hidden, self.noise) for _ in range(self.count)]

    def __call__(self, x: jax.Array, memory: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Tokens [B, S, D], each looking at itself and those before it, and the weights of the last layer [B, N, S, K]."""
        mask, weights = jnp.tri(x.shape[1], dtype=bool), jnp.zeros(())
        for layer in self.layer:
            x, weights = layer(x, memory, mask, train)
        return x, weights

    def remember(self, memory: jax.Array) -> list[Any]:
        return [layer.remember(memory) for layer in self.layer]

    def step(self, x: jax.Array, kept: Any, cache: Any, number: jax.Array, beam: int) -> tuple[jax.Array, Any, jax.Array]:
        after, weights = [], jnp.zeros(())
        for layer, mine, own in zip(self.layer, kept, cache, strict=True):
            x, own, weights = layer.step(x, mine, own, number, beam)
            after.append(own)
        return x, after, weights


class Table(nn.Module):
    """Numbers that learn, of the shape [..., rows, D]: D for each class, or for each place."""

    shape: tuple[int, ...]
    deviation: float

    @nn.compact
    def __call__(self, rows: jax.Array) -> jax.Array:
        table = self.param('table', normal(self.deviation), self.shape)
        return table.reshape(self.shape[-2:]).at[rows].get(mode='clip')


class Decoder(nn.Module):
    """From a memory [B, K, D] and the classes read so far to logits of the next ones."""

    count: int
    features: int
    heads: int
    hidden: int
    noise: Noise
    places: int  # that tokens can have
    classes: int

    def setup(self) -> None:
        self.positions = Table((1, self.places, self.features), POSITIONS)
        self.embedding = Table((self.classes, self.features), 1.0)
        self.layers = Layers(self.count, self.features, self.heads, self.hidden, self.noise)
        self.output = Linear(self.classes)

    def __call__(self, memory: jax.Array, classes: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Logits [B, S, classes] behind each of the classes [B, S], and where it looks [B, S, K]."""
        x = self.positions(jnp.arange(classes.shape[1])) + self.embedding(classes)
        x, weights = self.layers(x.astype(memory.dtype), memory, train)
        return self.output(x), weights.mean(1)

    def remember(self, memory: jax.Array) -> list[Any]:
        """What no step changes: the memory's keys and values in each layer."""
        return self.layers.remember(memory)

    def empty(self, rows: Any, steps: int, dtype: Any) -> list[Any]:
        """Room for the keys [R, N, D / N, T] and values [R, N, T, D / N] of so many tokens in each layer."""
        depth = self.features // self.heads
        shapes = (rows, self.heads, depth, steps), (rows, self.heads, steps, depth)
        return [tuple(jnp.zeros(shape, dtype) for shape in shapes)] * self.count

    def step(
        self, kept: Any, cache: Any, classes: jax.Array, number: jax.Array, beam: int
    ) -> tuple[jax.Array, Any, jax.Array]:
        """Logits [R, classes] behind the class [R] that each row and beam reads as its token of this number, the cache after
        it, and where it looks [R, K]; of the memory as of `remember`."""
        x = (self.positions(number) + self.embedding(classes)).astype(kept[0][0].dtype)
        x, cache, weights = self.layers.step(x, kept, cache, number, beam)
        return self.output(x), cache, weights.mean(1).reshape(-1, weights.shape[-1])
