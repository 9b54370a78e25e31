"""One step of training against its formulas, on a model small enough to compute by hand."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.devices.mesh import batch_sharding, make_mesh
from recog.errors import ConfigError
from recog.train import optimizer
from recog.train.step import averaged, averaged_starts, make_state, make_step

X = np.arange(16, dtype=np.float32) / 10
WEIGHT = np.where(np.arange(16) % 5 == 0, 0, 1).astype(np.float32)
RATE, MOMENTUM, START = 0.05, 0.5, 3.0
DECAY = 0.15  # of averages; their warm-up is below it in the first step: 0.1, then 2 / 11, 3 / 12


def loss(variables, batch, *, key, train, step):
    """The squared error of w x + b against 1, summed over the rows that count, and their number."""
    error = variables['params']['w'] * batch['x'] + variables['params']['b'] - 1
    count = batch['weight'].sum()
    mean = (variables['stats']['mean'] + (batch['weight'] * batch['x']).sum() / jnp.maximum(count, 1)) / 2
    return ((batch['weight'] * error ** 2).sum(), count), ({'mean': mean}, {})


LINE = types.SimpleNamespace(loss=loss, init=lambda key: {
    'params': {'w': jnp.float32(START), 'b': jnp.float32(0)}, 'stats': {'mean': jnp.float32(0)}})


def by_hand(steps, clip):
    """w, b, the mean, the averages of the three and the gradient's norm after each step; clip 0 is none."""
    state, trace, mean, average, found = np.array([START, 0]), np.zeros(2), 0.0, np.array([START, 0, 0]), []
    for done in range(steps):
        error = WEIGHT * (state[0] * X + state[1] - 1)
        gradient = np.array([(2 * error * X).sum(), (2 * error).sum()]) / WEIGHT.sum()
        norm = np.linalg.norm(gradient)
        trace = gradient * min(1, clip / norm if clip else 1) + MOMENTUM * trace
        state = state - RATE * trace
        mean = (mean + (WEIGHT * X).sum() / WEIGHT.sum()) / 2
        decay = min(DECAY, (1 + done) / (10 + done))
        average = decay * average + (1 - decay) * np.array([*state, mean])
        found.append((*state, mean, *average, norm))
    return found


def values(params, stats):
    return params['w'], params['b'], stats['mean']


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
        got = (*values(state.params, state.stats), *values(**state.ema), metrics['grad_norm'])
        np.testing.assert_allclose(jax.device_get(got), want, rtol=1e-5, err_msg=f'step {number}')


def test_a_slow_average_soon_forgets_the_random_start():
    """At a decay of 0.9999 alone, the start would have 82 % of the weight after 2,000 steps."""
    def share(steps):
        one, zero = {'params': jnp.ones(()), 'stats': jnp.ones(())}, jnp.zeros(())
        body = lambda step, ema: averaged(ema, zero, zero, 0.9999, step)  # noqa: E731
        return jax.device_get(jax.lax.fori_loop(0, steps, body, one))

    assert share(1) == {'params': pytest.approx(0.1), 'stats': pytest.approx(0.1)}
    assert share(2)['params'] == pytest.approx(0.1 * 2 / 11)
    assert share(2000)['params'] < 1e-12


def test_a_long_training_averages_with_the_decay_of_the_recipe():
    ema = {'params': jnp.ones(()), 'stats': jnp.full((), 2.0)}
    found = averaged(ema, jnp.zeros(()), jnp.zeros(()), 0.9999, jnp.int32(200_000))
    assert jax.device_get(found) == {'params': np.float32(0.9999), 'stats': np.float32(2 * 0.9999)}


def test_the_weights_at_the_starts_of_periods_are_averaged_with_equal_shares():
    """Of ten steps, periods of three start at the fifth and eighth; what is learnt after that does not count.
    """
    steps, found = np.arange(11.0), [0.0]  # the weight before each step
    for step in range(10):
        found.append(float(averaged_starts(found[-1], steps[step] ** 2, steps[step + 1] ** 2, (4, 3), step)))
    assert found == pytest.approx([0, 1, 4, 9, 16, 16, 16, 16, (16 + 49) / 2, (16 + 49) / 2,
                                   (16 + 49) / 2])


def test_a_training_evaluates_the_averages_of_starts(narrow):
    config = narrow('swa.start=1 steps', 'swa.every=1 steps', 'train.length=3 steps')
    periods = optimizer.starts(config, 3, 3)
    tx = optimizer.optimizer(config, lambda step: RATE)
    state, batch = make_state(LINE, tx, True, jax.random.key(0)), {'x': X, 'weight': WEIGHT}
    step = jax.jit(make_step(LINE, tx, lambda step: RATE, config, periods=periods))
    before = []
    for _ in range(3):
        before.append(np.array(values(state.params, state.stats)))
        state, _ = step(state, batch)
    np.testing.assert_allclose(values(**state.ema), (before[1] + before[2]) / 2, rtol=1e-6)


@pytest.mark.parametrize('override', ['swa.start=9 steps', 'swa.every=0 steps'])
def test_periods_that_cannot_be_are_refused(narrow, override):
    config = narrow('swa.start=4 steps', override)
    with pytest.raises(ConfigError, match=r"config\.swa\.start='\d steps' and every='\d \w+' are"):
        optimizer.starts(config, 9, 9)
