"""Recurrent layers: a scan, the bidirectional LSTM over columns and the GRU, each with the gradient of its
weights in one product over all steps; and the LSTM's names in the reference.

The LSTM and the GRU's step are jitted separately, so that their names appear in the jaxpr.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog import onednn
from recog.models import Peer
from recog.models.parts.layers import einsum32, product, uniform

LARGE_BATCH = 64  # rows from which a CPU runs a loop for each direction faster than one for both


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan(step: Callable, weights: Any, given: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
    """`lax.scan` of step(weights, given, carry, now) -> (carry, output); `step` must not close over anything
    that has a gradient.

    The gradient of the weights is computed after the last step, in one product over all steps. JAX's own scan
    adds to it in every step, which on a mesh costs an all-reduce per step.
    """
    return lax.scan(partial(step, weights, given), start, inputs)


def _scan_forward(step: Callable, weights: Any, given: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
    steps = jax.tree.leaves(inputs)[0].shape[0]
    # Zeros that are added to the carry after each step: their gradient is that of the carry.
    leaves = [leaf for leaf in jax.tree.leaves(start) if _differentiable(leaf)]
    zeros = [jnp.zeros((steps, *leaf.shape), leaf.dtype) for leaf in leaves]

    def run(given: Any, start: Any, inputs: Any, zeros: list[jax.Array]) -> Any:
        def one(carry: Any, now: Any) -> Any:
            after, output = step(weights, given, carry, now[0])
            added = iter(now[1])
            after = jax.tree.map(lambda leaf: leaf + next(added) if _differentiable(leaf) else leaf, after)
            return after, (carry, output)

        last, (carries, outputs) = lax.scan(one, start, (inputs, zeros))
        return (last, outputs), carries

    results, back, carries = jax.vjp(run, given, start, inputs, zeros, has_aux=True)
    return results, (back, weights, given, carries, inputs)


def _scan_backward(step: Callable, kept: Any, cotangents: Any) -> tuple[Any, ...]:
    back, weights, given, carries, inputs = kept
    *others, to_carries = back(cotangents)

    def all_steps(weights: Any) -> list[jax.Array]:
        after, outputs = jax.vmap(partial(step, weights, given))(carries, inputs)
        return [leaf for leaf in jax.tree.leaves((after, outputs)) if _differentiable(leaf)]

    to_outputs = [leaf for leaf in jax.tree.leaves(cotangents[1]) if leaf.dtype != jax.dtypes.float0]
    return jax.vjp(all_steps, weights)[1](to_carries + to_outputs)[0], *others


scan.defvjp(_scan_forward, _scan_backward)


def _differentiable(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


@jax.jit
def lstm(
    x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias_ih: jax.Array, bias_hh: jax.Array
) -> jax.Array:
    """Bidirectional LSTM, [B, T, D] -> [B, T, 2 hidden]; gates i, f, g, o.

    Weights are stacked, forward first: kernels [2, D, 4 hidden] and [2, hidden, 4 hidden], biases [2, 4
    hidden].
    """
    weights = kernel_ih, kernel_hh, bias_ih + bias_hh
    if onednn.usable(x) and onednn.workspace(
            (x.shape[1], x.shape[0], x.shape[2]), kernel_hh.shape[1], x.dtype):
        exact = (each.astype(jnp.float32) for each in weights)
        by_onednn = onednn.packed_lstm if onednn.PACKED.value else lstm_by_onednn
        return by_onednn(x.swapaxes(0, 1), *exact).swapaxes(0, 1)
    return _by_scan(x, *weights)


def _by_scan(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias: jax.Array) -> jax.Array:
    kernel_ih, kernel_hh = kernel_ih.astype(x.dtype), kernel_hh.astype(x.dtype)
    gates = jnp.einsum('btd,zdg->tzbg', x, kernel_ih)
    gates = gates + bias[:, None].astype(x.dtype)
    # The batch size of an export is symbolic, and cannot be compared.
    if isinstance(x.shape[0], int) and x.shape[0] > LARGE_BATCH:
        both = lax.platform_dependent(gates, kernel_hh, cpu=_one_by_one, default=_side_by_side)
    else:
        both = _side_by_side(gates, kernel_hh)
    return jnp.concatenate([both[:, 0], both[:, 1]], -1).swapaxes(0, 1)


@jax.custom_vjp
def lstm_by_onednn(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias: jax.Array) -> jax.Array:
    """`lstm` over [T, B, D] with one bias and weights in float32, and its gradients, on a CPU by oneDNN."""
    return _by_onednn_forward(x, kernel_ih, kernel_hh, bias)[0]


def _over_steps(x: jax.Array, *weights: jax.Array) -> jax.Array:
    return _by_scan(x.swapaxes(0, 1), *weights).swapaxes(0, 1)


def _by_onednn_forward(*given: jax.Array) -> tuple[jax.Array, Any]:
    x, _, kernel_hh, _ = given
    kept = jnp.zeros(onednn.workspace(x.shape, kernel_hh.shape[1], x.dtype), jnp.uint8)
    output, kept = lax.platform_dependent(
        *given, cpu=onednn.lstm, default=lambda *given: (_over_steps(*given), kept))
    return output, (*given, output, kept)


def _by_onednn_backward(kept: Any, gradient: jax.Array) -> tuple[jax.Array, ...]:
    def by_scan(*kept: jax.Array) -> tuple[jax.Array, ...]:
        *given, _, _, gradient = kept
        return tuple(each.astype(jnp.float32) for each in jax.vjp(_over_steps, *given)[1](gradient))

    gradients = lax.platform_dependent(*kept, gradient, cpu=onednn.lstm_gradients, default=by_scan)
    return tuple(each.astype(of.dtype) for each, of in zip(gradients, kept[:4], strict=True))


lstm_by_onednn.defvjp(_by_onednn_forward, _by_onednn_backward)


def _side_by_side(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """Both directions in one loop, the second in reverse:
    [T, 2, B, 4 hidden] and [2, hidden, 4 hidden] -> [T, 2, B, hidden]."""
    both = recur(jnp.stack([gates[:, 0], gates[::-1, 1]], 1), kernel)
    return jnp.stack([both[:, 0], both[::-1, 1]], 1)


def _one_by_one(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same with a loop for each direction."""
    return jnp.concatenate([recur(gates[:, :1], kernel[:1]), recur(gates[::-1, 1:], kernel[1:])[::-1]], 1)


