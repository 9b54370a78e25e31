"""Autoregressive decoding, greedy or by beam search, with the step function of any model: on the device,
batched, until all texts end.

A step is `step(state, classes [R]) -> (log-probabilities [R, K], state[, map])` for R = rows x beams, with
the beams of a row side by side. Every array of the state and of the map has R as its leading axis, except
scalars, such as a step counter, which all beams share. What the beams of a row share in all steps, such as
the output of an encoder, belongs in the closure of the step. A class that is neither a token nor the end must
have probability 0, or be outside of `Codes`, which leaves it out of the text.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.decoding import by_row


class Codes(NamedTuple):
    """What the classes mean: a class is a vocabulary id + `offset`, for ids below `size`;
    all other classes are not tokens."""

    start: int
    end: int
    offset: int
    size: int

    def is_token(self, classes: jax.Array) -> jax.Array:
        """Which classes stand for a token."""
        return (classes >= self.offset) & (classes < self.offset + self.size)


class Beams(NamedTuple):
    """The state of each beam [B, N]: its last class, log-probability, number of tokens, number of classes
    before it ended, and whether it has ended."""

    last: jax.Array
    total: jax.Array
    tokens: jax.Array
    classes: jax.Array
    done: jax.Array


class Record(NamedTuple):
    """The choice of each step [S, B, N]: a class, its probability, the beam that it continues (if there are
    several), and the step's map [S, B, N, ...]."""

    classes: jax.Array
    probability: jax.Array
    origin: Any
    maps: Any


def search(
    step: Callable[..., Any],
    state: Any,
    codes: Codes,
    *,
    rows: Any,
    capacity: int,
    max_length: Any,
    beam: int = 1,
    penalty: float = 0.0,
    stop: bool = True,
    details: bool = False,
) -> dict[str, jax.Array]:
    """The `beam` most likely texts of each row, best first, as a model's `decode` returns them; with details
    also `maps` [B, N, L, ...].

    `state` is the state of the rows before the first step. At most `capacity` steps are taken. A text is done
    at the end class or at `max_length` tokens (of all rows, or of its own), and the search stops when all are
    done. With `stop` off, as in some reference implementations, the end is left out of the text and decoding
    goes on. Texts are ranked by log-probability / classes ** penalty, where the end counts as a class; their
    score is the log-probability itself.
    """
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, beam, 0) if leaf.ndim else leaf, state)
    shape = (rows, beam)
    # Only the first beam of each row starts with a probability above 0: several would stay copies of one
    # another.
    first_alive = jnp.where(jnp.arange(beam) > 0, -jnp.inf, jnp.zeros(shape))
    none = jnp.zeros(shape, jnp.int32)
    start = jnp.full(shape, codes.start, jnp.int32)
    max_length = by_row(max_length, 2)
    beams = Beams(start, first_alive, none, none, jnp.full(shape, max_length < 1))
    record = _empty_record(step, repeated, codes, shape, capacity, details)

    def unfinished(carry: Any) -> jax.Array:
        number, beams, _, _ = carry
        return (number < capacity) & ~beams.done.all()

    def advance(carry: Any) -> Any:
        number, beams, state, record = carry
        frame, state, *maps = step(state, beams.last.reshape(-1))
        frame = frame.reshape(*shape, -1)
        beams, origin, probability = _choose(beams, frame, codes, max_length, penalty, stop)
        if beam > 1:
            state = jax.tree.map(lambda leaf: reordered(leaf, origin) if leaf.ndim else leaf, state)
        by_beam = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), maps[0] if details else ())
        now = Record(beams.last, probability, origin, by_beam)
        record = jax.tree.map(
            lambda steps, new: lax.dynamic_update_index_in_dim(steps, new, number, 0), record, now)
        return number + 1, beams, state, record

    _, beams, _, record = lax.while_loop(unfinished, advance, (jnp.int32(0), beams, repeated, record))
    return _texts(_traced_back(record) if beam > 1 else record, beams, codes, details)


def _empty_record(
    step: Callable, state: Any, codes: Codes, shape: tuple[Any, int], capacity: int, details: bool
) -> Record:
    """The record before the first step, filled with ends."""
    maps: Any = ()
    if details:
        classes = jnp.full(shape, codes.start).reshape(-1)
        like = jax.eval_shape(step, state, classes)[2]
        maps = jax.tree.map(lambda leaf: jnp.zeros((capacity, *shape, *leaf.shape[1:]), leaf.dtype), like)
    own = jnp.broadcast_to(jnp.arange(shape[1]), (capacity, *shape)) if shape[1] > 1 else None
    ends = jnp.full((capacity, *shape), codes.end, jnp.int32)
    return Record(ends, jnp.zeros((capacity, *shape)), own, maps)


