"""Recurrence: a scan that learns its weights in one go, the bidirectional LSTM over columns and the GRU, which do so too, and the
names of the LSTM's parts in the reference. The LSTM and a step of the GRU are named operations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models import Peer
from recog.models.parts.layers import product, uniform, wide

LARGE_BATCH = 64  # rows from which on a CPU runs two loops faster than one for both directions


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan(step: Callable, weights: Any, given: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
    """`lax.scan` of step(weights, given, carry, now) -> (carry, output); `step` closes over nothing that has a gradient.

    The gradient of the weights is formed after the last step, for all steps in one product. JAX would add to it in each step,
    which over a mesh is an all-reduce in each.
    """
    return lax.scan(partial(step, weights, given), start, inputs)


def _scan_forward(step: Callable, weights: Any, given: Any, start: Any, inputs: Any) -> tuple[Any, Any]:
    steps = jax.tree.leaves(inputs)[0].shape[0]
    # Added to the carry after each step; their gradient is the carry's.
    nothing = [jnp.zeros((steps, *leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(start) if _learns(leaf)]

    def run(given: Any, start: Any, inputs: Any, nothing: list[jax.Array]) -> Any:
        def one(carry: Any, now: Any) -> Any:
            after, output = step(weights, given, carry, now[0])
            added = iter(now[1])
            return jax.tree.map(lambda leaf: leaf + next(added) if _learns(leaf) else leaf, after), (carry, output)

        last, (carries, outputs) = lax.scan(one, start, (inputs, nothing))
        return (last, outputs), carries

    results, back, carries = jax.vjp(run, given, start, inputs, nothing, has_aux=True)
    return results, (back, weights, given, carries, inputs)


def _scan_backward(step: Callable, kept: Any, cotangents: Any) -> tuple[Any, ...]:
    back, weights, given, carries, inputs = kept
    *others, to_carries = back(cotangents)

    def learning(weights: Any) -> list[jax.Array]:
        after, outputs = jax.vmap(partial(step, weights, given))(carries, inputs)
        return [leaf for leaf in jax.tree.leaves((after, outputs)) if _learns(leaf)]

    to_outputs = [leaf for leaf in jax.tree.leaves(cotangents[1]) if leaf.dtype != jax.dtypes.float0]
    return jax.vjp(learning, weights)[1](to_carries + to_outputs)[0], *others


scan.defvjp(_scan_forward, _scan_backward)


def _learns(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


@jax.jit
def lstm(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias_ih: jax.Array, bias_hh: jax.Array) -> jax.Array:
    """Bidirectional LSTM, [B, T, D] -> [B, T, 2 hidden]; gates i, f, g, o.

    Weights are stacked, forward first: kernels [2, D, 4 hidden] and [2, hidden, 4 hidden], biases [2, 4 hidden].
    """
    dtype = x.dtype
    gates = jnp.einsum('btd,zdg->tzbg', x, kernel_ih.astype(dtype))
    gates = gates + (bias_ih + bias_hh)[:, None].astype(dtype)
    # A symbolic batch, as an export has it, cannot be compared.
    if isinstance(x.shape[0], int) and x.shape[0] > LARGE_BATCH:
        both = lax.platform_dependent(gates, kernel_hh.astype(dtype), cpu=_one_by_one, default=_side_by_side)
    else:
        both = _side_by_side(gates, kernel_hh.astype(dtype))
    return jnp.concatenate([both[:, 0], both[:, 1]], -1).swapaxes(0, 1)


def _side_by_side(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """Both directions in one loop, one reversed by hand: [T, 2, B, 4 hidden], [2, hidden, 4 hidden] -> [T, 2, B, hidden]."""
    both = recur(jnp.stack([gates[:, 0], gates[::-1, 1]], 1), kernel)
    return jnp.stack([both[:, 0], both[::-1, 1]], 1)


def _one_by_one(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same in a loop for each."""
    return jnp.concatenate([recur(gates[:, :1], kernel[:1]), recur(gates[::-1, 1:], kernel[1:])[::-1]], 1)


