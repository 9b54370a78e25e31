"""Beam search in one or both directions of reading, with a list of finished texts.

Of each image and way, the search keeps a number of growing texts and as many finished ones, ranked by
log-probability / length ** penalty. A way is done when none of its growing texts can do better than its worst
finished one.
All on the device, batched. B images, W ways, N beams, T steps, K classes; a step is `step(state, classes [R],
texts) -> (log-probabilities [R, K], state, ...)` for R = B x texts rows.

Zhao et al., "Handwritten Mathematical Expression Recognition with Bidirectionally Trained Transformer" (2021,
arXiv 2105.02412), section 3.4; the list is that of the reference implementation of CoMER.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.decoding import by_row
from recog.models.decoding.search import reordered


class Ways(NamedTuple):
    """The class that texts of each way start with, and the one that ends them; other classes below `offset`
    are never written."""

    starts: Sequence[int]
    ends: Sequence[int]
    offset: int


class Texts(NamedTuple):
    """Texts in the order in which they were written: classes [..., T], the probability of each, the length,
    and the score by which they are ranked, -inf where there is no text."""

    classes: jax.Array
    probability: jax.Array
    length: jax.Array
    score: jax.Array


class Growing(NamedTuple):
    """Texts that have not ended: their classes [B, W, N, T], the probability of each, the last class, and the
    log-probability [B, W, N]."""

    classes: jax.Array
    probability: jax.Array
    last: jax.Array
    total: jax.Array


class Carry(NamedTuple):
    """The search between two steps; `turn` [B, W, N] says when each finished text came to the list."""

    number: jax.Array
    growing: Growing
    finished: Texts
    turn: jax.Array
    done: jax.Array
    state: Any


def search(
    step: Callable[..., Any], state: Any, ways: Ways, *, rows: Any, capacity: int, max_length: Any, beam: int,
    penalty: float = 1.0, early: bool = False,
) -> Texts:
    """The finished texts [B, W, N, T] of each image and way, in the order in which they were finished.

    `state` is that of B x W x N rows before the first step. At `max_length` tokens the growing texts count as
    finished. With `early`, a way is done as soon as it has N finished texts.
    """
    shape = (rows, len(ways.ends), beam)
    limit = jnp.minimum(by_row(max_length, 2), capacity)

    def unfinished(carry: Carry) -> jax.Array:
        return jnp.any(~carry.done & (carry.number < limit))

    def advance(carry: Carry) -> Carry:
        frame, state = step(carry.state, carry.growing.last.reshape(-1), shape[1] * beam)[:2]
        frame = _allowed(frame.reshape(*shape, -1), ways)
        scores, origin, classes = _candidates(carry.growing.total, frame)
        still = ~carry.done & (carry.number < limit)
        ended = classes == jnp.array(ways.ends)[:, None]
        length = (carry.number + 1).astype(scores.dtype) ** penalty
        entering = jnp.where((ended & still[..., None])[..., :beam], scores[..., :beam] / length, -jnp.inf)
        finished, turn = _entered(
            carry.finished, carry.turn, carry.growing, entering, origin[..., :beam], carry.number)
        grown, origin = _grown(carry, frame, scores, origin, classes, ended)
        growing = jax.tree.map(
            lambda new, old: jnp.where(still.reshape(*still.shape, *[1] * (new.ndim - 2)), new, old),
            grown, carry.growing)
        worst, best = finished.score.min(-1), growing.total.max(-1) / length
        done = carry.done | (still & (worst > -jnp.inf) & (early | (worst >= best)))
        origin = origin.reshape(-1, beam)
        state = jax.tree.map(lambda leaf: reordered(leaf, origin) if leaf.ndim else leaf, state)
        return Carry(carry.number + 1, growing, finished, turn, done, state)

    end = lax.while_loop(unfinished, advance, _start(shape, ways, capacity, state))
    length = (jnp.broadcast_to(limit, shape[:2]) + 1)[..., None].astype(jnp.float32)
    left = jnp.where(end.done[..., None], -jnp.inf, end.growing.total / length**penalty)
    own = jnp.broadcast_to(jnp.arange(beam), shape)
    finished, turn = _entered(end.finished, end.turn, end.growing, left, own, limit)
    # Where there is no text comes last.
    later = jnp.where(finished.score > -jnp.inf, turn.astype(jnp.float32), jnp.inf)
    order = lax.top_k(-later, beam)[1]
    return jax.tree.map(lambda leaf: _along(leaf, order), finished)


def _start(shape: tuple[Any, int, int], ways: Ways, capacity: int, state: Any) -> Carry:
    """Before the first step: only the first beam of each way starts with a probability above 0."""
    none, blank = jnp.zeros(shape, jnp.int32), jnp.zeros((*shape, capacity), jnp.int32)
    last = jnp.broadcast_to(jnp.array(ways.starts, jnp.int32)[:, None], shape)
    alone = jnp.where(jnp.arange(shape[2]) > 0, -jnp.inf, jnp.zeros(shape))
    growing = Growing(blank, jnp.zeros(blank.shape), last, alone)
    finished = Texts(blank, growing.probability, none, jnp.full(shape, -jnp.inf))
    return Carry(jnp.int32(0), growing, finished, none, jnp.zeros(shape[:2], bool), state)


def _allowed(frame: jax.Array, ways: Ways) -> jax.Array:
    """Log-probabilities [B, W, N, K] without the classes that are not written."""
    classes = jnp.arange(frame.shape[-1])
    written = (classes >= ways.offset) | (classes == jnp.array(ways.ends)[:, None])
    return jnp.where(written[:, None], frame, -jnp.inf)


def _candidates(total: jax.Array, frame: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The 2 N best continuations: their log-probabilities, the beams that they continue, their classes."""
    (batch, ways, beam, kinds) = frame.shape
    totals = (total[..., None] + frame).reshape(batch, ways, -1)
    scores, chosen = lax.top_k(totals, min(2 * beam, beam * kinds))
    return scores, chosen // kinds, chosen % kinds


