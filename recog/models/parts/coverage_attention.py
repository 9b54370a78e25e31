"""The decoder of CAN: a GRU over tokens, attention with coverage (the sum of its past weights), and the
counts of the symbols.

Li et al., "When Counting Meets HMER: Counting-Aware Network for Handwritten Mathematical Expression
Recognition" (2022), section 3.4, after Zhang et al., "Watch, attend and parse" (2017); cell, positions and
initial values follow the reference implementation. K classes; E is the width of embeddings and state, A of
the attention, D of the features; n x n is the kernel of the convolution over the coverage.
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

from recog.models.parts.layers import einsum32, normal, product, uniform
from recog.models.parts.recurrence import gru, gru_states
from recog.models.parts.transformer import dropped
from recog.models.peers import renamed

Parameters = Mapping[str, jax.Array]
TEMPERATURE = 10_000.0
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


class CoverageDecoder(nn.Module):
    """The parameters of the decoder, which the functions below read; matrices start Xavier uniform."""

    hidden: int
    attention: int
    coverage: int
    classes: int
    counting: bool

    @nn.compact
    def __call__(self, width: int) -> dict[str, jax.Array]:
        xavier, zeros = nn.initializers.xavier_uniform(), nn.initializers.zeros
        fan = uniform(self.hidden**-0.5)
        hidden, attention, classes, reach = self.hidden, self.attention, self.classes, self.coverage
        parameters = {
            'embedding': self.param('embedding', xavier, (classes, hidden)),
            'kernel_ih': self.param('kernel_ih', fan, (hidden, 3 * hidden)),
            'bias_ih': self.param('bias_ih', fan, (3 * hidden,)),
            'kernel_hh': self.param('kernel_hh', fan, (hidden, 3 * hidden)),
            'bias_hh': self.param('bias_hh', fan, (3 * hidden,)),
            'coverage_kernel': self.param(
                'coverage_kernel', normal((2 / reach**2) ** 0.5), (reach, reach, 1, attention)),
            'coverage_mix': self.param('coverage_mix', xavier, (attention, attention)),
            'keys_kernel': self.param('keys_kernel', normal((2 / width) ** 0.5), (1, 1, width, attention)),
            'keys_bias': self.param('keys_bias', zeros, (attention,)),
        }
        shapes = {
            'start': (width, hidden), 'query': (hidden, attention), 'energy': (attention, 1),
            'state': (hidden, hidden), 'token': (hidden, hidden), 'context': (width, hidden),
            'classes': (hidden, classes),
        }
        shapes |= {'counts': (classes, hidden)} if self.counting else {}
        for name, shape in shapes.items():
            parameters[f'{name}_kernel'] = self.param(f'{name}_kernel', xavier, shape)
            parameters[f'{name}_bias'] = self.param(f'{name}_bias', zeros, shape[1:])
        return parameters


def linear(parameters: Parameters, name: str, x: jax.Array, dtype: Any) -> jax.Array:
    """The linear layer of that name, computed in `dtype`; the result is float32."""
    return product(x.astype(dtype), parameters[f'{name}_kernel']) + parameters[f'{name}_bias']


def positions(cells: jax.Array, width: int) -> jax.Array:
    """Sinusoidal positions [B, h, w, width] of each cell's row, then of its column, relative to the size of
    its own image, given by the mask `cells` [B, h, w]."""
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


def make_memory(
    parameters: Parameters, features: jax.Array, cells: jax.Array, counts: jax.Array | None
) -> tuple[Memory, jax.Array]:
    """The memory of features [B, h, w, D], with the mask of their cells [B, h, w] and counts [B, K],
    and the initial state [B, E]."""
    dtype = features.dtype
    keys = product(features, parameters['keys_kernel'][0, 0]) + parameters['keys_bias']
    keys = keys + positions(cells, keys.shape[-1])
    total = jnp.sum(jnp.where(cells[..., None], features, 0), (1, 2), dtype=jnp.float32)
    mean = total / jnp.maximum(cells.sum((1, 2)), 1)[:, None]
    start = jnp.tanh(linear(parameters, 'start', mean, dtype))
    counts_term = jnp.zeros_like(start) if counts is None else linear(parameters, 'counts', counts, dtype)
    # The one-channel convolution and the matrix after it are folded into one convolution: a tenth of the
    # arithmetic.
    flat = parameters['coverage_kernel'].reshape(-1, parameters['coverage_mix'].shape[0])
    kernel = jnp.matmul(flat, parameters['coverage_mix'], precision=lax.Precision.HIGHEST)
    return Memory(features, keys.astype(dtype), cells, counts_term, kernel.astype(dtype)), start


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

    start = jnp.zeros((queries.shape[1], 1, *memory.cells.shape[1:]))
    weights, coverage = lax.scan(step, start, (jnp.arange(queries.shape[0]), queries))[1]
    return weights, (memory, energy_kernel, queries, weights, coverage)


def _by_step_backward(kept: Any, gradient: jax.Array) -> tuple[Memory, jax.Array, jax.Array, None]:
    """Written by hand, because only the gradient of the coverage is passed from step to step:
    the rest is computed for all steps at once."""
    memory, energy_kernel, queries, weights, coverage = kept
    reach, dtype = math.isqrt(memory.coverage_kernel.shape[0]), memory.features.dtype
    (steps, rows, *size), taps = coverage.shape, memory.coverage_kernel.shape[0]
    around = patches(coverage.reshape(-1, *size), reach).reshape(steps, rows, -1, taps)
    keys = memory.keys.reshape(rows, -1, memory.keys.shape[-1])
    covered = jnp.matmul(around.astype(dtype), memory.coverage_kernel)
    inner = jnp.tanh(covered + keys + queries[:, :, None]).astype(dtype)
    # Derivatives of the scores by the argument of tanh. Without the barrier, XLA keeps these two arrays in
    # float32, and they are the largest of all.
    slopes = (1 - jnp.square(inner)) * energy_kernel[:, 0].astype(dtype)
    inner, slopes = lax.optimization_barrier((inner, slopes))
    to_around = einsum32('sbca,ka->sbck', slopes, memory.coverage_kernel).reshape(steps, rows, *size, taps)

    def step(to_coverage: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
        given, weights, to_around = now
        to_weights = given + to_coverage
        to_scores = weights * (to_weights - jnp.sum(weights * to_weights, (1, 2), keepdims=True))
        return to_coverage + _patches_backward(reach, None, to_scores[..., None] * to_around)[0], to_scores

    to_scores = lax.scan(step, jnp.zeros_like(coverage[0]), (gradient, weights, to_around), reverse=True)[1]
    to_scores = to_scores.reshape(*around.shape[:3], 1)
    to_kernel = einsum32('sbck,sbca->ka', (around * to_scores).astype(dtype), slopes).astype(dtype)
    to_inner = to_scores * slopes
    to_keys = to_inner.sum(0).astype(dtype).reshape(memory.keys.shape)
    to_memory = Memory(jnp.zeros_like(memory.features), to_keys, jnp.zeros(memory.cells.shape, float0),
                       jnp.zeros_like(memory.counts_term), to_kernel)
    return to_memory, jnp.sum(to_scores * inner, (0, 1, 2))[:, None], to_inner.sum(2), None


coverage_weights_by_step.defvjp(_by_step_forward, _by_step_backward)


def input_gates(parameters: Parameters, embedded: jax.Array, dtype: Any) -> jax.Array:
    """The input's part of the GRU's gates [..., 3 E], from embedded tokens [..., E]."""
    return product(embedded.astype(dtype), parameters['kernel_ih']) + parameters['bias_ih']


def classify(
    parameters: Parameters, memory: Memory, hidden: jax.Array, embedded: jax.Array, weights: jax.Array,
    noise: Any = None,
) -> jax.Array:
    """Logits [B, N, K] from states and embedded input tokens [B, N, E] and attention weights [B, N, h, w];
    `noise` is dropout's key and rate."""
    dtype = memory.features.dtype
    context = einsum32('bnhw,bhwd->bnd', weights.astype(dtype), memory.features)
    inputs = {'state': hidden, 'token': embedded, 'context': context}
    terms = (linear(parameters, name, x, dtype) for name, x in inputs.items())
    total = sum(terms, memory.counts_term[:, None])
    if noise is not None:
        total = dropped(total, noise[0], rate=noise[1], rule='upscale')
    return linear(parameters, 'classes', total, dtype)


