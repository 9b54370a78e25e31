"""Decoding of models that predict all positions of a text at once, where the first end ends the text.

Class 0 is the end; a class is a vocabulary id + 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.decoding import by_row

NO_TEXT = -1e30  # the score of a beam that has no text of its own


def finish(logits: jax.Array, max_length: Any, maps: jax.Array) -> dict[str, jax.Array]:
    """The result of `decode` with details: the most likely class of each position, up to the first end.

    Logits are [B, N, L, 1 + V], maps [B, N, L, ...]. The score is that of the tokens and the end, or of all
    positions where there is none.
    """
    chances = jax.nn.log_softmax(logits)
    classes, value = jnp.argmax(chances, -1), chances.max(-1)
    ends = jnp.cumsum(classes == 0, -1)
    token = (ends == 0) & (jnp.arange(logits.shape[-2]) < by_row(max_length, 3))
    counted = ends - (classes == 0) == 0
    confidence, length = jnp.where(token, jnp.exp(value), 0), token.sum(-1, dtype=jnp.int32)
    over = token.reshape(*token.shape, *[1] * (maps.ndim - 3))
    return {
        'tokens': jnp.where(token, classes - 1, -1).astype(jnp.int32),
        'length': length,
        'score': jnp.where(counted, value, 0).sum(-1),
        'mean_token': confidence.sum(-1) / jnp.maximum(length, 1),
        'token_confidence': confidence,
        'attention': jnp.where(over, maps, 0),
    }


def ranked(result: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The beams of each row, best first; of equal texts only the best is kept, and others have no text."""
    tokens, score = result['tokens'], result['score']
    place = jnp.arange(score.shape[1])
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)
    better = (score[:, None] > score[:, :, None]) | (
        (score[:, None] == score[:, :, None]) & (place < place[:, None]))
    repeated = (same & better).any(-1)
    none = {'tokens': -1, 'score': NO_TEXT}
    chosen = lax.top_k(jnp.where(repeated, NO_TEXT, score), score.shape[1])[1]

    def sorted_(name: str, leaf: jax.Array) -> jax.Array:
        shape = (*score.shape, *[1] * (leaf.ndim - 2))
        kept = jnp.where(repeated.reshape(shape), jnp.asarray(none.get(name, 0), leaf.dtype), leaf)
        return jnp.take_along_axis(kept, chosen.reshape(shape), 1)

    return {name: sorted_(name, leaf) for name, leaf in result.items()}
