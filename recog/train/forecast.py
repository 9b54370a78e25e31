"""What the rest of a training will cost on this machine, from steps that are measured before it starts."""

import functools
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from recog.train.advance import Resident, Streamed
from recog.train.run import Run
from recog.train.step import State

PLACES = 8  # in an epoch, at which calls on resident data are measured


def forecast(run: Run, advance: Streamed | Resident, state: State, position: int) -> str:
    """How long the steps from here on take, in words; their results are thrown away."""
    measured = _streamed(advance, state, position) if isinstance(advance, Streamed) else \
        _resident(run, advance, state, position)
    steps, seconds, every = 0, 0.0, []
    for count, each in measured:
        steps, seconds = steps + count, seconds + count * each
        every.append(each)
    left = run.total - position
    rows, mean = run.plan.average, seconds / steps
    spread = f'{min(every):.3g} to {max(every):.3g} s' if len(every) > 1 else f'{mean:.3g} s'
    return (f'{left:,} steps of {rows:.4g} images will take {duration(left * mean)} on this machine: a step '
            f'takes {spread}, {rows / mean:,.0f} images/s; evaluations come on top')


def duration(seconds: float) -> str:
    """A time in words."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min' if minutes else f'{seconds:.0f} s'


def _streamed(advance: Streamed, state: State, position: int) -> Iterator[tuple[int, float]]:
    """For each shape of the coming epoch, how many steps it has and the seconds of one."""
    for batch, count in advance.coming(position):
        yield count, _second(functools.partial(advance.on_zeros, batch), state)


def _resident(run: Run, advance: Resident, state: State, position: int) -> Iterator[tuple[int, float]]:
    """Some calls of the coming epoch: how many steps each has, and the seconds of one."""
    for place in range(position, min(position + run.plan.epoch, run.total), max(1, run.plan.epoch // PLACES)):
        steps = [0]

        def call(given: State, place: int = place, steps: list[int] = steps) -> State:
            after, sent = advance(given, place, run.total)
            steps[0] = sent.steps
            return after

        seconds = _second(call, state)
        yield steps[0], seconds / steps[0]


def _second(call: Callable[[State], State], state: State) -> float:
    """The seconds of the second call, on a copy of the state: the first may compile."""
    after = jax.block_until_ready(call(jax.tree.map(jnp.copy, state)))
    begun = time.perf_counter()
    jax.block_until_ready(call(after))
    return time.perf_counter() - begun
