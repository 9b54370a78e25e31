"""Digests of arrays that do not depend on how they are sharded: sums, computed where the shards are.

On devices a program is compiled for each shape, so small arrays, which are many and which every process holds
whole, are summed by NumPy.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint32}
SMALL = 2 ** 14  # elements
SALTS = np.uint32(1), np.uint32(0x9E3779B9)


def digests(tree: Any) -> dict[str, str]:
    """Sixteen hexadecimal digits for each leaf, by its path; every process must ask, and all get the same."""
    leaves = {name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
    words = jax.device_get({path: leaf if _small(leaf) else _on_devices(leaf)
                            for path, leaf in leaves.items()})
    words |= {path: _here(words[path]) for path, leaf in leaves.items() if _small(leaf)}
    return {path: f'{int(first):08x}{int(second):08x}' for path, (first, second) in words.items()}


def name(path: Any) -> str:
    """A leaf's path as 'params/head/kernel'."""
    return jax.tree_util.keystr(path, simple=True, separator='/')


def _small(leaf: Any) -> bool:
    return leaf.size <= SMALL and (not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
                                   or leaf.is_fully_replicated)


def _here(leaf: np.ndarray) -> list[Any]:
    """The sums of an array in memory."""
    leaf = np.ascontiguousarray(leaf)
    bits = leaf.reshape(-1).view(WORDS[leaf.dtype.itemsize]).astype(np.uint32)
    place = np.arange(bits.size, dtype=np.uint32)
    return [_mix(bits ^ _mix(place + salt)).sum(dtype=np.uint32) for salt in SALTS]


def _on_devices(leaf: Any) -> jax.Array:
    layout = getattr(leaf, 'sharding', None)
    everywhere = NamedSharding(layout.mesh, PartitionSpec()) if isinstance(layout, NamedSharding) else None
    return _compiled(everywhere)(leaf)


@functools.cache
def _compiled(everywhere: NamedSharding | None) -> Any:
    return jax.jit(_sums, out_shardings=everywhere)


def _sums(leaf: jax.Array) -> jax.Array:
    """Two sums of all elements' bits, each mixed with its place: one flipped bit always changes them."""
    bits = jax.lax.bitcast_convert_type(jnp.asarray(leaf), WORDS[leaf.dtype.itemsize]).astype(jnp.uint32)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    return jnp.stack([_mix(bits ^ _mix(place + salt)).sum(dtype=jnp.uint32) for salt in SALTS])


def _mix(word: Any) -> Any:
    """A one-to-one scrambling of 32 bits (the last steps of MurmurHash3)."""
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
