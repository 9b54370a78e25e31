"""The head of TAMER that says at which place of a formula the parent of each of its tokens is written.

Zhu et al., "TAMER: Tree-Aware Transformer for Handwritten Mathematical Expression Recognition" (2024, arXiv
2408.08578), section 3. It sees the whole formula. R rows, S places.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.layers import Linear, product, uniform
from recog.models.parts.transformer import Dropout, LayerNorm, Noise
from recog.models.parts.transformer_decoder import Attention

MASKED = -1e9
WAYS = ('forwards', 'backwards')  # a head for each direction of reading


class TreeHead(nn.Module):
    """From the decoder's outputs [R, S, D] to similarities [R, S, S]: of each place to the place of the
    parent of its token."""

    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.own = Attention(self.features, self.heads, self.noise)
        self.widen, self.narrow = Linear(self.hidden), Linear(self.features)
        self.norm_1, self.norm_2 = LayerNorm(), LayerNorm()
        self.dropout, self.relu_dropout = Dropout(self.noise), Dropout(self.noise, relu=True)
        self.query, self.key = Linear(self.features), Linear(self.features)
        start = uniform(self.features**-0.5)
        self.similarity_kernel = self.param('similarity_kernel', start, (self.features, 1))
        # It adds the same to all places, so that nothing depends on it.
        self.similarity_bias = self.param('similarity_bias', start, (1,))

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """The similarities; very low for places that are not valid [R, S]."""
        queries, keys = self.encode(x, self.project(x), valid, train)
        return self.similar(queries, keys, valid)

    def project(self, x: jax.Array) -> list[jax.Array]:
        """Keys and values of the self-attention."""
        return self.own.project(x, 1, 3, x.shape[1])

    def encode(
        self, x: jax.Array, projected: Any, valid: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Queries and keys [R, Q, D] of some of the places, whose decoder outputs are [R, Q, D]."""
        query = self.own.project(x, 0, 1, x.shape[1])[0]
        attended, _ = self.own.attend((query, *projected), valid[:, None, None], train, x.shape)
        x = self.norm_1(x + self.dropout(attended, train))
        inside = self.relu_dropout(self.widen(x).astype(x.dtype), train)
        x = self.norm_2(x + self.dropout(self.narrow(inside).astype(x.dtype), train))
        return self.query(x).astype(x.dtype), self.key(x).astype(x.dtype)

    def similar(self, queries: jax.Array, keys: jax.Array, valid: jax.Array) -> jax.Array:
        """The similarities of queries [R, Q, D] to keys [R, S, D]."""
        inner = jax.nn.relu(queries[:, :, None] + keys[:, None])
        sums = product(inner, self.similarity_kernel)[..., 0] + lax.stop_gradient(self.similarity_bias)
        return jnp.where(valid[:, None], sums, MASKED)


class TreeHeads(nn.Module):
    """A head for each direction: outputs [B, W, S, D] to similarities [B, W, S, S]."""

    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.forwards = TreeHead(self.features, self.heads, self.hidden, self.noise)
        self.backwards = TreeHead(self.features, self.heads, self.hidden, self.noise)

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        each = (self.forwards, self.backwards)
        return jnp.stack([head(x[:, way], valid[:, way], train) for way, head in enumerate(each)], 1)


def mean_chance(
    head: TreeHead, parameters: Any, x: jax.Array, length: jax.Array, wanted: jax.Array
) -> jax.Array:
    """The mean log-probability [R] of the wanted places [R, S], where they are not -1, for outputs [R, S, D];
    0 if none is.

    It goes through the places up to the longest formula's end: all at once would take too much memory.
    """
    (rows, count, width), given = x.shape, {'params': parameters}
    valid, longest = jnp.arange(count) <= length[:, None], length.max()
    projected: Any = head.apply(given, x, method='project')

    def encode(carry: Any) -> Any:
        place, queries, keys = carry
        now = lax.dynamic_slice_in_dim(x, place, 1, 1)
        new: Any = head.apply(given, now, projected, valid, False, method='encode')
        return place + 1, *(lax.dynamic_update_slice_in_dim(old, each, place, 1)
                            for old, each in zip((queries, keys), new, strict=True))

    def unread(carry: Any) -> jax.Array:
        return carry[0] <= longest

    blank = jnp.zeros((rows, count, width), x.dtype)
    _, queries, keys = lax.while_loop(unread, encode, (jnp.int32(0), blank, blank))

    def measure(carry: Any) -> Any:
        place, total = carry
        now = lax.dynamic_slice_in_dim(queries, place, 1, 1)
        similar: Any = head.apply(given, now, keys, valid, method='similar')
        target = lax.dynamic_slice_in_dim(wanted, place, 1, 1)
        chance = jnp.take_along_axis(jax.nn.log_softmax(similar[:, 0]), jnp.maximum(target, 0), 1)
        return place + 1, total + jnp.where(target >= 0, chance, 0)[:, 0]

    _, total = lax.while_loop(unread, measure, (jnp.int32(0), jnp.zeros(rows)))
    return total / jnp.maximum((wanted >= 0).sum(1), 1)
