"""One step of training against its formulas, on a model small enough to compute by hand."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.devices.mesh import batch_sharding, make_mesh
from recog.train import optimizer
from recog.train.step import make_state, make_step

X = np.arange(16, dtype=np.float32) / 10
WEIGHT = np.where(np.arange(16) % 5 == 0, 0, 1).astype(np.float32)
RATE, MOMENTUM, DECAY, START = 0.05, 0.5, 0.75, 3.0


def loss(variables, batch, *, key, train, step):
    """The squared error of w x + b against 1, summed over the rows that count, and their number."""
    error = variables['params']['w'] * batch['x'] + variables['params']['b'] - 1
    return ((batch['weight'] * error ** 2).sum(), batch['weight'].sum()), (variables['stats'], {})


LINE = types.SimpleNamespace(loss=loss, init=lambda key: {
    'params': {'w': jnp.float32(START), 'b': jnp.float32(0)}, 'stats': {}})


def by_hand(steps, clip):
    """w, b, their averages and the gradient's norm after each step, in double precision; clip 0 is none."""
    state, trace, average, found = np.array([START, 0]), np.zeros(2), np.array([START, 0]), []
    for _ in range(steps):
        error = WEIGHT * (state[0] * X + state[1] - 1)
        gradient = np.array([(2 * error * X).sum(), (2 * error).sum()]) / WEIGHT.sum()
        norm = np.linalg.norm(gradient)
        trace = gradient * min(1, clip / norm if clip else 1) + MOMENTUM * trace
        state = state - RATE * trace
        average = DECAY * average + (1 - DECAY) * state
        found.append((*state, *average, norm))
    return found


@pytest.mark.parametrize('clip', [0.0, 1.0])
@pytest.mark.parametrize(('mesh', 'accumulate'), [
    ((), 1), (('mesh.data=8',), 1), (('mesh.data=2', 'mesh.fsdp=4'), 1), ((), 4), (('mesh.data=4',), 4),
])
def test_weights_averages_and_norms_are_those_computed_by_hand_on_any_mesh(narrow, mesh, accumulate, clip):
    config = narrow('optimizer.name=momentum', f'optimizer.momentum={MOMENTUM}', f'train.ema={DECAY}',
                    f'train.accumulate={accumulate}', f'optimizer.clip_norm={clip}', 'optimizer.decay=0.0',
                    *mesh)
    devices = jax.devices()[:np.prod([int(axis.partition('=')[2]) for axis in mesh], dtype=int)]
    over = make_mesh(config.mesh, devices)
    tx = optimizer.optimizer(config, lambda step: RATE)
    state = make_state(LINE, tx, DECAY, jax.random.key(0))
    step = jax.jit(make_step(LINE, tx, lambda step: RATE, config, over))
    batch = jax.device_put({'x': X, 'weight': WEIGHT}, batch_sharding(over))
    for number, want in enumerate(by_hand(3, clip), 1):
        state, metrics = step(state, batch)
        got = (state.params['w'], state.params['b'], state.ema['w'], state.ema['b'], metrics['grad_norm'])
        np.testing.assert_allclose(jax.device_get(got), want, rtol=1e-5, err_msg=f'step {number}')
