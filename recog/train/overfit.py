"""`recog train --overfit N`: whether a recipe can learn at all, shown on a handful of its own examples."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from recog.config import recipe, values
from recog.data import labels
from recog.data.batches import Batches
from recog.data.joined import joined
from recog.data.plan import Plan
from recog.data.rows import Row
from recog.devices.mesh import batch_sharding, replicated
from recog.errors import ConfigError
from recog.evaluation import measure
from recog.reading.compiled import decoder
from recog.train import optimizer
from recog.train.run import Run
from recog.train.step import make_state, make_step

SECONDS = 50.0  # of training, besides compiling
LEARNT, FALLEN = 0.9, 0.1  # share of the examples read rightly, or share of the first loss that is left


def run(config: Any, count: int, open_run: Callable[[Any], Run], say: Callable = print) -> bool:
    """Train on `count` examples until they are learnt or the time is over, and say what came of it."""
    config = recipe.changed(config.copy_and_resolve_references(), {
        'train.batch': count, 'train.accumulate': 1, 'train.norm_group': 0, 'train.ema': 0.0,
        'swa.start': '0 steps',
        'train.length': '1000000 steps', 'image.augment.probability': 0.0, 'schedule.name': 'constant',
        'schedule.warmup': '0 steps', 'optimizer.decay': 0.0,
    })
    whole = open_run(config)
    source = Few(whole, count)
    few = whole._replace(source=joined([source]), plan=Plan([count], (), count, 'file', 0), total=1_000_000)
    rate = optimizer.schedule(config, few.total, few.plan.epoch)
    tx = optimizer.optimizer(config, rate)
    make = jax.jit(partial(make_state, few.model, tx, 0.0), out_shardings=replicated(few.mesh))
    given = few.initial()
    state = make(jax.random.key(values.seed(config, 'init')), given.variables, given.kept)
    batch = Batches(few.source, few.plan, np.arange, few.vocab, config, 1)[0]
    del batch['notes'], batch['rows']
    batch = jax.device_put(batch, batch_sharding(few.mesh))
    step = jax.jit(make_step(few.model, tx, rate, config, few.mesh), donate_argnums=0)
    decode = decoder(few.model, few.mesh)
    losses, right = [], 0.0
    state, metrics = step(state, batch)  # compiles
    first, begun, number = float(metrics['loss']), time.monotonic(), 1
    while right < LEARNT and time.monotonic() - begun < SECONDS:
        state, metrics = step(state, batch)
        number += 1
        losses.append(float(metrics['loss']))
        if not np.isfinite(losses[-1]):
            break
        if number % 20 == 0 or time.monotonic() - begun > SECONDS:
            variables = {'params': state.params, 'stats': state.stats}
            result = measure.measure_set(decode, variables, source, few.vocab, config, few.mesh)
            right = result.figures['accuracy']
    return verdict(right, first, losses[-1], number, count, say)


def verdict(right: float, first: float, last: float, steps: int, count: int,
            say: Callable[[str], None]) -> bool:
    """Say whether the recipe can learn: from accuracy and loss."""
    learns = right >= LEARNT or last <= FALLEN * first
    figures = (f'after {steps} steps {right:.0%} of the {count} examples are read rightly, '
               f'the loss went from {first:.4g} to {last:.4g}')
    if learns:
        say(f'this recipe can learn: {figures}')
    else:
        say(f'this recipe does not learn: {figures}; '
            'look at config.optimizer.rate, the labels, and config.image')
    return learns


class Few:
    """The first examples of a run that it can use."""

    def __init__(self, run: Run, count: int):
        self.name, self._source, self._rows = f'{count} of {run.source.name}', run.source, []
        longest = run.config.text.max_length
        for start in range(0, len(run.source), count):
            block = list(range(start, min(start + count, len(run.source))))
            self._rows += [index for index, row in zip(block, run.source.rows(block), strict=True)
                           if row.image is not None and labels.encode(run.vocab, row.text, longest).ids]
            if len(self._rows) >= count:
                break
        if len(self._rows) < count:
            raise ConfigError(f'--overfit {count}: the training sets hold {len(self._rows)} usable examples')
        self._rows = self._rows[:count]

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, indices: Any) -> Iterable[Row]:
        return self._source.rows([self._rows[index] for index in indices])

    def labels(self, indices: Any) -> list[tuple[str, str]]:
        return self._source.labels([self._rows[index] for index in indices])
