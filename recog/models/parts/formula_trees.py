"""The trees of formulas: which token each symbol stands beside, above, below or within, found on the device.

The rules are those of TAMER's implementation, which are narrower than LaTeX's: scripts need braces, `_` comes
before `^`, and only `\\frac` and `\\sqrt` have parts. On a row each symbol's parent is the symbol before it;
the first symbol of a group has the group's owner. A brace without a partner opens a group that ends one token
before its row does, and is then read once more as a symbol of the row.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

NONE = -1  # no parent
READINGS = 4  # how often a token is read at most, in the mean; beyond that a formula is refused


class Signs(NamedTuple):
    """The ids of the tokens that shape a tree, -2 if the vocabulary lacks one."""

    opening: int
    closing: int
    left: int  # brackets
    right: int
    below: int
    above: int
    fraction: int
    root: int


def signs(tokens: Any) -> Signs:
    """Those of a vocabulary."""
    ids = {token: number for number, token in enumerate(tokens)}
    return Signs(*(ids.get(token, -2) for token in ('{', '}', '[', ']', '_', '^', r'\frac', r'\sqrt')))


class Rows(NamedTuple):
    """What is left to read of each formula [R]: rows of symbols on a stack [R, D] of `size` [R], each with
    its first place, its end and the owner of its first symbol; and what has been found."""

    first: jax.Array
    end: jax.Array
    owner: jax.Array
    size: jax.Array
    parent: jax.Array  # [R, T]
    refused: jax.Array
    steps: jax.Array


def parents(tokens: jax.Array, length: jax.Array, signs: Signs) -> tuple[jax.Array, jax.Array]:
    """The place of each token's parent [R, T] for ids [R, T] and lengths [R], and which formulas are refused:
    those whose owner of a group is not followed by one."""
    count = tokens.shape[1]
    tokens = jnp.where(jnp.arange(count) < length[:, None], tokens, -1)
    braces = _partners(tokens, signs.opening, signs.closing)
    brackets = _partners(tokens, signs.left, signs.right)
    most, depth = READINGS * count + 8, 2 * count
    blank = jnp.zeros((tokens.shape[0], depth), jnp.int32)
    start = Rows(blank, jnp.where(jnp.arange(depth) == 0, length[:, None], 0), blank + NONE,
                 (length > 0).astype(jnp.int32), jnp.full(tokens.shape, NONE), length < 0, jnp.int32(0))

    def unread(rows: Rows) -> jax.Array:
        return jnp.any((rows.size > 0) & ~rows.refused) & (rows.steps < most)

    def read(rows: Rows) -> Rows:
        return _read(rows, tokens, braces, brackets, signs)

    end = lax.while_loop(unread, read, start)
    return end.parent, end.refused | (end.size > 0)


def _partners(tokens: jax.Array, opening: int, closing: int) -> jax.Array:
    """The place of the sign that closes what each token opens [R, T]; T where there is none."""
    count = tokens.shape[1]
    level = jnp.cumsum((tokens == opening).astype(jnp.int32) - (tokens == closing), 1)
    places = jnp.arange(count)
    closes = (places > places[:, None]) & (level[:, None] == level[:, :, None] - 1)
    return jnp.where(closes, places, count).min(-1)


def _at(values: jax.Array, place: jax.Array) -> jax.Array:
    """The values [R, T] at places [R]; 0 beyond."""
    return jnp.where(jnp.arange(values.shape[1]) == place[:, None], values, 0).sum(1)


def _read(rows: Rows, tokens: jax.Array, braces: jax.Array, brackets: jax.Array, signs: Signs) -> Rows:
    """The next symbol of each formula, with the groups that it owns."""
    reading = (rows.size > 0) & ~rows.refused
    top = rows.size - 1
    place, end, owner = (_at(each, top) for each in (rows.first, rows.end, rows.owner))
    here = (jnp.arange(tokens.shape[1]) == place[:, None]) & reading[:, None]
    parent = jnp.where(here, owner[:, None], rows.parent)
    sign, after = _at(tokens, place), _next(tokens, place + 1, end)
    fraction, root = sign == signs.fraction, sign == signs.root
    script = ~fraction & ~root
    below = script & (after == signs.below)
    index = root & (after == signs.left)
    one, missing_one, place_two = _group(
        tokens, jnp.where(index[:, None], brackets, braces), place + 1 + below, end, fraction | below | index,
        jnp.where(index, signs.left, signs.opening))
    above = script & (_next(tokens, place_two, end) == signs.above)
    two, missing_two, rest = _group(
        tokens, braces, place_two + above, end, fraction | root | above, signs.opening)
    size, firsts, ends, owners = top, rows.first, rows.end, rows.owner
    for first, last in ((rest, end), two, one):
        there = (jnp.arange(firsts.shape[1]) == size[:, None]) & (reading & (first < last))[:, None]
        firsts, ends, owners = (jnp.where(there, new[:, None], old) for new, old in (
            (first, firsts), (last, ends), (place, owners)))
        size = size + (first < last)
    refused = rows.refused | (reading & (missing_one | missing_two | (size > firsts.shape[1])))
    size = jnp.where(reading, size, rows.size)
    return Rows(firsts, ends, owners, size, parent, refused, rows.steps + 1)


def _next(tokens: jax.Array, place: jax.Array, end: jax.Array) -> jax.Array:
    """The tokens at these places of rows that end there; -1 beyond."""
    return jnp.where(place < end, _at(tokens, place), -1)


def _group(
    tokens: jax.Array, partners: jax.Array, place: jax.Array, end: jax.Array, wanted: jax.Array, opening: Any
) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
    """The first place and the end of the group that opens at a place, if one is wanted there; whether it is
    missing; and the place after it."""
    missing = wanted & (_next(tokens, place, end) != opening)
    partner = _at(partners, place)
    closed = partner < end
    first = jnp.where(wanted, place + 1, 0)
    last = jnp.where(wanted, jnp.where(closed, partner, end - 1), 0)
    return (first, last), missing, jnp.where(wanted & closed, partner + 1, place)


def tree_targets(
    parent: jax.Array, refused: jax.Array, length: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """At which place [R, T + 1] of the formula the parent of each is written, read from left to right and
    from right to left; -1: it has none, or is not counted. That of the end is the last token that was read.
    """
    places, count = jnp.arange(parent.shape[1] + 1), length[:, None]
    parent = jnp.where(refused[:, None], NONE, jnp.pad(parent, ((0, 0), (0, 1)), constant_values=NONE))
    back = jnp.take_along_axis(parent, jnp.clip(count - 1 - places, 0), 1)
    back = jnp.where(back >= 0, count - 1 - back, NONE)
    last = jnp.where(places == count, count - 1, NONE)
    return jnp.where(places < count, parent, last), jnp.where(places < count, back, last)
