"""The decoder of CAN: a GRU over tokens, attention with coverage (the sum of its past weights), and the
counts of the symbols.

Li et al., "When Counting Meets HMER: Counting-Aware Network for Handwritten Mathematical Expression
Recognition" (2022), section 3.4, after Zhang et al., "Watch, attend and parse" (2017); cell, positions and
initial values follow the reference implementation. K classes; E is the width of embeddings and state, A of
the attention, D of the features; n x n is the kernel of the convolution over the coverage.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.coverage_weights import Memory, coverage_weights, coverage_weights_by_step
from recog.models.parts.layers import einsum32, normal, product, uniform
from recog.models.parts.recurrence import gru, gru_states
from recog.models.parts.transformer import dropped
from recog.models.peers import renamed

Parameters = Mapping[str, jax.Array]
TEMPERATURE = 10_000.0


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