@jax.custom_vjp
def recur(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """The recurrence of LSTMs side by side, [T, Z, B, 4 hidden] -> [T, Z, B, hidden]; the cell is kept in float32.

    Its gradient keeps states and cells alone. All gates are made again at once, and so is the gradient of the weights: what is
    left to the steps, which wait for one another, is a product and a sweep of arithmetic each.
    """
    return _states(gates, kernel)[0]


def _states(gates: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Hidden states and cells after each step."""

    def step(carry: tuple[jax.Array, jax.Array], now: jax.Array) -> Any:
        hidden, cell = carry
        i, f, g, o = _opened(now + _onwards(hidden, kernel))
        cell = f * cell + i * g
        hidden = (o * jnp.tanh(cell)).astype(kernel.dtype)
        return (hidden, cell), (hidden, cell)

    shape = (*gates.shape[1:3], kernel.shape[1])
    start = jnp.zeros(shape, kernel.dtype), jnp.zeros(shape)
    return lax.scan(step, start, gates)[1]


def _onwards(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    """What states say to the gates behind them, [Z, B, hidden] -> [Z, B, 4 hidden]."""
    return jnp.einsum('zbh,zhg->zbg', hidden, kernel, preferred_element_type=jnp.float32)


def _opened(gates: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    i, f, g, o = jnp.split(gates, 4, -1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _recur_forward(gates: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    hidden, cell = _states(gates, kernel)
    return hidden, (gates, kernel, hidden, cell)


def _recur_backward(kept: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    gates, kernel, hidden, cell = kept
    before, cell_before = (jnp.pad(leaf[:-1], ((1, 0), (0, 0), (0, 0), (0, 0))) for leaf in (hidden, cell))
    # All steps as rows of one product: with an axis of their own, XLA refuses it in bfloat16 on CPUs.
    # Images come first, as a mesh cuts them.
    (steps, ways, rows, _), width = before.shape, gates.shape[-1]
    said = _onwards(before.transpose(1, 2, 0, 3).reshape(ways, rows * steps, -1), kernel)
    i, f, g, o = _opened(gates + said.reshape(ways, rows, steps, width).transpose(2, 0, 1, 3))
    outside = jnp.tanh(cell)
    to_cell = o * (1 - outside * outside)  # of the state, by the cell
    # Of the cell by the gates i, f and g, and of the state by the gate o.
    slopes = jnp.concatenate([g * i * (1 - i), cell_before * f * (1 - f), i * (1 - g * g), outside * o * (1 - o)], -1)
    slopes = slopes.astype(gates.dtype)  # of all that is kept for the steps the most

    def step(carry: tuple[jax.Array, jax.Array], now: Any) -> Any:
        state, inner = carry
        given, f, to_cell, slopes = now
        state = state + given
        inner = inner + state * to_cell
        gradient = (jnp.concatenate([inner, inner, inner, state], -1) * slopes).astype(gates.dtype)
        back = jnp.einsum('zbg,zhg->zbh', gradient, kernel, preferred_element_type=jnp.float32)
        return (back, inner * f), gradient

    nothing = jnp.zeros(cell.shape[1:], cell.dtype)
    given = cotangent.astype(cell.dtype)
    gradient = lax.scan(step, (nothing, nothing), (given, f, to_cell, slopes), reverse=True)[1]
    to_kernel = jnp.einsum('tzbh,tzbg->zhg', before, gradient, preferred_element_type=jnp.float32)
    return gradient, to_kernel.astype(kernel.dtype)


recur.defvjp(_recur_forward, _recur_backward)


@jax.jit
def gru(gates: jax.Array, hidden: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> jax.Array:
    """One step of a GRU, [..., 3 hidden] and [..., hidden] -> [..., hidden]; gates r, z, c, the reset after the product.

    `gates` are the input's, bias included; the state is float32, and the product is in the dtype of the kernel.
    """
    _, z, candidate, _ = _reset(gates, hidden, kernel_hh, bias_hh)
    return candidate + z * (hidden - candidate)


def _reset(gates: jax.Array, hidden: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> tuple[jax.Array, ...]:
    """The open gates r and z, the candidate, and what the state says to it."""
    own = product(hidden.astype(kernel_hh.dtype), kernel_hh) + bias_hh
    (r, z, c), (own_r, own_z, own_c) = jnp.split(gates, 3, -1), jnp.split(own, 3, -1)
    r = jax.nn.sigmoid(r + own_r)
    return r, jax.nn.sigmoid(z + own_z), jnp.tanh(c + r * own_c), own_c


@jax.custom_vjp
def grus(gates: jax.Array, start: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> jax.Array:
    """States [S, B, hidden] of a GRU behind a start [B, hidden], step after step, whose inputs are known: gates [S, B, 3 hidden].

    Its gradient keeps the states alone, and leaves a product and a sweep of arithmetic to each step, as that of `recur` does.
    """
    return _grus_forward(gates, start, kernel_hh, bias_hh)[0]


def _grus_forward(gates: jax.Array, start: jax.Array, kernel_hh: jax.Array, bias_hh: jax.Array) -> tuple[jax.Array, Any]:
    def step(hidden: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = gru(now, hidden, kernel_hh, bias_hh)
        return hidden, hidden

    hidden = lax.scan(step, start, gates)[1]
    return hidden, (gates, start, kernel_hh, bias_hh, hidden)


def _grus_backward(kept: Any, cotangent: jax.Array) -> tuple[jax.Array, ...]:
    gates, start, kernel, bias, hidden = kept
    before = jnp.concatenate([start[None], hidden[:-1]])
    r, z, candidate, own_c = _reset(gates, before, kernel, bias)
    # Of the state, by what the candidate's tangent is of, and by what the state before says to r, z and the candidate.
    to_inner = (1 - z) * (1 - candidate * candidate)
    slopes = jnp.concatenate([to_inner * own_c * r * (1 - r), (before - candidate) * z * (1 - z), to_inner * r], -1)

    def step(back: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        given, z, slopes = now
        state = given + back
        own = (jnp.concatenate([state] * 3, -1) * slopes).astype(kernel.dtype)
        return state * z + product(own, kernel.T), state

    to_start, state = lax.scan(step, jnp.zeros_like(start), (cotangent, z, slopes), reverse=True)
    own = jnp.concatenate([state] * 3, -1) * slopes
    to_kernel = wide('sbh,sbg->hg', before.astype(kernel.dtype), own.astype(kernel.dtype)).astype(kernel.dtype)
    to_gates = jnp.concatenate([own[..., : -start.shape[-1]], state * to_inner], -1)
    return to_gates, to_start, to_kernel, own.sum((0, 1))


grus.defvjp(_grus_forward, _grus_backward)


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer; both biases are kept, as in the reference's checkpoints."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start, gates = uniform(self.hidden**-0.5), 4 * self.hidden
        shapes: dict[str, tuple[int, ...]] = {'kernel_ih': (x.shape[-1], gates), 'kernel_hh': (self.hidden, gates)}
        shapes |= {'bias_ih': (gates,), 'bias_hh': (gates,)}
        directions = ('forward', 'backward')
        stacked = [jnp.stack([self.param(f'{d}_{name}', start, shapes[name]) for d in directions]) for name in shapes]
        return lstm(x, *stacked)


def encoder(layers: int, hidden: int, x: jax.Array) -> jax.Array:
    """`layers` bidirectional LSTMs on one another, [B, T, D] -> [B, T, 2 hidden]; called inside a module's `compact`."""
    for layer in range(layers):
        x = BiLSTM(hidden, name=f'lstm_{layer}')(x)
    return x


def encoder_peers(layers: int) -> dict[str, Peer]:
    """The reference's keys for the layers of `encoder`: Paddle's state dict holds these tensors twice; either name will do."""
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
