"""What makes the next steps of a run: on batches that are read ahead, or on data that the devices hold."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from recog import models
from recog.config import values
from recog.data.batches import Batches
from recog.data.pipeline import read_batches, to_devices
from recog.devices import cost
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated
from recog.images import augment_on_devices
from recog.train import resident
from recog.train.run import Run
from recog.train.step import State

Metrics = dict[str, jax.Array]


class Dispatched(NamedTuple):
    """Steps that were given to the devices; their metrics may not have been computed yet."""

    steps: int
    metrics: Metrics  # arrays over the steps, if they were made by one call
    rows: int  # of a step, over all processes
    flops: float  # of a row
    waited: float  # seconds that passed until the data were there
    read: int  # rows that this process has read
    notes: list[tuple]  # on some of these rows


class Streamed:
    """One step at a call, on batches that are read ahead."""

    def __init__(self, run: Run, step: Callable, layout: Any, position: int):
        self._run, self._step, self._layout = run, step, layout
        places = functools.partial(local_rows, run.mesh)
        self._source = Batches(run.source, run.plan, places, run.vocab, run.config, run.total)
        self._batches = to_devices(read_batches(self._source, run.config, position), batch_sharding(run.mesh))
        self._compiled: dict[tuple, tuple[Callable, float]] = {}

    def __call__(self, state: State, position: int, until: int) -> tuple[State, Dispatched]:
        """The state after the step, before it has been computed."""
        began = time.perf_counter()
        batch, notes = next(self._batches)
        waited = time.perf_counter() - began
        rows = len(batch['weight'])
        step, flops = self._compile(state, batch)
        state, metrics = step(state, batch)
        return state, Dispatched(1, metrics, rows, flops, waited, len(self._source.places[rows]), notes)

    def _compile(self, state: State, batch: models.Batch) -> tuple[Callable, float]:
        """The step for batches of this shape, and the operations that it takes for a row."""
        shape = (batch['image'].shape, batch['tokens'].shape)
        if shape not in self._compiled:
            mesh = self._run.mesh
            traced = jax.jit(self._step, donate_argnums=0, in_shardings=(self._layout, batch_sharding(mesh)),
                             out_shardings=(self._layout, replicated(mesh)),
                             compiler_options=compiler_options(mesh)).trace(state, batch)
            self._compiled[shape] = traced.lower().compile(), cost.count(traced.jaxpr) / len(batch['weight'])
        return self._compiled[shape]


class Resident:
    """Several steps at a call, on packed sets that the devices hold."""

    def __init__(self, run: Run, step: Callable, layout: Any, position: int):
        seed = values.seed(run.config, 'augment')

        def augmented(state: State, batch: models.Batch) -> tuple[State, Metrics]:
            return step(state, augment_on_devices.change(batch, seed, run.config.image))

        self._run, self._layout, self._step = run, layout, augmented
        self._store = resident.Store(run.source, run.mesh)
        self._flops: float | None = None
        self._steps = resident.several(augmented, run.mesh, layout, looped=jax.default_backend() != 'cpu')

    def __call__(self, state: State, position: int, until: int) -> tuple[State, Dispatched]:
        """The state after the steps up to `until`, or as many of them as a call may take."""
        if self._flops is None:
            batch = self._run.config.train.batch
            traced = jax.jit(self._step).trace(state, self._store.batch(batch))
            self._flops = cost.count(traced.jaxpr) / batch
        count = min(until - position, resident.AT_ONCE)
        places = np.stack([self._run.plan.rows(position + number) for number in range(count)])
        read = [self._store.notes(rows) for rows, _ in places]
        state, metrics = self._steps(state, self._store.arrays, resident.padded(places), count)
        here, notes = sum(rows for rows, _ in read), [note for _, notes in read for note in notes]
        return state, Dispatched(count, metrics, places.shape[2], self._flops, 0.0, here, notes)
