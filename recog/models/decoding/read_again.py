"""Texts that a model has written, read by it again: in the other direction, to score them by both, and for
the maps of its attention.

Letters are those of `both_ways`; H texts are read of each image, in the order in which they stand.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.decoding.both_ways import Texts, Ways, search

REFUSED = -1e9  # the score of texts that a judge refuses


def turned(texts: Texts) -> Texts:
    """The texts from the last class to the first."""
    places = jnp.clip(texts.length[..., None] - 1 - jnp.arange(texts.classes.shape[-1]), 0)
    classes, probability = (
        jnp.take_along_axis(each, places, -1) for each in (texts.classes, texts.probability))
    return Texts(classes, probability, texts.length, texts.score)


class Read(NamedTuple):
    """Given texts as the model reads them: the log-probability of each with its end, and by place what the
    decoder puts out [T + 1, ...], the attention, and the probability of each class."""

    total: jax.Array
    outputs: Any
    maps: Any
    probability: Any


def read_texts(
    step: Callable[..., Any], state: Any, classes: jax.Array, length: jax.Array, starts: jax.Array,
    ends: jax.Array, keep: tuple[str, ...] = (),
) -> Read:
    """Texts [B, H, T] of these lengths read a token at a time, until all have ended; `state` is that of B x H
    rows, and each text has a start and an end class [H]. `keep` names what is wanted: `outputs`, `maps`."""
    batch, texts, capacity = classes.shape
    starts = jnp.broadcast_to(starts, length.shape)
    wanted = jnp.where(jnp.arange(capacity + 1) < length[..., None],
                       jnp.pad(classes, ((0, 0), (0, 0), (0, 1))), ends[:, None])
    given = jnp.concatenate([starts[..., None], wanted[..., :-1]], -1)
    kept = {}
    if keep:
        like = jax.eval_shape(lambda *now: step(*now, texts), state, given[..., 0].reshape(-1))
        kept = {name: jnp.zeros((capacity + 1, *leaf.shape), leaf.dtype)
                for name, leaf in (('outputs', like[2]), ('maps', like[3])) if name in keep}

    def advance(carry: Any) -> Any:
        number, state, total, probability, kept = carry
        now = lax.dynamic_index_in_dim(given, number, 2, keepdims=False)
        frame, state, outputs, maps = step(state, now.reshape(-1), texts)
        target = lax.dynamic_index_in_dim(wanted, number, 2, keepdims=False)
        chance = jnp.take_along_axis(frame.reshape(batch, texts, -1), target[..., None], -1)[..., 0]
        here = jnp.arange(capacity + 1) == number
        given_now = {'outputs': outputs, 'maps': maps}
        kept = {name: lax.dynamic_update_index_in_dim(leaf, given_now[name], number, 0)
                for name, leaf in kept.items()}
        return (number + 1, state, total + jnp.where(number <= length, chance, 0),
                jnp.where(here, jnp.exp(chance)[..., None], probability), kept)

    longest, zeros = length.max(), jnp.zeros(length.shape)
    carry = jnp.int32(0), state, zeros, jnp.zeros((batch, texts, capacity + 1)), kept
    _, _, total, probability, kept = lax.while_loop(lambda carry: carry[0] <= longest, advance, carry)
    return Read(total, kept.get('outputs'), kept.get('maps'), probability)


class Judged(NamedTuple):
    """What a judge says of texts [B, H]: what is added to their scores, and which are refused."""

    score: jax.Array
    refused: jax.Array


def best_texts(
    step: Callable[..., Any], empty: Callable[[int], Any], ways: Ways, *, rows: Any, capacity: int,
    max_length: Any, beam: int, penalty: float, judge: Callable[..., Judged] | None = None,
    details: bool = False,
) -> dict[str, jax.Array]:
    """The `beam` best texts of each image by the sum of their scores in each direction, as a model's `decode`
    returns them.

    `empty` is the state of so many texts of each image before the first step. A judge is given all texts
    [B, H, T] from left to right, their lengths, and the decoder's outputs [B, H, T + 1, ...] when it reads
    them from left to right and from right to left.
    """
    count = len(ways.ends)
    found = search(step, empty(count * beam), ways, rows=rows, capacity=capacity, max_length=max_length,
                   beam=beam, penalty=penalty)
    texts, score = scored(step, empty, ways, found, penalty, judge)
    chosen = lax.top_k(score, beam)[1]

    def taken(leaf: jax.Array) -> jax.Array:
        return jnp.take_along_axis(leaf, chosen.reshape(*chosen.shape, *[1] * (leaf.ndim - 2)), 1)

    return _result(step, empty, ways, jax.tree.map(taken, texts), taken(score), details)


def scored(
    step: Callable[..., Any], empty: Callable[[int], Any], ways: Ways, found: Texts, penalty: float,
    judge: Callable[..., Judged] | None = None,
) -> tuple[Texts, jax.Array]:
    """All texts [B, H, T] from left to right, those of the first way first, and their scores [B, H]."""
    forwards = jax.tree.map(lambda leaf: leaf[:, 0], found)
    if len(ways.ends) == 1:
        return forwards, forwards.score
    backwards = turned(jax.tree.map(lambda leaf: leaf[:, 1], found))
    texts = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), forwards, backwards)
    back, (half, number) = turned(texts), (forwards.score.shape[1], texts.score.shape[1])
    # As each way did not write it; with a judge, as both ways read it.
    orders = [(back, 0, half, 1), (texts, half, number, 0)]
    if judge is not None:
        orders = [(texts, 0, number, 0), (back, 0, number, 1)]
    classes, length = (jnp.concatenate([leaf[:, first:last] for leaf, first, last in given], 1) for given in (
        [(each.classes, first, last) for each, first, last, _ in orders],
        [(each.length, first, last) for each, first, last, _ in orders]))
    starts, ends = (jnp.concatenate([jnp.full(last - first, each[way]) for _, first, last, way in orders])
                    for each in (ways.starts, ways.ends))
    keep = () if judge is None else ('outputs',)
    read = read_texts(step, empty(classes.shape[1]), classes, length, starts, ends, keep)
    total = read.total
    if judge is not None:
        total = jnp.concatenate([total[:, number : number + half], total[:, half:number]], 1)
    score = texts.score + total / (texts.length + 1).astype(total.dtype) ** penalty
    if judge is None:
        return texts, score
    outputs = read.outputs.reshape(read.outputs.shape[0], *classes.shape[:2], -1)
    outputs = jnp.moveaxis(outputs, 0, 2)
    said = judge(texts.classes, texts.length, outputs[:, :number], outputs[:, number:])
    score = jnp.where(said.refused, REFUSED, score + said.score)
    return texts, jnp.where(texts.score > -jnp.inf, score, -jnp.inf)


def _result(
    step: Callable[..., Any], empty: Callable[[int], Any], ways: Ways, texts: Texts, score: jax.Array,
    details: bool,
) -> dict[str, jax.Array]:
    """The result of `decode` for the best texts."""
    inside = jnp.arange(texts.classes.shape[-1]) < texts.length[..., None]
    confidence = jnp.where(inside, texts.probability, 0)
    result = {
        'tokens': jnp.where(inside, texts.classes - ways.offset, -1).astype(jnp.int32),
        'length': texts.length.astype(jnp.int32),
        'score': score,
        'mean_token': confidence.sum(-1) / jnp.maximum(texts.length, 1),
    }
    if details:
        beam = score.shape[1]
        start, end = (jnp.full(beam, each[0]) for each in (ways.starts, ways.ends))
        read = read_texts(step, empty(beam), texts.classes, texts.length, start, end, ('maps',))
        maps = read.maps[:-1].reshape(read.maps.shape[0] - 1, *score.shape, *read.maps.shape[2:])
        result |= {'token_confidence': confidence,
                   'attention': jnp.where(inside[..., None, None], jnp.moveaxis(maps, 0, 2), 0)}
    return result
