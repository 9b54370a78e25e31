"""The attention decoder of RARE: a GRU that attends to the columns of the features before each of its steps.

Shi et al., "Robust Scene Text Recognition with Automatic Rectification" (2016), section 3.2.2, after Bahdanau
et al. (2015); the cell and its initial values follow the reference implementation. K classes, A the width of
the state.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.models import Peer
from recog.models.parts.layers import einsum32, product, uniform
from recog.models.parts.recurrence import gru, scan

Parameters = Mapping[str, jax.Array]


class Memory(NamedTuple):
    """What the decoder attends to, the same in every step:
    the features [B, T, D] and their keys [B, T, A]."""

    features: jax.Array
    keys: jax.Array


class GRUDecoder(nn.Module):
    """The parameters of the decoder, which the functions below read;
    all but those of the GRU start Xavier uniform."""

    hidden: int
    classes: int

    @nn.compact
    def __call__(self, width: int) -> dict[str, jax.Array]:
        xavier, zeros = nn.initializers.xavier_uniform(), nn.initializers.zeros
        fan = uniform(self.hidden**-0.5)
        hidden, classes = self.hidden, self.classes
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            'keys_kernel': (xavier, (width, hidden)),
            'query_kernel': (xavier, (hidden, hidden)), 'query_bias': (zeros, (hidden,)),
            'energy_kernel': (xavier, (hidden, 1)),
            'kernel_ih': (fan, (width + classes, 3 * hidden)), 'bias_ih': (fan, (3 * hidden,)),
            'kernel_hh': (fan, (hidden, 3 * hidden)), 'bias_hh': (fan, (3 * hidden,)),
            'classes_kernel': (xavier, (hidden, classes)), 'classes_bias': (zeros, (classes,)),
        }
        return {name: self.param(name, start, shape) for name, (start, shape) in shapes.items()}


def make_memory(parameters: Parameters, features: jax.Array) -> Memory:
    """The memory of features [B, T, D]."""
    return Memory(features, product(features, parameters['keys_kernel']))


@jax.jit
def attend(memory: Memory, query: jax.Array, energy_kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Context [B, N, D] and attention weights [B, N, T] over the columns for queries [B, N, A]."""
    dtype = memory.features.dtype
    energy = product(jnp.tanh(memory.keys[:, None] + query[:, :, None]).astype(dtype), energy_kernel)
    weights = jax.nn.softmax(energy[..., 0])
    context = einsum32('bnt,btd->bnd', weights.astype(dtype), memory.features)
    return context, weights


def advance(
    parameters: Parameters, memory: Memory, hidden: jax.Array, embedded: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The state [B, N, A] after one more step, and the step's attention weights [B, N, T]; `embedded` is the
    input class's part of the gates [B, N, 3 A]."""
    dtype, width = memory.features.dtype, memory.features.shape[-1]
    query = product(hidden.astype(dtype), parameters['query_kernel']) + parameters['query_bias']
    context, weights = attend(memory, query, parameters['energy_kernel'])
    gates = embedded + product(context.astype(dtype), parameters['kernel_ih'][:width])
    return gru(gates, hidden, parameters['kernel_hh'].astype(dtype), parameters['bias_hh']), weights


def embed(parameters: Parameters, classes: jax.Array) -> jax.Array:
    """The part of input classes [...] in the gates [..., 3 A]: the input is one-hot,
    so each is a row of the kernel."""
    width = parameters['kernel_ih'].shape[0] - parameters['classes_bias'].shape[0]
    return parameters['kernel_ih'].at[width + classes].get(mode='clip') + parameters['bias_ih']


def classify(parameters: Parameters, hidden: jax.Array, dtype: Any) -> jax.Array:
    """Logits [..., K] of states [..., A]."""
    return product(hidden.astype(dtype), parameters['classes_kernel']) + parameters['classes_bias']


def unroll(
    parameters: Parameters, features: jax.Array, given: jax.Array, own: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Logits [B, S, K] and attention weights [B, S, T] of S steps with input classes `given` [B, S].

    Where `own` [B, S] is true, the input of a step is the most likely class of the step before instead.
    """
    memory, rows = make_memory(parameters, features), features.shape[0]
    start = jnp.zeros((rows, 1, parameters['kernel_hh'].shape[0]))
    if own is None:
        embedded = embed(parameters, given.T[:, :, None])

        def read_given(parameters: Parameters, memory: Memory, hidden: jax.Array, embedded: jax.Array) -> Any:
            hidden, weights = advance(parameters, memory, hidden, embedded)
            return hidden, (hidden, weights)

        hidden, weights = scan(read_given, parameters, memory, start, embedded)[1]
        logits = classify(parameters, hidden, features.dtype)
    else:

        def read_own(parameters: Parameters, memory: Memory, carry: Any, now: Any) -> Any:
            (hidden, last), (given, own) = carry, now
            embedded = embed(parameters, jnp.where(own, last, given)[:, None])
            hidden, weights = advance(parameters, memory, hidden, embedded)
            logits = classify(parameters, hidden, features.dtype)
            return (hidden, jnp.argmax(logits[:, 0], -1)), (logits, weights)

        logits, weights = scan(read_own, parameters, memory, (start, given[:, 0]), (given.T, own.T))[1]
    return logits[:, :, 0].swapaxes(0, 1), weights[:, :, 0].swapaxes(0, 1)


PEERS = {
    'keys_kernel': 'attention_cell.i2h.weight', 'query_kernel': 'attention_cell.h2h.weight',
    'query_bias': 'attention_cell.h2h.bias', 'energy_kernel': 'attention_cell.score.weight',
    'kernel_ih': 'attention_cell.rnn.weight_ih', 'kernel_hh': 'attention_cell.rnn.weight_hh',
    'bias_ih': 'attention_cell.rnn.bias_ih', 'bias_hh': 'attention_cell.rnn.bias_hh',
    'classes_kernel': 'generator.weight', 'classes_bias': 'generator.bias',
}
TRANSPOSED = ('kernel_ih', 'kernel_hh')


def peers() -> dict[str, Peer]:
    """The reference's keys for the parameters of `GRUDecoder`, which are below `head`."""
    return {f'head.{theirs}': Peer(('params', 'head', ours), 'transpose' if ours in TRANSPOSED else 'same')
            for ours, theirs in PEERS.items()}
