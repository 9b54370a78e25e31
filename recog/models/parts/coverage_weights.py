"""Attention with coverage, the sum of its past weights: a step of it, and all steps of a training in turn,
with a gradient that is written by hand.

Letters are those of `coverage_attention`; S is the number of steps.
"""

import math
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.dtypes import float0

from recog.models.parts.layers import einsum32, product

PARTS = range(6, 13)  # steps that training may take at a time
MASKED_SCORE = -1e30  # of padding cells; finite, so that a row without any cell stays finite


class Memory(NamedTuple):
    """What is the same in every step: the features [B, h, w, D], their keys with positions [B, h, w, A], the
    mask [B, h, w] of the cells inside the image, the counts' contribution to each step's output [B, E], and
    the coverage kernel [n n, A]."""

    features: jax.Array
    keys: jax.Array
    cells: jax.Array
    counts_term: jax.Array
    coverage_kernel: jax.Array


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def patches(x: jax.Array, reach: int) -> jax.Array:
    """The patch of reach x reach cells around each cell, [B, h, w] -> [B, h, w, reach reach], with zeros
    beyond the border.

    Patches times a kernel are a one-channel convolution, but the gradient takes a CPU a twentieth of the
    time. The gradient is a gather too, since scattered sums have no fixed order on GPUs.
    """
    batch, height, width = x.shape
    flat, places = _with_border(x[..., None], reach).reshape(batch, -1), _patch_places(height, width, reach)
    return jnp.take(flat, places, axis=1, mode='clip').reshape(batch, height, width, reach * reach)


def _patches_forward(x: jax.Array, reach: int) -> tuple[jax.Array, None]:
    return patches(x, reach), None


