"""`recog train --find-rate`: the loss while the learning rate rises from step to step."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from recog.config import values
from recog.devices.mesh import state_layout
from recog.errors import ConfigError
from recog.train import optimizer
from recog.train.advance import Streamed
from recog.train.run import Run
from recog.train.step import make_state, make_step

STEPS, LOWEST, HIGHEST = 100, 1e-6, 1.0
MEMORY = 0.8  # of the smoothed loss
GROWN = 2.0  # times the least smoothed loss, at which there is no use in going on
FEWEST = 10  # steps from which anything can be said


class Found(NamedTuple):
    """The rates, the loss at each and smoothed, and the rate at which it falls fastest."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    fastest: float


def find(run: Run, say: Callable[[str], None] = print) -> Found:
    """Train on the run's first batches at rising rates, until the loss grows."""
    config = run.config
    growth = math.log(HIGHEST / LOWEST) / (STEPS - 1)

    def rate(step: jax.Array | int) -> jax.Array:
        return LOWEST * jnp.exp(growth * step)

    tx = optimizer.optimizer(config, rate)
    key = jax.random.key(values.seed(config, 'init'))
    given = run.initial().variables
    layout = state_layout(run.mesh, jax.eval_shape(lambda key: make_state(run.model, tx, 0.0, key), key))
    state = jax.jit(lambda key, given: make_state(run.model, tx, 0.0, key, given),
                    out_shardings=layout)(key, given)
    plain = config.copy_and_resolve_references()
    plain.train.ema = 0.0
    steps = run._replace(config=plain, total=max(run.total, STEPS))
    advance = Streamed(steps, make_step(run.model, tx, rate, plain, run.mesh), layout, 0)
    say(f'{STEPS} steps of {run.plan.average:.4g} images at rates from {LOWEST:g} to {HIGHEST:g}')
    rates, losses = [], []
    for step in range(STEPS):
        state, sent = advance(state, step, step + 1)
        rates.append(LOWEST * math.exp(growth * step))
        losses.append(float(sent.metrics['loss']))
        if not math.isfinite(losses[-1]) or _grows(smooth(losses)):
            break
    return judged(rates, losses)


def judged(rates: Sequence[float], losses: Sequence[float]) -> Found:
    """What the losses say: where the smoothed one falls fastest over the logarithm of the rate."""
    count = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    if count < FEWEST:
        raise ConfigError(f'--find-rate: the loss is no number after {count} steps; look at the data and at '
                          'config.train.precision')
    smoothed = smooth(losses[:count])
    least = min(range(count), key=smoothed.__getitem__)
    falls = [smoothed[place + 1] - smoothed[place - 1] for place in range(1, max(least, 2))]
    fastest = 1 + min(range(len(falls)), key=falls.__getitem__)
    return Found(list(rates[:count]), list(losses[:count]), smoothed, rates[fastest])


def smooth(losses: Sequence[float]) -> list[float]:
    """Means in which each loss counts less with each step after it."""
    found, total, weight = [], 0.0, 0.0
    for loss in losses:
        total, weight = MEMORY * total + loss, MEMORY * weight + 1
        found.append(total / weight)
    return found


def _grows(smoothed: Sequence[float]) -> bool:
    return len(smoothed) >= FEWEST and smoothed[-1] > GROWN * min(smoothed)
