"""The decoder of CAN: a GRU over tokens, attention that remembers where it has looked, and the counts of the symbols.

Li et al., "When Counting Meets HMER: Counting-Aware Network for Handwritten Mathematical Expression Recognition" (2022), section
3.4, after Zhang et al., "Watch, attend and parse" (2017); cell, positions and initial values follow the reference implementation.
K classes, E the width of tokens and state, A of the attention, D of the features, n x n the reach of the coverage.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.dtypes import float0

from recog.models.parts.layers import normal, product, uniform, wide
from recog.models.parts.recurrence import gru, grus
from recog.models.parts.transformer import dropped

Parameters = Mapping[str, jax.Array]
TEMPERATURE = 10_000.0
NOWHERE = -1e30  # the score of what is no image; finite, so that an image without cells stays finite


class Memory(NamedTuple):
    """What no step changes: the features [B, h, w, D], their projection with positions [B, h, w, A], which cells [B, h, w] are
    image, what the counts add to each step's answer [B, E], and the coverage's kernel [n n, A]."""

    features: jax.Array
    keys: jax.Array
    cells: jax.Array
    counted: jax.Array
    coverage: jax.Array


class Decoder(nn.Module):
    """The parameters of the decoder, which the functions below read; matrices start Xavier uniform."""

    hidden: int
    attention: int
    coverage: int
    classes: int
    counting: bool

    @nn.compact
    def __call__(self, width: int) -> dict[str, jax.Array]:
        xavier, zeros, fan = nn.initializers.xavier_uniform(), nn.initializers.zeros, uniform(self.hidden**-0.5)
        hidden, attention, classes, reach = self.hidden, self.attention, self.classes, self.coverage
        parameters = {
            'embedding': self.param('embedding', xavier, (classes, hidden)),
            'kernel_ih': self.param('kernel_ih', fan, (hidden, 3 * hidden)), 'bias_ih': self.param('bias_ih', fan, (3 * hidden,)),
            'kernel_hh': self.param('kernel_hh', fan, (hidden, 3 * hidden)), 'bias_hh': self.param('bias_hh', fan, (3 * hidden,)),
            'coverage_kernel': self.param('coverage_kernel', normal((2 / reach**2) ** 0.5), (reach, reach, 1, attention)),
            'coverage_mix': self.param('coverage_mix', xavier, (attention, attention)),
            'keys_kernel': self.param('keys_kernel', normal((2 / width) ** 0.5), (1, 1, width, attention)),
            'keys_bias': self.param('keys_bias', zeros, (attention,)),
        }
        shapes = {'start': (width, hidden), 'query': (hidden, attention), 'energy': (attention, 1), 'state': (hidden, hidden),
                  'token': (hidden, hidden), 'context': (width, hidden), 'classes': (hidden, classes)}
        shapes |= {'counts': (classes, hidden)} if self.counting else {}
        for name, shape in shapes.items():
            parameters[f'{name}_kernel'] = self.param(f'{name}_kernel', xavier, shape)
            parameters[f'{name}_bias'] = self.param(f'{name}_bias', zeros, shape[1:])
        return parameters


def linear(parameters: Parameters, name: str, x: jax.Array, dtype: Any) -> jax.Array:
    """The product with the kernel of that name, in `dtype`, and its bias, float32 in the end."""
    return product(x.astype(dtype), parameters[f'{name}_kernel']) + parameters[f'{name}_bias']


def positions(cells: jax.Array, width: int) -> jax.Array:
    """Sines and cosines [B, h, w, width] of each cell's row, then of its column, as shares of the image's own cells [B, h, w]."""
    depth = width // 2
    rate = TEMPERATURE ** (2 * (jnp.arange(depth) // 2) / depth)
    parts = []
    for axis in (1, 2):
        number = cells.any(3 - axis).sum(1)[:, None]  # rows or columns of each image
        angle = (jnp.arange(cells.shape[axis]) + 1) / (number + 1e-6) * 2 * math.pi
        angle = angle[..., None] / rate
        waves = jnp.where(jnp.arange(depth) % 2 == 0, jnp.sin(angle), jnp.cos(angle))
        parts.append(jnp.broadcast_to(jnp.expand_dims(waves, 3 - axis), (*cells.shape, depth)))
    return jnp.concatenate(parts, -1)


def remember(
    parameters: Parameters, features: jax.Array, cells: jax.Array, counts: jax.Array | None
) -> tuple[Memory, jax.Array]:
    """The memory of features [B, h, w, D], their cells [B, h, w] and counts [B, K], and the state [B, E] before all steps."""
    dtype = features.dtype
    keys = product(features, parameters['keys_kernel'][0, 0]) + parameters['keys_bias']
    keys = keys + positions(cells, keys.shape[-1])
    total = jnp.sum(jnp.where(cells[..., None], features, 0), (1, 2), dtype=jnp.float32)
    mean = total / jnp.maximum(cells.sum((1, 2)), 1)[:, None]
    start = jnp.tanh(linear(parameters, 'start', mean, dtype))
    counted = jnp.zeros_like(start) if counts is None else linear(parameters, 'counts', counts, dtype)
    # The convolution of one channel and the matrix after it are one convolution: less than a tenth of the arithmetic.
    flat = parameters['coverage_kernel'].reshape(-1, parameters['coverage_mix'].shape[0])
    coverage = jnp.matmul(flat, parameters['coverage_mix'], precision=lax.Precision.HIGHEST)
    return Memory(features, keys.astype(dtype), cells, counted, coverage.astype(dtype)), start


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def patches(x: jax.Array, reach: int) -> jax.Array:
    """What each cell of [B, h, w] has around it: [B, h, w, reach reach], zeros beyond the border.

    As the product of these with a kernel, a convolution of one channel learns twenty times faster on CPU; the gradient is
    gathered as well, since sums that are scattered have no fixed order on GPU.
    """
    batch, height, width = x.shape
    flat = _bordered(x[..., None], reach).reshape(batch, -1)
    return jnp.take(flat, _around(height, width, reach), axis=1, mode='clip').reshape(batch, height, width, reach * reach)


def _patches_forward(x: jax.Array, reach: int) -> tuple[jax.Array, None]:
    return patches(x, reach), None


def _patches_backward(reach: int, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    batch, height, width, taps = gradient.shape
    flat = _bordered(gradient, reach).reshape(batch, -1)
    # The cell that saw this one at a place has it at the place opposite.
    places = _around(height, width, reach)[:, ::-1] * taps + jnp.arange(taps)
    return (jnp.take(flat, places, axis=1, mode='clip').sum(-1).reshape(batch, height, width),)


patches.defvjp(_patches_forward, _patches_backward)


def _bordered(x: jax.Array, reach: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (reach // 2, reach // 2), (reach // 2, reach // 2), (0, 0)))


def _around(height: Any, width: Any, reach: int) -> jax.Array:
    """Where the surroundings of each cell [h w, reach reach] lie in the flattened map with its border."""
    rows = jnp.arange(height)[:, None, None, None] + jnp.arange(reach)[:, None]
    columns = jnp.arange(width)[:, None, None] + jnp.arange(reach)
    return (rows * (width + reach - 1) + columns).reshape(height * width, reach * reach)


@jax.jit
def look(memory: Memory, energy_kernel: jax.Array, query: jax.Array, seen: jax.Array) -> jax.Array:
    """Weights [B, N, h, w] of the cells for queries [B, N, A] that have looked at `seen` [B, N, h, w] so far.

    Unlike the reference, which takes the largest score of the whole batch away, padding included, each image's own is: the
    weights are the same, but cannot overflow or vanish. So its bias, alike for all, is not added: it would cancel.
    """
    dtype, shape = memory.features.dtype, seen.shape
    reach = math.isqrt(memory.coverage.shape[0])
    around = patches(seen.reshape(-1, *shape[2:]), reach).reshape(*shape, reach * reach)
    covered = jnp.matmul(around.astype(dtype), memory.coverage)  # the largest array of a step: no wider than it must be
    inner = jnp.tanh(covered + memory.keys[:, None] + query[:, :, None, None]).astype(dtype)
    # On accelerators a sum, which XLA fuses with what it is of.
    scores = lax.platform_dependent(inner, energy_kernel, cpu=lambda *given: product(*given)[..., 0],
                                    default=lambda inner, kernel: jnp.sum(inner * kernel[:, 0], -1, dtype=jnp.float32))
    scores = jnp.where(memory.cells[:, None], scores, NOWHERE)
    scores = scores - lax.stop_gradient(scores.max((2, 3), keepdims=True))
    powers = jnp.where(memory.cells[:, None], jnp.exp(scores), 0)
    return powers / (powers.sum((2, 3), keepdims=True) + 1e-10)


@jax.custom_vjp
def looks(memory: Memory, energy_kernel: jax.Array, queries: jax.Array, count: jax.Array) -> jax.Array:
    """Weights [S, B, h, w] of looks one after the other, for queries [S, B, A]; from step `count` on nothing is looked at."""
    return _looks_forward(memory, energy_kernel, queries, count)[0]


def _looks_forward(memory: Memory, energy_kernel: jax.Array, queries: jax.Array, count: jax.Array) -> tuple[jax.Array, Any]:
    looked = partial(look, memory, energy_kernel)

    def perhaps(number: jax.Array, query: jax.Array, seen: jax.Array) -> jax.Array:
        return lax.cond(number < count, looked, lambda query, seen: jnp.zeros_like(seen), query, seen)

    def always(number: jax.Array, query: jax.Array, seen: jax.Array) -> jax.Array:
        return jnp.where(number < count, looked(query, seen), 0)

    def cover(seen: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        # On accelerators each choice would wait for the host.
        weights = lax.platform_dependent(now[0], now[1][:, None], seen, cpu=perhaps, default=always)
        return seen + weights, (weights[:, 0], seen[:, 0])

    nothing = jnp.zeros((queries.shape[1], 1, *memory.cells.shape[1:]))
    weights, seen = lax.scan(cover, nothing, (jnp.arange(queries.shape[0]), queries))[1]
    return weights, (memory, energy_kernel, queries, weights, seen)


def _looks_backward(kept: Any, gradient: jax.Array) -> tuple[Memory, jax.Array, jax.Array, None]:
    """By hand, as only the gradient of what was seen has to go from step to step: all else is made for all steps at once."""
    memory, energy_kernel, queries, weights, seen = kept
    reach, dtype = math.isqrt(memory.coverage.shape[0]), memory.features.dtype
    (steps, rows, *size), taps = seen.shape, memory.coverage.shape[0]
    around = patches(seen.reshape(-1, *size), reach).reshape(steps, rows, -1, taps)
    keys = memory.keys.reshape(rows, -1, memory.keys.shape[-1])
    inner = jnp.tanh(jnp.matmul(around.astype(dtype), memory.coverage) + keys + queries[:, :, None]).astype(dtype)
    # Of scores, by what the hyperbolic tangent is of. The largest arrays of all, these two would be kept in float32.
    inner, slopes = lax.optimization_barrier((inner, (1 - jnp.square(inner)) * energy_kernel[:, 0].astype(dtype)))
    to_around = wide('sbca,ka->sbck', slopes, memory.coverage).reshape(steps, rows, *size, taps)

    def uncover(to_seen: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
        given, weights, to_around = now
        to_weights = given + to_seen
        to_scores = weights * (to_weights - jnp.sum(weights * to_weights, (1, 2), keepdims=True))
        return to_seen + _patches_backward(reach, None, to_scores[..., None] * to_around)[0], to_scores

    to_scores = lax.scan(uncover, jnp.zeros_like(seen[0]), (gradient, weights, to_around), reverse=True)[1]
    to_scores = to_scores.reshape(*around.shape[:3], 1)
    to_coverage = wide('sbck,sbca->ka', (around * to_scores).astype(dtype), slopes).astype(dtype)
    to_inner = to_scores * slopes
    to_keys = to_inner.sum(0).astype(dtype).reshape(memory.keys.shape)
    to_memory = Memory(jnp.zeros_like(memory.features), to_keys, jnp.zeros(memory.cells.shape, float0),
                       jnp.zeros_like(memory.counted), to_coverage)
    return to_memory, jnp.sum(to_scores * inner, (0, 1, 2))[:, None], to_inner.sum(2), None


looks.defvjp(_looks_forward, _looks_backward)


def gates(parameters: Parameters, embedded: jax.Array, dtype: Any) -> jax.Array:
    """What tokens [..., E] say to the GRU [..., 3 E]."""
    return product(embedded.astype(dtype), parameters['kernel_ih']) + parameters['bias_ih']


def answer(
    parameters: Parameters, memory: Memory, hidden: jax.Array, embedded: jax.Array, weights: jax.Array, noise: Any = None
) -> jax.Array:
    """Logits [B, N, K] of states and tokens read [B, N, E] that look at [B, N, h, w]; `noise` is dropout's key and rate."""
    dtype = memory.features.dtype
    context = wide('bnhw,bhwd->bnd', weights.astype(dtype), memory.features)
    said = {'state': hidden, 'token': embedded, 'context': context}
    total = sum((linear(parameters, name, x, dtype) for name, x in said.items()), memory.counted[:, None])
    if noise is not None:
        total = dropped(total, noise[0], rate=noise[1], rule='upscale')
    return linear(parameters, 'classes', total, dtype)