def _patches_backward(reach: int, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    batch, height, width, taps = gradient.shape
    flat = _with_border(gradient, reach).reshape(batch, -1)
    # If cell b is at some place of the patch of cell a, then a is at the opposite place of the patch of b.
    places = _patch_places(height, width, reach)[:, ::-1] * taps + jnp.arange(taps)
    return (jnp.take(flat, places, axis=1, mode='clip').sum(-1).reshape(batch, height, width),)


patches.defvjp(_patches_forward, _patches_backward)


def _with_border(x: jax.Array, reach: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (reach // 2, reach // 2), (reach // 2, reach // 2), (0, 0)))


def _patch_places(height: Any, width: Any, reach: int) -> jax.Array:
    """The indices of each cell's patch [h w, reach reach] in the flattened map with its border."""
    rows = jnp.arange(height)[:, None, None, None] + jnp.arange(reach)[:, None]
    columns = jnp.arange(width)[:, None, None] + jnp.arange(reach)
    return (rows * (width + reach - 1) + columns).reshape(height * width, reach * reach)


@jax.jit
def coverage_weights(
    memory: Memory, energy_kernel: jax.Array, query: jax.Array, coverage: jax.Array
) -> jax.Array:
    """Attention weights [B, N, h, w] over the cells for queries [B, N, A] and coverage [B, N, h, w].

    Before the exponential, the reference subtracts the largest score of the whole batch, padding included;
    here it is the largest of each image. The weights are the same, but cannot overflow or vanish. The bias of
    the energy is left out: it is equal for all cells and cancels.
    """
    dtype, shape = memory.features.dtype, coverage.shape
    reach = math.isqrt(memory.coverage_kernel.shape[0])
    around = patches(coverage.reshape(-1, *shape[2:]), reach).reshape(*shape, reach * reach)
    # The largest array of a step, kept in the narrow dtype.
    covered = jnp.matmul(around.astype(dtype), memory.coverage_kernel)
    inner = jnp.tanh(covered + memory.keys[:, None] + query[:, :, None, None]).astype(dtype)
    # On accelerators the product is a sum, which XLA fuses with its operands.
    scores = lax.platform_dependent(
        inner, energy_kernel, cpu=lambda *given: product(*given)[..., 0],
        default=lambda inner, kernel: jnp.sum(inner * kernel[:, 0], -1, dtype=jnp.float32))
    scores = jnp.where(memory.cells[:, None], scores, MASKED_SCORE)
    scores = scores - lax.stop_gradient(scores.max((2, 3), keepdims=True))
    powers = jnp.where(memory.cells[:, None], jnp.exp(scores), 0)
    return powers / (powers.sum((2, 3), keepdims=True) + 1e-10)


@jax.custom_vjp
def coverage_weights_by_step(
    memory: Memory, energy_kernel: jax.Array, queries: jax.Array, count: jax.Array
) -> jax.Array:
    """Attention weights [S, B, h, w] of all steps in turn, for queries [S, B, A];
    zeros from step `count` on."""
    return _by_step_forward(memory, energy_kernel, queries, count)[0]


def _by_step_forward(
    memory: Memory, energy_kernel: jax.Array, queries: jax.Array, count: jax.Array
) -> tuple[jax.Array, Any]:
    attend = partial(coverage_weights, memory, energy_kernel)

    def skipping(number: jax.Array, query: jax.Array, coverage: jax.Array) -> jax.Array:
        return lax.cond(
            number < count, attend, lambda query, coverage: jnp.zeros_like(coverage), query, coverage)

    def masking(number: jax.Array, query: jax.Array, coverage: jax.Array) -> jax.Array:
        return jnp.where(number < count, attend(query, coverage), 0)

    def step(coverage: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Any]:
        # On accelerators, each `cond` would wait for the host.
        weights = lax.platform_dependent(now[0], now[1][:, None], coverage, cpu=skipping, default=masking)
        return coverage + weights, (weights[:, 0], coverage[:, 0])

    coverage = jnp.zeros((queries.shape[1], 1, *memory.cells.shape[1:]))
    steps = jnp.arange(queries.shape[0]), queries
    weights, coverage = _in_parts(partial(lax.scan, step), coverage, steps, count)[1]
    return weights, (memory, energy_kernel, queries, count, weights, coverage)


def _in_parts(run: Any, start: Any, steps: Any, count: jax.Array, *, reverse: bool = False) -> Any:
    """`run(carry, steps)` -> (carry, outputs) as `lax.scan` gives them, some steps at a time; from step
    `count` on, the carry stays and outputs are zeros.

    A part that no label of the batch reaches costs nothing, and only the arrays of one part are in memory.
    """
    total = jax.tree.leaves(steps)[0].shape[0]
    size = min(PARTS, key=lambda size: (-total % size, -size)) if total > max(PARTS) else total
    number = -(-total // size)

    def cut(leaf: jax.Array) -> jax.Array:
        padded = jnp.pad(leaf, [(0, number * size - total)] + [(0, 0)] * (leaf.ndim - 1))
        return padded.reshape(number, size, *leaf.shape[1:])

    def part(carry: Any, now: Any) -> Any:
        first, steps = now
        shapes = jax.eval_shape(run, carry, steps)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return lax.cond(first < count, run, lambda carry, _: (carry, zeros), carry, steps)

    firsts = jnp.arange(number) * size
    carry, outputs = lax.scan(part, start, (firsts, jax.tree.map(cut, steps)), reverse=reverse)
    return carry, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:total], outputs)


def _by_step_backward(kept: Any, gradient: jax.Array) -> tuple[Memory, jax.Array, jax.Array, None]:
    """Written by hand, because only the gradient of the coverage is passed from step to step:
    the rest is computed for all steps of a part at once."""
    memory, energy_kernel, queries, count, weights, coverage = kept
    rows, (taps, width), cells = coverage.shape[1], memory.coverage_kernel.shape, coverage[0, 0].size
    # Sums of each row: those over rows would be reduced over the devices in every part.
    sums = [jnp.zeros((rows, *shape)) for shape in ((cells, width), (taps, width), (width,))]
    start = jnp.zeros_like(coverage[0]), sums
    steps = gradient, weights, coverage, queries
    run = partial(_part_backward, memory, energy_kernel)
    (_, (to_keys, to_kernel, to_energy)), to_queries = _in_parts(run, start, steps, count, reverse=True)
    dtype = memory.features.dtype
    to_memory = Memory(jnp.zeros_like(memory.features), to_keys.astype(dtype).reshape(memory.keys.shape),
                       jnp.zeros(memory.cells.shape, float0), jnp.zeros_like(memory.counts_term),
                       to_kernel.sum(0).astype(dtype))
    return to_memory, to_energy.sum(0)[:, None], to_queries, None


def _part_backward(memory: Memory, energy_kernel: jax.Array, carry: Any, steps: Any) -> Any:
    """The gradients of some steps: of the coverage before them and, added to those of the steps after them,
    of keys, coverage kernel and energy; and those of their queries."""
    (to_coverage, (to_keys, to_kernel, to_energy)), (gradient, weights, coverage, queries) = carry, steps
    reach, dtype = math.isqrt(memory.coverage_kernel.shape[0]), memory.features.dtype
    (count, rows, *size), taps = coverage.shape, memory.coverage_kernel.shape[0]
    around = patches(coverage.reshape(-1, *size), reach).reshape(count, rows, -1, taps)
    keys = memory.keys.reshape(rows, -1, memory.keys.shape[-1])
    covered = jnp.matmul(around.astype(dtype), memory.coverage_kernel)
    inner = jnp.tanh(covered + keys + queries[:, :, None]).astype(dtype)
    # Derivatives of the scores by the argument of tanh. Without the barrier, XLA keeps these two arrays in
    # float32, and they are the largest of all.
    slopes = (1 - jnp.square(inner)) * energy_kernel[:, 0].astype(dtype)
    inner, slopes = lax.optimization_barrier((inner, slopes))
    to_around = einsum32('sbca,ka->sbck', slopes, memory.coverage_kernel).reshape(count, rows, *size, taps)

    def step(to_coverage: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
        given, weights, to_around = now
        to_weights = given + to_coverage
        to_scores = weights * (to_weights - jnp.sum(weights * to_weights, (1, 2), keepdims=True))
        return to_coverage + _patches_backward(reach, None, to_scores[..., None] * to_around)[0], to_scores

    to_coverage, to_scores = lax.scan(step, to_coverage, (gradient, weights, to_around), reverse=True)
    to_scores = to_scores.reshape(*around.shape[:3], 1)
    to_inner = to_scores * slopes
    # Term by term: XLA's sum over the first axis takes a CPU ten times as long.
    sums = [reduce(jnp.add, to_inner, to_keys),
            to_kernel + einsum32('sbck,sbca->bka', (around * to_scores).astype(dtype), slopes),
            to_energy + jnp.sum(to_scores * inner, (0, 2))]
    return (to_coverage, sums), to_inner.sum(2)


coverage_weights_by_step.defvjp(_by_step_forward, _by_step_backward)
