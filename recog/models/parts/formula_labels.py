"""The labels of formulas in both directions of reading, as classes and places.

A class is a vocabulary id + 3; class 0 is padding, 1 the start of texts from left to right and the end of
those from right to left, 2 the end and the start. W ways, 1 or 2: the first is from left to right.
"""

import jax
import jax.numpy as jnp

from recog.models import Batch
from recog.models.parts.refined_decoder import PAD

STARTS, ENDS = (1, 2), (2, 1)  # of each way
OFFSET = 3


def targets(batch: Batch, ways: int) -> jax.Array:
    """The target class [B, W, L + 1] of each place: the label in the direction of each way, its end, and
    padding."""
    tokens, length = batch['tokens'], batch['length'][:, None]
    places = jnp.arange(tokens.shape[1] + 1)
    padded = jnp.pad(tokens, ((0, 0), (0, 1)), constant_values=-1) + OFFSET
    back = jnp.take_along_axis(padded, jnp.clip(length - 1 - places, 0), 1)
    each = [jnp.where(places < length, label, jnp.where(places == length, end, PAD))
            for label, end in zip((padded, back), ENDS, strict=True)]
    return jnp.stack(each[:ways], 1)


def inputs(wanted: jax.Array, length: jax.Array) -> jax.Array:
    """The input class [B, W, L + 1] of each place: the start of each way and the label, then padding."""
    ways, count = wanted.shape[1:]
    starts = jnp.array(STARTS[:ways])[:, None]
    shifted = jnp.concatenate(
        [jnp.broadcast_to(starts, (wanted.shape[0], ways, 1)), wanted[..., :-1]], -1)
    return jnp.where(jnp.arange(count) <= length[:, None, None], shifted, PAD)


def with_noise(classes: jax.Array, kinds: int, share: float, key: jax.Array) -> jax.Array:
    """The input classes with this share of the tokens replaced by random ones of all `kinds` of classes: a
    decoder that cannot trust what it has written looks at the image instead of remembering formulas."""
    chosen, other = jax.random.split(key)
    replaced = jax.random.bernoulli(chosen, share, classes.shape) & (classes >= OFFSET)
    return jnp.where(replaced, jax.random.randint(other, classes.shape, OFFSET, kinds), classes)


def counted_places(batch: Batch, count: int, ways: int, mask: bool, group: int) -> jax.Array:
    """The places [B, W, S] that the batch norm of the refinement sees: with `mask` those of each label and
    its end; otherwise, as in the reference, as many as the longest label of the batch, or of its group of
    `group` rows, has."""
    length = jnp.where(batch['weight'] > 0, batch['length'], 0)
    if not mask:
        rows = length.reshape(-1, min(group or length.shape[0], length.shape[0]))
        length = jnp.broadcast_to(rows.max(1, keepdims=True), rows.shape).reshape(-1)
    places = jnp.arange(count) <= length[:, None, None]
    return jnp.broadcast_to(places, (length.shape[0], ways, count))


def joined(stages: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The stages with the ways one after another, as in the reference: W x B rows; the attention is the mean
    over the heads."""
    def rows(stage: jax.Array) -> jax.Array:
        return stage.swapaxes(0, 1).reshape(-1, *stage.shape[2:])

    return stages | {name: rows(stages[name].mean(2) if name == 'attention' else stages[name])
                     for name in ('head', 'decoder', 'attention', 'judged') if name in stages}
