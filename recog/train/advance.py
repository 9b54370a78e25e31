"""What makes the next steps of a run: on batches that are read ahead, or on data that the devices hold."""

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recog import models
from recog.data.batches import Batches
from recog.data.pipeline import read_batches, to_devices
from recog.data.plan import Shape
from recog.devices import cost
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated
from recog.train import resident
from recog.train.run import Run
from recog.train.several import AT_ONCE, Several
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
        self._run = run
        places = functools.partial(local_rows, run.mesh)
        self._source = Batches(run.source, run.plan, places, run.vocab, run.config, run.total)
        self._batches: Iterator[tuple] = to_devices(read_batches(self._source, run.config, position),
                                                    batch_sharding(run.mesh))
        self._jitted = jax.jit(step, donate_argnums=0, in_shardings=(layout, batch_sharding(run.mesh)),
                               out_shardings=(layout, replicated(run.mesh)),
                               compiler_options=compiler_options(run.mesh))
        self.compiled: dict[tuple, Callable] = {}
        self._flops: dict[tuple, float] = {}  # of a row

    def coming(self, position: int) -> list[tuple[models.Batch, int]]:
        """For each shape of the coming epoch's batches, one without values, and how many there are."""
        plan, first = self._run.plan, next(self._batches)
        self._batches = itertools.chain([first], self._batches)
        steps = range(position, min(position + plan.epoch, self._run.total))
        counts = Counter(plan.shape(step) for step in steps)
        return [(_shaped(first[0], shape), count) for shape, count in counts.items()]

    def drafts(self, state: State, position: int) -> dict[tuple, Callable]:
        """For each shape of the coming epoch's batches, the function that lowers its step."""
        return {_shape(batch): functools.partial(self._lower, state, batch)
                for batch, _ in self.coming(position)}

    def on_zeros(self, batch: models.Batch, state: State) -> State:
        """The state after a step on a batch of zeros that has this shape."""
        arrays = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype, device=array.sharding), batch)
        return self._step(arrays, state)(state, arrays)[0]

    def __call__(self, state: State, position: int, until: int) -> tuple[State, Dispatched]:
        """The state after the step, before it has been computed."""
        began = time.perf_counter()
        batch, notes = next(self._batches)
        waited = time.perf_counter() - began
        rows = len(batch['weight'])
        state, metrics = self._step(batch, state)(state, batch)
        return state, Dispatched(1, metrics, rows, self._flops[_shape(batch)], waited,
                                 len(self._source.places[rows]), notes)

    def _step(self, batch: models.Batch, state: State) -> Callable:
        """The compiled step for batches of this shape."""
        shape = _shape(batch)
        if shape not in self.compiled:
            self.compiled[shape] = self._lower(state, batch).compile()
        return self.compiled[shape]

    def _lower(self, state: State, batch: models.Batch) -> Any:
        """The lowered step for batches of this shape."""
        traced = self._jitted.trace(state, batch)
        self._flops[_shape(batch)] = cost.count(traced.jaxpr) / len(batch['weight'])
        return traced.lower()


def _shape(batch: models.Batch) -> tuple:
    return batch['image'].shape, batch['tokens'].shape


def _shaped(batch: models.Batch, shape: Shape | None) -> models.Batch:
    """What a batch would be in another shape, without its values; in its own, if that is None."""
    rows, sizes = len(batch['weight']), {}
    if shape:
        channels = batch['image'].shape[3:]
        rows, sizes = shape.rows, {'image': (shape.height, shape.width, *channels), 'tokens': (shape.length,)}
    return {name: jax.ShapeDtypeStruct((rows, *sizes.get(name, array.shape[1:])), array.dtype,
                                       sharding=array.sharding) for name, array in batch.items()}


class Resident:
    """Several steps of one shape at a call, on packed sets that the devices hold."""

    def __init__(self, run: Run, step: Callable, layout: Any, position: int):
        self._run, self._step, self._layout = run, step, layout
        self._store = resident.make_store(run.source, run.mesh, run.config)
        self._notes = resident.Notes(run.source, run.mesh)
        self._several: dict[Shape | None, Several] = {}
        self.compiled: dict[Shape | None, Callable] = {}
        self._flops: dict[Shape | None, float] = {}  # of a row

    def drafts(self, state: State, position: int) -> dict[Shape | None, Callable]:
        """For each shape of the coming epoch's batches, the function that lowers its program."""
        plan = self._run.plan
        steps = range(position, min(position + plan.epoch, self._run.total))
        firsts = {plan.shape(step): step for step in reversed(steps)}
        return {shape: functools.partial(self._lower, state, shape, step) for shape, step in firsts.items()}

    def __call__(self, state: State, position: int, until: int) -> tuple[State, Dispatched]:
        """The state after the steps of one shape up to `until`, or as many of them as a call may take."""
        plan = self._run.plan
        shape, most = plan.shape(position), min(until, position + AT_ONCE)
        steps = list(itertools.takewhile(lambda step: plan.shape(step) == shape, range(position, most)))
        places = [self._store.places(plan, step) for step in steps]
        read = [self._notes.of(place['index']) for place in places]
        several = self._program(state, shape, places[0])
        if shape not in self.compiled:
            self.compiled[shape] = several.lower(state, self._store.arrays, places).compile()
        state, metrics = several.run(self.compiled[shape], state, self._store.arrays, places)
        here, notes = sum(rows for rows, _ in read), [note for _, notes in read for note in notes]
        rows = len(places[0]['index'])
        return state, Dispatched(len(steps), metrics, rows, self._flops[shape], 0.0, here, notes)

    def _lower(self, state: State, shape: Shape | None, step: int) -> Any:
        places = self._store.places(self._run.plan, step)
        return self._program(state, shape, places).lower(state, self._store.arrays, [places])

    def _program(self, state: State, shape: Shape | None, places: dict[str, np.ndarray]) -> Several:
        """The program for batches of this shape."""
        if shape not in self._several:
            def step(state: State, arrays: Any, places: Any) -> tuple[State, Metrics]:
                return self._step(state, self._store.gather(arrays, places, shape))

            traced = jax.jit(step).trace(state, self._store.arrays, places)
            self._flops[shape] = cost.count(traced.jaxpr) / len(places['index'])
            self._several[shape] = Several(step, self._run.mesh, self._layout,
                                           looped=jax.default_backend() != 'cpu')
        return self._several[shape]
