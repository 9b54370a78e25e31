"""CTC: its loss, the best path, and prefix beam search."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from recog.models import Batch
from recog.models.decoding import by_row

TINY = 1e-30  # as good as no probability


class Paths(NamedTuple):
    """Texts as classes [B, N, L], 0 after the end, with token probabilities and log-probabilities [B, N]."""

    classes: jax.Array
    token_confidence: jax.Array
    score: jax.Array


def best_path(frames: jax.Array) -> Paths:
    """Greedy decoding of log-probabilities [B, T, 1 + V]: the best class of each frame, without repeats and
    blanks.

    The score is that of the text in all its alignments; a token's probability is that of its first frame, as
    in the reference.
    """
    best, value = jnp.argmax(frames, -1), jnp.max(frames, -1)
    before = jnp.pad(best, ((0, 0), (1, 0)))[:, :-1]
    kept = (best != 0) & (best != before)
    places = jnp.arange(frames.shape[1])
    # A sum over a mask moves the kept frames to the front; unlike a scatter, it can be exported to every
    # format.
    moved = kept[:, :, None] & ((jnp.cumsum(kept, 1) - 1)[:, :, None] == places)
    classes = jnp.sum(jnp.where(moved, best[:, :, None], 0), 1)
    confidence = jnp.sum(jnp.where(moved, jnp.exp(value)[:, :, None], 0), 1)
    return Paths(classes[:, None], confidence[:, None], text_score(frames, classes)[:, None])


def text_score(frames: jax.Array, classes: jax.Array) -> jax.Array:
    """The log-probability [B] of texts [B, L], 0 after the end, summed over all their alignments."""
    there, places = classes > 0, jnp.arange(classes.shape[1])
    new = classes != jnp.pad(classes, ((0, 0), (1, 0)))[:, :-1]  # from the one before: no blank between
    chances = jnp.exp(frames)
    of_tokens = jnp.where(there[:, None], jnp.take_along_axis(chances, classes[:, None], 2), 0)
    of_new = jnp.where(new[:, None], of_tokens, 0)

    def advance(carry: tuple, frame: tuple) -> tuple[tuple, None]:
        # Probabilities of the first tokens with a blank after them [B, 1 + L] and without [B, L], and the
        # logarithm of what they were divided by.
        blanks, tokens, scale = carry
        blank, token, if_new = frame  # nothing from outside, which OpenVINO could not read
        before = jnp.pad(tokens, ((0, 0), (1, 0)))
        grown = (tokens + blanks[:, :-1]) * token + before[:, :-1] * if_new
        blanks = (blanks + before) * blank[:, None]
        most = jnp.maximum(jnp.maximum(blanks.max(1), grown.max(1)), TINY)
        return (blanks / most[:, None], grown / most[:, None], scale + jnp.log(most)), None

    nothing = jnp.zeros(classes.shape, frames.dtype)
    start = jnp.pad(nothing, ((0, 0), (1, 0)), constant_values=1), nothing, nothing[:, 0]
    by_frame = chances[:, :, 0].T, jnp.moveaxis(of_tokens, 1, 0), jnp.moveaxis(of_new, 1, 0)
    (blanks, tokens, scale), _ = lax.scan(advance, start, by_frame)
    end = there.sum(1, keepdims=True)
    total = jnp.where(jnp.arange(blanks.shape[1]) == end, blanks, 0).sum(1) + \
        jnp.where(places == end - 1, tokens, 0).sum(1)
    return scale + jnp.log(total)


class Beams(NamedTuple):
    """Prefixes [N, T], 0 after `length` [N], and the log-probabilities [N] of their alignments that
    end in a blank and in their last token."""

    prefix: jax.Array
    confidence: jax.Array
    length: jax.Array
    blank: jax.Array
    token: jax.Array


def prefix_beam(frames: jax.Array, beam: int) -> Paths:
    """The `beam` best texts of log-probabilities [B, T, 1 + V],
    each summed over the alignments that were kept."""
    return jax.vmap(partial(_prefix_beam, beam=beam))(frames)


def _prefix_beam(frames: jax.Array, beam: int) -> Paths:
    count = frames.shape[0]
    start = Beams(
        prefix=jnp.zeros((beam, count), jnp.int32),
        confidence=jnp.zeros((beam, count)),
        length=jnp.zeros(beam, jnp.int32),
        blank=jnp.full(beam, -jnp.inf).at[0].set(0.0),  # all but the empty prefix have probability 0
        token=jnp.full(beam, -jnp.inf),
    )
    beams, _ = lax.scan(lambda beams, frame: (_advance(beams, frame), None), start, frames)
    return Paths(beams.prefix, beams.confidence, jnp.logaddexp(beams.blank, beams.token))


def _advance(beams: Beams, frame: jax.Array) -> Beams:
    """The best beams after one more frame [1 + V]."""
    number, places = beams.length.shape[0], jnp.arange(beams.prefix.shape[1])
    is_last = places == beams.length[:, None] - 1
    last = jnp.sum(jnp.where(is_last, beams.prefix, 0), 1)  # 0 for the empty prefix
    total = jnp.logaddexp(beams.blank, beams.token)
    stay_token = jnp.where(beams.length > 0, beams.token + frame[last], -jnp.inf)
    # Extensions [N, V]: a repeated token needs a blank before it.
    classes = jnp.arange(1, frame.shape[0])
    grown = jnp.where(classes == last[:, None], beams.blank[:, None], total[:, None]) + frame[1:]

    # If prefix j is prefix i and one token, it takes over that extension of i. Prefixes of probability 0 are
    # left out, as they may be equal.
    parent = jnp.where(places < beams.length[:, None] - 1, beams.prefix, 0)
    same = (parent[:, None] == beams.prefix[None]).all(-1) & (beams.length[:, None] == beams.length[None] + 1)
    same = same & (total > -jnp.inf)[:, None] & (total > -jnp.inf)[None]  # [j, i]
    joined = jnp.max(jnp.where(same, grown[:, last - 1].T, -jnp.inf), 1)
    taken = (same[:, :, None] & (classes == last[:, None, None])).any(0)
    grown = jnp.where(taken, -jnp.inf, grown)

    blank, token = total + frame[0], jnp.logaddexp(stay_token, joined)
    # Where the path through the shorter prefix is more likely, the confidence of the last token is that of
    # this frame.
    newer = (joined > jnp.logaddexp(blank, stay_token))[:, None] & (places == beams.length[:, None] - 1)
    confidence = jnp.where(newer, jnp.exp(frame)[last][:, None], beams.confidence)

    scores = jnp.concatenate([jnp.logaddexp(blank, token)[:, None], grown], 1)  # [N, 1 + V], staying first
    best, chosen = lax.top_k(scores.reshape(-1), number)
    origin, added = chosen // frame.shape[0], chosen % frame.shape[0]
    stays, end = added == 0, beams.length[origin]
    here = ~stays[:, None] & (places == end[:, None])
    return Beams(
        prefix=jnp.where(here, added[:, None], beams.prefix[origin]),
        confidence=jnp.where(here, jnp.exp(frame)[added][:, None], confidence[origin]),
        length=end + ~stays,
        blank=jnp.where(stays, blank[origin], -jnp.inf),
        token=jnp.where(stays, token[origin], best),
    )


def finish(paths: Paths, frames: jax.Array, max_length: Any, details: bool) -> dict[str, jax.Array]:
    """The result of `decode`: texts cut at `max_length`, as vocabulary ids."""
    inside = (paths.classes > 0) & (jnp.arange(paths.classes.shape[-1]) < by_row(max_length, 3))
    length = inside.sum(-1, dtype=jnp.int32)
    token_confidence = jnp.where(inside, paths.token_confidence, 0)
    result = {
        'tokens': jnp.where(inside, paths.classes - 1, -1).astype(jnp.int32),
        'length': length,
        'score': paths.score,
        'mean_token': token_confidence.sum(-1) / jnp.maximum(length, 1),
    }
    return result | {'token_confidence': token_confidence, 'frames': jnp.exp(frames)} if details else result


def ctc_loss(logits: jax.Array, tokens: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
    """CTC loss [B] of logits [B, T, 1 + V] for tokens [B, L], and whether each label fits into the frames
    [B].

    The blank is class 0. A label that does not fit has loss and gradient 0, where optax gives 1e5 and a
    gradient.
    """
    valid = jnp.arange(tokens.shape[1]) < length[:, None]
    labels = jnp.where(valid, tokens + 1, 0)
    repeats = ((labels[:, 1:] == labels[:, :-1]) & valid[:, 1:]).sum(1)
    possible = length + repeats <= logits.shape[1]
    no_padding = jnp.zeros(logits.shape[:2], logits.dtype)
    losses = optax.ctc_loss(logits, no_padding, labels, (~valid).astype(logits.dtype))
    return jnp.where(possible, losses, 0), possible


def batch_loss(logits: jax.Array, batch: Batch) -> tuple[tuple[jax.Array, jax.Array], dict[str, jax.Array]]:
    """The weighted sum of a batch's losses and of its weights, and how many labels do not fit."""
    losses, possible = ctc_loss(logits, batch['tokens'], batch['length'])
    weight = batch['weight']
    total = jnp.sum(jnp.where(weight > 0, losses * weight, 0))
    return (total, weight.sum()), {'impossible': jnp.sum(jnp.where(possible, 0, weight))}


def texts(logits: jax.Array, max_length: Any, beam: int, details: bool) -> dict[str, jax.Array]:
    """The result of `decode`, by the best path or by prefix beam search."""
    frames = jax.nn.log_softmax(logits)
    return finish(best_path(frames) if beam == 1 else prefix_beam(frames, beam), frames, max_length, details)