def advance(
    parameters: Parameters, memory: Memory, hidden: jax.Array, seen: jax.Array, classes: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits [B, N, K], state [B, N, E] and attention [B, N, h, w] of a step that reads classes [B, N]."""
    dtype = memory.features.dtype
    embedded = parameters['embedding'].at[classes].get(mode='clip')
    hidden = gru(gates(parameters, embedded, dtype), hidden, parameters['kernel_hh'].astype(dtype), parameters['bias_hh'])
    weights = look(memory, parameters['energy_kernel'], linear(parameters, 'query', hidden, dtype), seen)
    return answer(parameters, memory, hidden, embedded, weights), hidden, weights


def unroll(
    parameters: Parameters, memory: Memory, start: jax.Array, given: jax.Array, count: jax.Array, noise: Any = None
) -> tuple[jax.Array, jax.Array]:
    """Logits [B, S, K] and attention [B, S, h, w] of steps that read classes [B, S]; from step `count` on nothing is looked at.

    State and answers do not wait for the attention: only its coverage goes from step to step.
    """
    dtype = memory.features.dtype
    embedded = parameters['embedding'].at[given].get(mode='clip')

    gate = gates(parameters, embedded, dtype).swapaxes(0, 1)
    hidden = grus(gate, start, parameters['kernel_hh'].astype(dtype), parameters['bias_hh'])
    queries = linear(parameters, 'query', hidden, dtype)
    weights = looks(memory, parameters['energy_kernel'], queries, count).swapaxes(0, 1)
    return answer(parameters, memory, hidden.swapaxes(0, 1), embedded, weights, noise), weights


PEERS = {
    'start': 'init_weight', 'embedding': 'embedding.weight', 'kernel_ih': 'word_input_gru.weight_ih',
    'kernel_hh': 'word_input_gru.weight_hh', 'bias_ih': 'word_input_gru.bias_ih', 'bias_hh': 'word_input_gru.bias_hh',
    'query': 'word_attention.hidden_weight', 'coverage_kernel': 'word_attention.attention_conv.weight',
    'coverage_mix': 'word_attention.attention_weight.weight', 'energy': 'word_attention.alpha_convert',
    'keys': 'encoder_feature_conv', 'state': 'word_state_weight', 'token': 'word_embedding_weight',
    'context': 'word_context_weight', 'counts': 'counting_context_weight', 'classes': 'word_convert',
}
TURNS = {'kernel_ih': 'transpose', 'kernel_hh': 'transpose', 'coverage_kernel': 'conv', 'keys_kernel': 'conv'}


def peer(name: str) -> tuple[str, str]:
    """The reference's name of the decoder's parameter, and how it is turned."""
    if name in PEERS:
        return PEERS[name], TURNS.get(name, 'same')
    part, _, kind = name.rpartition('_')
    return f'{PEERS[part]}.{"weight" if kind == "kernel" else "bias"}', TURNS.get(name, 'same')