def _choose(
    beams: Beams, frame: jax.Array, codes: Codes, max_length: Any, penalty: float, stop: bool
) -> tuple[Beams, Any, jax.Array]:
    """The best beams after a step with log-probabilities [B, N, K], the beam that each continues (None if
    there is one beam), and the probability of its new class."""
    (_, number, kinds), classes = frame.shape, jnp.arange(frame.shape[-1])
    # A text that is done continues with ends of probability 1.
    frame = jnp.where(beams.done[..., None], jnp.where(classes == codes.end, 0.0, -jnp.inf), frame)
    length = beams.classes + ~beams.done
    origin: Any = None
    if number == 1:  # the log-probability so far is the same for all classes
        last, score, done, tokens = jnp.argmax(frame, -1), frame.max(-1), beams.done, beams.tokens
        total = beams.total + score
    else:
        totals = beams.total[..., None] + frame
        rank = totals / length[..., None].astype(totals.dtype) ** penalty if penalty else totals
        chosen = lax.top_k(rank.reshape(rank.shape[0], -1), number)[1]
        origin, last = chosen // kinds, chosen % kinds
        total, score = (
            jnp.take_along_axis(leaf.reshape(leaf.shape[0], -1), chosen, 1) for leaf in (totals, frame))
        done, tokens, length = (
            jnp.take_along_axis(leaf, origin, 1) for leaf in (beams.done, beams.tokens, length))
    tokens = tokens + codes.is_token(last)
    after = Beams(last.astype(jnp.int32), total, tokens, length,
                  done | (tokens >= max_length) | ((last == codes.end) & stop))
    return after, origin, jnp.where(done, 0.0, jnp.exp(score))


def reordered(leaf: jax.Array, origin: jax.Array) -> jax.Array:
    """An array [R, ...] over rows x beams in which each beam has the values
    of its `origin` [B, N] in the same row."""
    count, number = origin.shape
    return leaf.at[(jnp.arange(count)[:, None] * number + origin).reshape(-1)].get(mode='promise_in_bounds')


def _traced_back(record: Record) -> Record:
    """The record along the path of each final beam."""

    def back(place: jax.Array, now: Record) -> tuple[jax.Array, Record]:
        def along(leaf: jax.Array, place: jax.Array) -> jax.Array:
            return jnp.take_along_axis(leaf, place.reshape(*place.shape, *[1] * (leaf.ndim - 2)), 1)

        origin = along(now.origin, place)
        # A map belongs to the beam that took the step, before the choice.
        maps = jax.tree.map(lambda leaf: along(leaf, origin), now.maps)
        return origin, Record(along(now.classes, place), along(now.probability, place), origin, maps)

    number = record.origin.shape[-1]
    last = jnp.broadcast_to(jnp.arange(number), record.origin.shape[1:])
    return lax.scan(back, last, record, reverse=True)[1]


def _texts(record: Record, beams: Beams, codes: Codes, details: bool) -> dict[str, jax.Array]:
    """The result of `decode`: the classes that stand for tokens, moved to the front, as vocabulary ids."""
    classes, probability = (jnp.moveaxis(leaf, 0, 2) for leaf in (record.classes, record.probability))
    # A beam whose probability stayed 0 has no text.
    kept = codes.is_token(classes) & (beams.total > -jnp.inf)[..., None]
    length, places = kept.sum(-1, dtype=jnp.int32), jnp.arange(classes.shape[-1])
    # A sum over a mask moves the tokens to the front; unlike a scatter, it can be exported to every format.
    moved = kept[..., None] & ((jnp.cumsum(kept, -1) - 1)[..., None] == places)  # [B, N, S, L]
    tokens = jnp.sum(jnp.where(moved, (classes - codes.offset)[..., None], 0), 2)
    token_confidence = jnp.sum(jnp.where(moved, probability[..., None], 0), 2)
    result = {
        'tokens': jnp.where(places < length[..., None], tokens, -1).astype(jnp.int32),
        'length': length,
        'score': beams.total,
        'mean_token': token_confidence.sum(-1) / jnp.maximum(length, 1),
    }
    if details:
        move, exact = moved.astype(jnp.float32), lax.Precision.HIGHEST
        maps = jax.tree.map(
            lambda leaf: jnp.einsum('bnsl,sbn...->bnl...', move, leaf, precision=exact), record.maps)
        result |= {'token_confidence': token_confidence, 'maps': maps}
    return result
