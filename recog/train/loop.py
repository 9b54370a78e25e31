"""Training: what a recipe comes to on these data and devices, and the loop around its step.

Order of the loop: step k runs; the metrics of step k - 1 are read meanwhile; what is due at k (evaluation, checkpoint)
happens before batch k + 1 is taken. So position, state and step number are one integer. Where the data are on the devices,
several steps run at one call, up to the next at which something is due.
"""

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from recog import models
from recog.config import values
from recog.data.batches import Batches
from recog.data.pipeline import read_batches, to_devices
from recog.devices import cost
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated, state_layout
from recog.evaluation import measure
from recog.images import augment_on_devices
from recog.reading.compiled import decoder
from recog.train import log, optimizer, processes, resident
from recog.train.run import Run
from recog.train.step import State, make_state, make_step, parts
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.folder import Mirror
from recog.workdir.opened import evaluated


class NonFinite(RuntimeError):
    """The loss or the gradient is no number any more."""


class Trainer:
    """A run on its workdir: restored or fresh, then stepped to its end."""

    def __init__(self, run: Run, workdir: Path, stop: processes.Stop):
        self.run, self.workdir, config = run, workdir, run.config
        self.rate = optimizer.schedule(config, run.total, run.plan.epoch)
        self.tx = optimizer.optimizer(config, self.rate)
        self.decode = decoder(run.model, run.mesh, config.eval.beam)
        self.first = jax.process_index() == 0
        self.checkpoints = Checkpoints(workdir, config.checkpoint.keep)
        self.state, self.start, counts = self._begin()
        self.mirror = Mirror(workdir)
        self.log = log.Log(self.mirror.here, self.start, run.total, first=self.first, tensorboard=config.log.tensorboard)
        self.rejections = log.Rejections(self.mirror.here, jax.process_index(), counts)
        self.clock = log.Clock()
        self.stop = stop
        self._steps: dict[tuple, Callable] = {}

    def _begin(self) -> tuple[State, int, dict[str, int]]:
        """The newest checkpoint on this mesh, or a fresh state."""
        run, config = self.run, self.run.config
        key = jax.random.key(values.seed(config, 'init'))
        make = functools.partial(make_state, run.model, self.tx, config.train.ema)
        abstract = jax.eval_shape(make, key)
        self.layout = state_layout(run.mesh, abstract)
        target = jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
                              abstract, self.layout)

        def read(step: int) -> tuple[State, int, dict[str, int]]:
            saved = {part: self.checkpoints.restore(step, part, tree) for part, tree in parts(target).items()}
            record = self.checkpoints.run(step)
            variables, rest = saved['variables'], saved['optimizer']
            return State(rest['step'], variables['params'], variables['stats'], rest['opt'],
                         variables['ema'] if config.train.ema else {}), record['position'], record['rows']

        found = self.checkpoints.newest_sound(read, set_aside=True)
        if found:
            return found
        start = run.initial()
        if self.first:
            print('\n'.join(start.words), end='\n' if start.words else '', flush=True)
        return jax.jit(make, out_shardings=self.layout)(key, start.variables), 0, {}

    def fit(self) -> bool:
        """Step to the end of the recipe, logging, evaluating and saving on the way; False if a signal ended it earlier."""
        run, config = self.run, self.run.config
        advance = self._resident() if config.data.resident else self._streamed()
        every = {'eval': run.steps(config.eval.every), 'checkpoint': run.steps(config.checkpoint.every)}
        waiting = None
        position = self.start
        while position < run.total:
            stopped = self.stop.poll(run.mesh)
            until = min(run.total, *(position - position % length + length for length in every.values() if length), run.total)
            count, metrics, rows = advance(position, until)
            position += count
            due = {name for name, length in every.items() if position == run.total or length and position % length == 0}
            if waiting:
                self._read(*waiting)
            waiting = (position - count, count, metrics, rows)
            if stopped():
                due.add('checkpoint')
            if due:
                self._read(*waiting)
                waiting = None
                self._save(position, self._evaluate(position) if 'eval' in due else {})
                self.clock.reset()
            if stopped():
                self.log.say(f'stopped by a signal after step {position}, which is saved; the same command goes on from there')
                return False
        return True

    def _streamed(self) -> Callable:
        """What makes the next step, on a batch that is read meanwhile: how many steps, their metrics, rows of a step."""
        run, config = self.run, self.run.config
        places = functools.partial(local_rows, run.mesh)
        source = Batches(run.source, run.plan, places, run.vocab, config, run.total)
        batches = to_devices(read_batches(source, config, self.start), batch_sharding(run.mesh))

        def advance(position: int, until: int) -> tuple[int, dict[str, jax.Array], int]:
            began = time.perf_counter()
            batch, notes = next(batches)
            self.clock.waited(time.perf_counter() - began)
            self.rejections.add(len(source.places[len(batch['weight'])]), notes)
            self.state, metrics = self._step(batch)(self.state, batch)
            return 1, metrics, len(batch['weight'])
        return advance

    def _resident(self) -> Callable:
        """The same on the data that are on the devices: several steps, at most to `until`."""
        run = self.run
        store = resident.Store(run.source, run.mesh)
        plain, seed = make_step(run.model, self.tx, self.rate, run.config, run.mesh), values.seed(run.config, 'augment')

        def step(state: State, batch: models.Batch) -> tuple[State, dict[str, jax.Array]]:
            return plain(state, augment_on_devices.change(batch, seed, run.config.image))

        shapes = store.batch(run.config.train.batch)
        self.flops = cost.count(jax.jit(step).trace(self.state, shapes).jaxpr) / run.config.train.batch
        several = resident.several(step, run.mesh, self.layout, looped=jax.default_backend() != 'cpu')

        def advance(position: int, until: int) -> tuple[int, dict[str, jax.Array], int]:
            count = min(until - position, resident.AT_ONCE)
            places = np.stack([run.plan.rows(position + number) for number in range(count)])
            for rows, _ in places:
                self.rejections.add(*store.notes(rows))
            self.state, metrics = several(self.state, store.arrays, resident.padded(places), count)
            return count, metrics, places.shape[2]
        return advance

    def _step(self, batch: models.Batch) -> Callable:
        """The compiled step for a batch of this shape, whose arithmetic is counted on the way."""
        run, shape = self.run, (batch['image'].shape, batch['tokens'].shape)
        if shape in self._steps:
            return self._steps[shape]
        traced = jax.jit(make_step(run.model, self.tx, self.rate, run.config, run.mesh), donate_argnums=0,
                         in_shardings=(self.layout, batch_sharding(run.mesh)),
                         out_shardings=(self.layout, replicated(run.mesh)),
                         compiler_options=compiler_options(run.mesh)).trace(self.state, batch)
        self.flops = cost.count(traced.jaxpr) / len(batch['weight'])  # of an image, at the shape seen last
        self._steps[shape] = traced.lower().compile()
        return self._steps[shape]

    def _read(self, before: int, count: int, metrics: dict[str, jax.Array], rows: int) -> None:
        """Wait for the metrics of `count` steps; stop where they are no numbers, log where a line is due."""
        found = jax.device_get(metrics)
        self.clock.done(rows * count)
        speed: dict[str, float] = {}  # of all of them: they came at once
        for number in range(count):
            position = before + number + 1
            values = {name: float(np.ravel(value)[number]) for name, value in found.items()}
            self._check(position, values)
            self.log.advance()
            if position % self.run.config.log.every == 0 or position in (1, self.run.total):
                speed = speed or self.clock.read()
                self._log(position, values | speed)

    def _check(self, position: int, values: dict[str, float]) -> None:
        if not (math.isfinite(values['loss']) and math.isfinite(values['grad_norm'])):
            self._stop(position, values)

    def _log(self, position: int, values: dict[str, float]) -> None:
        values['flops_per_second'] = values['images_per_second'] * self.flops
        counts = self.rejections.total()
        self.log.write(position, values, self._line(position, values, counts))
        for concern in log.concerns(values):
            self.log.say(f'step {position}: warning: {concern}')

    def _line(self, position: int, values: dict[str, float], counts: dict[str, int]) -> str:
        words = [f'step {position}/{self.run.total}', f'epoch {position / self.run.plan.epoch:.2f}', f'loss {values["loss"]:.4f}',
                 f'rate {values["rate"]:.2e}', f'gradient {values["grad_norm"]:.2f}',
                 f'{values["images_per_second"]:.0f} images/s', f'data wait {values["data_wait"]:.0%}',
                 cost.share_of_peak(values['flops_per_second'], self.run.mesh)]
        words += [f'{name} {value:.0f}' for name, value in values.items() if name not in KNOWN and value]
        return '  '.join(words + ([log.kept(counts)] if set(counts) - {'read'} else []))

    def _stop(self, position: int, values: dict[str, float]) -> None:
        rows, _ = self.run.plan.rows(position - 1)
        names = [name for name, _ in self.run.source.labels(rows[:SHOWN].tolist())]
        more = f' and {len(rows) - SHOWN} more' if len(rows) > SHOWN else ''
        last = self.checkpoints.latest()
        raise NonFinite(f'step {position}: loss {values["loss"]}, gradient norm {values["grad_norm"]}; '
                        f'rows {", ".join(map(str, rows[:SHOWN]))}{more} ({", ".join(names)}{more}); last good checkpoint: '
                        + (f'step {last}' if last is not None else 'none yet'))

    def _evaluate(self, position: int) -> dict[str, float]:
        config, run = self.run.config, self.run
        variables = evaluated(parts(self.state)['variables'])
        metrics: dict[str, float] = {}
        for source in run.validation:
            result = measure.measure_set(self.decode, variables, source, run.vocab, config, run.mesh, config.eval.limit)
            self.log.write(position, {f'{source.name}/{name}': value for name, value in result.figures.items()},
                           f'step {position}  {measure.line(result)}')
            for concern in measure.concerns(result):
                self.log.say(f'step {position}: warning: {concern}')
            metrics = metrics or {name: float(value) for name, value in result.figures.items()}
        return metrics

    def _save(self, position: int, metrics: dict[str, float]) -> None:
        run = self.run
        sets = {source.name: len(source) for source in run.source.sources}
        record = description.record(run.config, run.vocab, position, self.rejections.total(), sets)
        self.mirror.send()  # before the checkpoint: a run that resumes there finds the lines up to it
        self.checkpoints.save(position, parts(self.state), record, metrics)

    def close(self) -> None:
        """Finish saving and close the log."""
        self.checkpoints.close()
        self.log.close()
        self.mirror.close()



KNOWN = ('loss', 'grad_norm', 'rate', 'rows', 'images_per_second', 'data_wait', 'flops_per_second')
SHOWN = 8  # rows named where a step went wrong


def train_to_end(run: Run, workdir: Path, stop: processes.Stop | None = None) -> bool:
    """Train, or go on training, to the end of the recipe; False if a signal ended it earlier."""
    trainer = Trainer(run, workdir, stop or processes.Stop())
    try:
        trainer.log.say(f'{run.describe()}; starting at step {trainer.start}')
        finished = trainer.fit()
        counts = trainer.rejections.total()
        listed = f'; listed in {trainer.workdir / trainer.rejections.file.name}' if set(counts) - {'read'} else ''
        trainer.log.say(log.kept(counts) + listed)
    finally:
        trainer.close()
    return finished