@jax.custom_vjp
def recur(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """The recurrence of Z LSTMs side by side, [T, Z, B, 4 hidden] -> [T, Z, B, hidden]; the cell state is
    float32.

    Only hidden and cell states are saved for the backward pass. It recomputes the gates of all steps at once,
    and computes the gradient of the weights at once; each of its steps is one product and elementwise
    arithmetic.
    """
    return _states(gates, kernel)[0]


def _states(gates: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Hidden and cell states after each step."""

    def step(carry: tuple[jax.Array, jax.Array], now: jax.Array) -> Any:
        hidden, cell = carry
        i, f, g, o = _activated(now + _recurrent_gates(hidden, kernel))
        cell = f * cell + i * g
        hidden = (o * jnp.tanh(cell)).astype(kernel.dtype)
        return (hidden, cell), (hidden, cell)

    shape = (*gates.shape[1:3], kernel.shape[1])
    start = jnp.zeros(shape, kernel.dtype), jnp.zeros(shape)
    return lax.scan(step, start, gates)[1]


def _recurrent_gates(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    """The part of the gates that depends on the previous hidden states,
    [Z, B, hidden] -> [Z, B, 4 hidden]."""
    return jnp.einsum('zbh,zhg->zbg', hidden, kernel, preferred_element_type=jnp.float32)


def _activated(gates: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The gates i, f, g and o after their activation functions."""
    i, f, g, o = jnp.split(gates, 4, -1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _recur_forward(gates: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    hidden, cell = _states(gates, kernel)
    return hidden, (gates, kernel, hidden, cell)


def _recur_backward(kept: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    gates, kernel, hidden, cell = kept
    before, cell_before = (jnp.pad(leaf[:-1], ((1, 0), (0, 0), (0, 0), (0, 0))) for leaf in (hidden, cell))
    # All steps are rows of one product: XLA refuses a separate axis for them in bfloat16 on CPUs. The batch
    # comes first, because a mesh splits it.
    (steps, ways, rows, _), width = before.shape, gates.shape[-1]
    recurrent = _recurrent_gates(before.transpose(1, 2, 0, 3).reshape(ways, rows * steps, -1), kernel)
    i, f, g, o = _activated(gates + recurrent.reshape(ways, rows, steps, width).transpose(2, 0, 1, 3))
    squashed = jnp.tanh(cell)
    to_cell = o * (1 - squashed * squashed)  # derivative of the hidden state by the cell state
    # Derivatives of the cell state by the gates i, f and g, and of the hidden state by the gate o.
    slopes = jnp.concatenate(
        [g * i * (1 - i), cell_before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)], -1)
    slopes = slopes.astype(gates.dtype)  # the largest array that the steps read

    def step(carry: tuple[jax.Array, jax.Array], now: Any) -> Any:
        state, inner = carry
        given, f, to_cell, slopes = now
        state = state + given
        inner = inner + state * to_cell
        gradient = (jnp.concatenate([inner, inner, inner, state], -1) * slopes).astype(gates.dtype)
        back = jnp.einsum('zbg,zhg->zbh', gradient, kernel, preferred_element_type=jnp.float32)
        return (back, inner * f), gradient

    zeros = jnp.zeros(cell.shape[1:], cell.dtype)
    given = cotangent.astype(cell.dtype)
    gradient = lax.scan(step, (zeros, zeros), (given, f, to_cell, slopes), reverse=True)[1]
    to_kernel = jnp.einsum('tzbh,tzbg->zhg', before, gradient, preferred_element_type=jnp.float32)
    return gradient, to_kernel.astype(kernel.dtype)


recur.defvjp(_recur_forward, _recur_backward)


@jax.jit
def gru(gates: jax.Array, hidden: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> jax.Array:
    """One step of a GRU, [..., 3 hidden] and [..., hidden] -> [..., hidden]; gates r, z, c, where r
    multiplies the recurrent product.

    `gates` are the input's part of the gates, bias included. The state is float32; the product has the dtype
    of the kernel.
    """
    _, z, candidate, _ = _gru_gates(gates, hidden, kernel_hh, bias_hh)
    return candidate + z * (hidden - candidate)


def _gru_gates(
    gates: jax.Array, hidden: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array
) -> tuple[jax.Array, ...]:
    """The gates r and z, the candidate, and the recurrent part of the candidate."""
    recurrent = product(hidden.astype(kernel_hh.dtype), kernel_hh) + bias_hh
    (r, z, c), (of_r, of_z, of_c) = jnp.split(gates, 3, -1), jnp.split(recurrent, 3, -1)
    r = jax.nn.sigmoid(r + of_r)
    return r, jax.nn.sigmoid(z + of_z), jnp.tanh(c + r * of_c), of_c


@jax.custom_vjp
def gru_states(gates: jax.Array, start: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> jax.Array:
    """All states [S, B, hidden] of a GRU after its initial state [B, hidden], from the input's gates
    [S, B, 3 hidden].

    Only the states are saved for the backward pass; each of its steps is one product and elementwise
    arithmetic, as in `recur`.
    """
    return _gru_states_forward(gates, start, kernel_hh, bias_hh)[0]


def _gru_states_forward(
    gates: jax.Array, start: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array
) -> tuple[jax.Array, Any]:
    def step(hidden: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = gru(now, hidden, kernel_hh, bias_hh)
        return hidden, hidden

    hidden = lax.scan(step, start, gates)[1]
    return hidden, (gates, start, kernel_hh, bias_hh, hidden)


def _gru_states_backward(kept: Any, cotangent: jax.Array) -> tuple[jax.Array, ...]:
    gates, start, kernel, bias, hidden = kept
    before = jnp.concatenate([start[None], hidden[:-1]])
    r, z, candidate, of_c = _gru_gates(gates, before, kernel, bias)
    # Derivatives of the state by the argument of the candidate's tanh, and by the recurrent parts of all
    # gates.
    to_inner = (1 - z) * (1 - candidate * candidate)
    to_reset, to_update = to_inner * of_c * r * (1 - r), (before - candidate) * z * (1 - z)
    slopes = jnp.concatenate([to_reset, to_update, to_inner * r], -1)

    def step(back: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        given, z, slopes = now
        state = given + back
        recurrent = (jnp.concatenate([state] * 3, -1) * slopes).astype(kernel.dtype)
        return state * z + product(recurrent, kernel.T), state

    to_start, state = lax.scan(step, jnp.zeros_like(start), (cotangent, z, slopes), reverse=True)
    recurrent = jnp.concatenate([state] * 3, -1) * slopes
    to_kernel = einsum32('sbh,sbg->hg', before.astype(kernel.dtype), recurrent.astype(kernel.dtype))
    to_gates = jnp.concatenate([recurrent[..., : -start.shape[-1]], state * to_inner], -1)
    return to_gates, to_start, to_kernel.astype(kernel.dtype), recurrent.sum((0, 1))


gru_states.defvjp(_gru_states_forward, _gru_states_backward)


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer; both biases are kept, as in the reference's checkpoints."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start, gates = uniform(self.hidden**-0.5), 4 * self.hidden
        shapes: dict[str, tuple[int, ...]] = {
            'kernel_ih': (x.shape[-1], gates), 'kernel_hh': (self.hidden, gates),
            'bias_ih': (gates,), 'bias_hh': (gates,),
        }
        directions = ('forward', 'backward')
        stacked = [jnp.stack([self.param(f'{direction}_{name}', start, shape) for direction in directions])
                   for name, shape in shapes.items()]
        return lstm(x, *stacked)


def encoder(layers: int, hidden: int, x: jax.Array) -> jax.Array:
    """A stack of bidirectional LSTMs, [B, T, D] -> [B, T, 2 hidden]; called inside a module's `compact`."""
    for layer in range(layers):
        x = BiLSTM(hidden, name=f'lstm_{layer}')(x)
    return x


def encoder_peers(layers: int) -> dict[str, Peer]:
    """The reference's keys for the layers of `encoder`: Paddle's state dict
    has two names for each of these tensors."""
    peers = {}
    for layer in range(layers):
        for direction, cell, ending in (('forward', 'fw', ''), ('backward', 'bw', '_reverse')):
            for ours, theirs in (('kernel', 'weight'), ('bias', 'bias')):
                for part in ('ih', 'hh'):
                    path = ('params', f'lstm_{layer}', f'{direction}_{ours}_{part}')
                    peer = Peer(path, 'transpose' if ours == 'kernel' else 'same')
                    peers[f'neck.encoder.lstm.{theirs}_{part}_l{layer}{ending}'] = peer
                    peers[f'neck.encoder.lstm.{layer}.cell_{cell}.{theirs}_{part}'] = peer
    return peers
