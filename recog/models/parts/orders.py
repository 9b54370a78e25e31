"""Orders in which the letters of a text are predicted, drawn on the device, for permutation language models.

An order is a rank for each place of a text of T letters: place 0 is the start, 1 to T are the letters, T + 1
is the end; what is predicted at a place may see the places of lower rank. The first order is forward, the
second its reversal, end first; then come pairs of a random order and its mirror, which both keep the end
last. Places after the end keep their number.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

# Texts this short have few orders. Of each mirrored pair one stands here, by its number in lexicographic
# order; forward is the first, and of the others pairs are drawn without repetition.
POOLS = {3: (0, 1, 2), 4: (0, 3, 4, 6, 9, 10, 12, 16, 17, 18, 19, 21)}
SHORT = max(POOLS)


def _pool(letters: int) -> np.ndarray:
    """The ranks [P, letters] of the letters in each order of a pool but forward."""
    every = list(itertools.permutations(range(letters)))
    return np.array([np.argsort(every[number]) + 1 for number in POOLS[letters][1:]], np.int32)


def plain(count: int, most: int, longest: jax.Array) -> jax.Array:
    """The ranks [1 or 2, most + 2] of forward and, if the `count` is above 1, its reversal.

    `longest` is T, at most `most`.
    """
    places = jnp.arange(most + 2)
    reversal = jnp.where((places > 0) & (places <= longest + 1), longest + 2 - places, places)
    return jnp.stack([places, reversal][:count])


def orders(key: jax.Array, count: int, most: int, longest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The ranks [count, most + 2] of so many orders, and which of them a text of so many letters has.

    The count is 1 or even.
    """
    first, pairs = plain(count, most, longest), count // 2 - 1
    size = jnp.where(longest == 1, 1, 2 * jnp.where(longest == 2, 1, jnp.where(longest == 3, 3, 12)))
    used = (jnp.arange(count) < size) | (longest > SHORT)
    if pairs < 1:
        return first, used
    letters = jnp.arange(1, most + 1)
    inside, drawing = letters <= longest, jax.random.split(key)
    # The numbers do not depend on the shape of the labels, and those of padding are sorted to the end.
    drawn = jnp.where(inside, jax.random.uniform(drawing[0], (pairs, most)), 2.0)
    ranks = jnp.argsort(jnp.argsort(drawn)) + 1
    for short in POOLS:
        pool = jnp.asarray(_pool(short))
        chosen = jnp.argsort(jax.random.uniform(drawing[1], pool.shape[:1]))
        few = pool[chosen[jnp.minimum(jnp.arange(pairs), len(pool) - 1)]]
        few = jnp.pad(few, ((0, 0), (0, max(most - short, 0))))[:, :most]
        ranks = jnp.where(longest == short, few, ranks)
    both = jnp.stack([ranks, longest + 1 - ranks], 1).reshape(2 * pairs, most)
    around = jnp.zeros((2 * pairs, 1), both.dtype), jnp.full((2 * pairs, 1), most + 1)
    whole = jnp.concatenate([around[0], jnp.where(inside, both, letters), around[1]], 1)
    return jnp.concatenate([first, whole]), used