def _grown(
    carry: Carry, frame: jax.Array, scores: jax.Array, origin: jax.Array, classes: jax.Array, ended: jax.Array
) -> tuple[Growing, jax.Array]:
    """The first N continuations that have not ended, and the beams that they continue."""
    count = scores.shape[-1]
    rank = -jnp.arange(count, dtype=jnp.float32) - jnp.where(ended, count, 0)
    chosen = lax.top_k(rank, frame.shape[2])[1]
    # If there are too few classes, an end may be among them: it goes nowhere.
    scores = jnp.where(ended, -jnp.inf, scores)
    scores, origin, classes = (_along(each, chosen) for each in (scores, origin, classes))
    texts, old = _along(carry.growing.classes, origin), _along(carry.growing.probability, origin)
    kinds = frame.shape[-1]
    flat = frame.reshape(*frame.shape[:2], -1)
    new = jnp.exp(jnp.take_along_axis(flat, origin * kinds + classes, -1))
    here = jnp.arange(texts.shape[-1]) == carry.number
    return Growing(jnp.where(here, classes[..., None], texts), jnp.where(here, new[..., None], old),
                   classes.astype(jnp.int32), scores), origin


def _entered(
    finished: Texts, turn: jax.Array, growing: Growing, scores: jax.Array, origin: jax.Array, length: Any
) -> tuple[Texts, jax.Array]:
    """The list after growing texts of these scores [B, W, M], -inf for none, have come to it in turn: each,
    as long as it is not full, and then those that are better than the worst, which leaves."""
    beam, places = finished.score.shape[-1], jnp.arange(finished.score.shape[-1])
    score, source = finished.score, jnp.full(finished.score.shape, -1)
    last = turn.max(-1)
    for rank in range(scores.shape[-1]):
        new, worst = scores[..., rank], score.min(-1)
        oldest = jnp.where(score == worst[..., None], turn, jnp.iinfo(jnp.int32).max)
        place = (places == jnp.argmin(oldest, -1)[..., None]) & (new > worst)[..., None]
        score = jnp.where(place, new[..., None], score)
        turn = jnp.where(place, (last + rank + 1)[..., None], turn)
        source = jnp.where(place, origin[..., rank, None], source)
    came, source = source >= 0, jnp.clip(source, 0, beam - 1)
    length = jnp.broadcast_to(by_row(length, 2), score.shape[:2])[..., None]
    taken = Texts(_along(growing.classes, source), _along(growing.probability, source), length, score)
    return jax.tree.map(
        lambda new, old: jnp.where(came.reshape(*came.shape, *[1] * (new.ndim - 3)), new, old)
        if new.ndim > 3 else jnp.where(came, new, old), taken, finished), turn


def _along(leaf: jax.Array, chosen: jax.Array) -> jax.Array:
    """The chosen [B, W, M] of the third axis of an array [B, W, N, ...]."""
    return jnp.take_along_axis(leaf, chosen.reshape(*chosen.shape, *[1] * (leaf.ndim - 3)), 2)
