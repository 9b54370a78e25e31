"""A Transformer decoder layer of two streams: queries that are positions alone attend to the tokens that they
may see, and to a memory.

Yang et al., "XLNet" (2019), section 2.3, with one layer, so that the stream of the tokens is never updated; a
layer norm before each part. R rows of queries, of which several may share a row of the memory.
"""

from typing import Any

import flax.linen as nn
import jax

from recog.models.parts.transformer import Dense, Dropout, LayerNorm, Noise, gelu
from recog.models.parts.transformer_decoder import Attention, attend_cached
from recog.models.parts.vision_transformer import SMALL


class QueryDecoder(nn.Module):
    """From queries [R, S, D] to features [R, S, D] of what stands at these positions."""

    features: int
    heads: int
    hidden: int
    noise: Noise

    def setup(self) -> None:
        self.own = Attention(self.features, self.heads, self.noise, SMALL)
        self.cross = Attention(self.features, self.heads, self.noise, SMALL)
        self.widen, self.narrow = Dense(self.hidden, start=SMALL), Dense(self.features, start=SMALL)
        self.norm_query, self.norm_content, self.norm = LayerNorm(), LayerNorm(), LayerNorm()
        self.norm_1, self.norm_2 = LayerNorm(), LayerNorm()
        self.dropout = Dropout(self.noise)

    def project_memory(self, memory: jax.Array) -> tuple[jax.Array, ...]:
        """Keys [B, N, D / N, K] and values [B, N, K, D / N] of a memory [B, K, D]."""
        return tuple(self.cross.project(memory, 1, 3, memory.shape[1]))

    def __call__(self, queries: jax.Array, content: jax.Array, seen: jax.Array, memory: Any, train: bool,
                 shared: int) -> tuple[jax.Array, jax.Array]:
        """The features, and the attention weights [B, N, shared S, K] over a projected memory.

        `seen` [R or 1, S, L] says which tokens [R, L, D] a query may see; `shared` rows share one of memory.
        """
        length, tokens = queries.shape[1], content.shape[1]
        projected = (*self.own.project(self.norm_query(queries), 0, 1, length),
                     *self.own.project(self.norm_content(content), 1, 3, tokens))
        attended, _ = self.own.attend(projected, seen[:, None], train, queries.shape)
        return self._after(queries, attended, memory, train, shared * length)

    def step(self, query: jax.Array, content: jax.Array, memory: Any, cache: Any, number: jax.Array,
             beam: int) -> tuple[jax.Array, Any, jax.Array]:
        """The features [R, D] of one query, which sees the token [R, D] at position `number` and those before
        it, the updated cache of these, and the attention weights [B, N, beam, K]."""
        asked = self.own.project(self.norm_query(query), 0, 1, 1)[0]
        new = self.own.project(self.norm_content(content), 1, 3, 1)
        attended, *cache = attend_cached(asked, *new, *cache, number, scale=self.own.scale)
        attended = self.own.merge_heads(attended, query.shape)
        features, weights = self._after(query, attended, memory, False, beam)
        return features, tuple(cache), weights

    def _after(self, queries: jax.Array, attended: jax.Array, memory: Any, train: bool,
               tokens: int) -> tuple[jax.Array, jax.Array]:
        """The layer after the attention to tokens; so many queries share a row of the memory."""
        x = queries + self.dropout(attended, train)
        asked = self.cross.project(self.norm_1(x), 0, 1, tokens)
        attended, weights = self.cross.attend((*asked, *memory), None, train, x.shape)
        x = x + self.dropout(attended, train)
        inside = self.dropout(gelu(self.widen(self.norm_2(x))), train)
        return self.norm(x + self.dropout(self.narrow(inside), train)), weights
