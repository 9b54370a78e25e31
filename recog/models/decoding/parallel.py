"""Decoding of models that predict all positions of a text at once, independently.

There are V + 2 classes: the vocabulary ids, then `sos`, which no text has, then the end, which fills all
positions after a text.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.decoding import by_row


def log_probabilities(logits: jax.Array, skip_ends: bool) -> jax.Array:
    """Log-probabilities [B, L, V + 2] of each position; unless ends are skipped, `sos` has probability 0."""
    values = jax.nn.log_softmax(logits)
    sos = jnp.arange(values.shape[-1]) == values.shape[-1] - 2
    return values if skip_ends else jnp.where(sos, -jnp.inf, values)


def best_texts(log_probs: jax.Array, beam: int) -> jax.Array:
    """Classes [B, N, L]: the most likely of each position or, with a beam, the N most likely texts,
    each filled up with ends."""
    if beam == 1:
        return jnp.argmax(log_probs, -1)[:, None]
    return jax.vmap(partial(_likeliest, beam=beam))(log_probs)


def _likeliest(log_probs: jax.Array, beam: int) -> jax.Array:
    """The most likely texts, exactly: positions are independent, so the best texts of a length
    extend the best of the length before."""
    length, classes = log_probs.shape
    letters, end = classes - 2, classes - 1
    ends = jnp.cumsum(log_probs[::-1, end])[::-1]  # from this position to the last

    def merge(finished: Any, texts: jax.Array, scores: jax.Array) -> Any:
        scores, chosen = lax.top_k(jnp.concatenate([finished[1], scores]), beam)
        return jnp.concatenate([finished[0], texts])[chosen], scores

    def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
        (texts, scores), finished = carry
        finished = merge(finished, texts, scores + ends[number])
        scores, chosen = lax.top_k((scores[:, None] + log_probs[number, :letters]).reshape(-1), beam)
        texts = jnp.where(jnp.arange(length) == number, (chosen % letters)[:, None], texts[chosen // letters])
        return ((texts, scores), finished), None

    blank, none = jnp.full((beam, length), end), jnp.full(beam, -jnp.inf)
    (growing, finished), _ = lax.scan(step, ((blank, none.at[0].set(0.0)), (blank, none)), jnp.arange(length))
    return merge(finished, *growing)[0]


def finish(
    classes: jax.Array, log_probs: jax.Array, max_length: Any, skip_ends: bool, maps: jax.Array
) -> dict[str, jax.Array]:
    """The result of `decode` with details: classes [B, N, L] cut at the first end, or with all ends skipped,
    and cut at `max_length`.

    The score is that of the text with ends in all positions after it.
    """
    number, length = log_probs.shape[-1], log_probs.shape[-2]
    token = classes < number - 2
    chosen = jnp.where(classes[..., None] == jnp.arange(number), log_probs[:, None], 0).sum(-1)
    if not skip_ends:
        token = jnp.cumsum(~token, -1) == 0
        chosen = jnp.where(token, chosen, log_probs[:, None, :, -1])
    order = jnp.cumsum(token, -1) - 1
    token = token & (order < by_row(max_length, 3))
    # A sum over a mask moves the tokens to the front; unlike a scatter, it can be exported to every format.
    moved = token[..., None] & (order[..., None] == jnp.arange(length))  # [B, N, from, to]
    confidence = jnp.where(moved, jnp.exp(chosen)[..., None], 0).sum(-2)
    count = token.sum(-1, dtype=jnp.int32)
    return {
        'tokens': (jnp.where(moved, classes[..., None] + 1, 0).sum(-2) - 1).astype(jnp.int32),
        'length': count,
        'score': chosen.sum(-1),
        'mean_token': confidence.sum(-1) / jnp.maximum(count, 1),
        'token_confidence': confidence,
        'attention': jnp.einsum(
            'bnij,bihw->bnjhw', moved.astype(maps.dtype), maps, precision=lax.Precision.HIGHEST),
    }