def advance(
    parameters: Parameters, memory: Memory, hidden: jax.Array, coverage: jax.Array, classes: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits [B, N, K], state [B, N, E] and attention weights
    [B, N, h, w] of a step with input classes [B, N]."""
    dtype = memory.features.dtype
    embedded = parameters['embedding'].at[classes].get(mode='clip')
    gates = input_gates(parameters, embedded, dtype)
    hidden = gru(gates, hidden, parameters['kernel_hh'].astype(dtype), parameters['bias_hh'])
    query = linear(parameters, 'query', hidden, dtype)
    weights = coverage_weights(memory, parameters['energy_kernel'], query, coverage)
    return classify(parameters, memory, hidden, embedded, weights), hidden, weights


def unroll(
    parameters: Parameters, memory: Memory, start: jax.Array, given: jax.Array, count: jax.Array,
    noise: Any = None,
) -> tuple[jax.Array, jax.Array]:
    """Logits [B, S, K] and attention weights [B, S, h, w] of S steps with input classes [B, S]; the weights
    are 0 from step `count` on.

    The states do not depend on the attention, of which only the coverage is passed from step to step; the
    logits of all steps are computed at once.
    """
    dtype = memory.features.dtype
    embedded = parameters['embedding'].at[given].get(mode='clip')
    gates = input_gates(parameters, embedded, dtype).swapaxes(0, 1)
    hidden = gru_states(gates, start, parameters['kernel_hh'].astype(dtype), parameters['bias_hh'])
    queries = linear(parameters, 'query', hidden, dtype)
    weights = coverage_weights_by_step(memory, parameters['energy_kernel'], queries, count).swapaxes(0, 1)
    return classify(parameters, memory, hidden.swapaxes(0, 1), embedded, weights, noise), weights


# Our names (regular expressions) and the reference's.
PEERS: Mapping[str, str] = {
    '^embedding$': 'embedding/weight',
    '^kernel_(ih|hh)$': r'word_input_gru/weight_\1',
    '^bias_(ih|hh)$': r'word_input_gru/bias_\1',
    '^coverage_kernel$': 'word_attention/attention_conv/weight',
    '^coverage_mix$': 'word_attention/attention_weight/weight',
    '_kernel$': '/weight',
    '_bias$': '/bias',
    '^start/': 'init_weight/',
    '^query/': 'word_attention/hidden_weight/',
    '^energy/': 'word_attention/alpha_convert/',
    '^keys/': 'encoder_feature_conv/',
    '^(state|context)/': r'word_\1_weight/',
    '^token/': 'word_embedding_weight/',
    '^counts/': 'counting_context_weight/',
    '^classes/': 'word_convert/',
}
TURNS = {'kernel_ih': 'transpose', 'kernel_hh': 'transpose', 'coverage_kernel': 'conv', 'keys_kernel': 'conv'}


def peer(name: str) -> tuple[str, str]:
    """The reference's name of the decoder's parameter, and which of `recog.models.TURNS` converts it."""
    return renamed((name,), PEERS), TURNS.get(name, 'same')
