"""Training: the state, the pure step, and the loop around it.

Order of the loop: step k runs; the metrics of step k - 1 are read meanwhile; what is due at k (evaluation, checkpoint)
happens before batch k + 1 is taken. So position, state and step number are one integer.
"""

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import checkpoint, cost, data, evaluate, initial, log, models, optimize, processes, sharding, sources
from recog import config as configs
from recog import workdir as workdirs
from recog.plan import Bucketed, Plan, shapes
from recog.text import Unencodable, Vocab


class State(NamedTuple):
    """All that a step changes; `ema` is empty where weights are not averaged."""

    step: jax.Array
    params: Any
    stats: Any
    opt: Any
    ema: Any


class NonFinite(RuntimeError):
    """The loss or the gradient is no number any more."""


class Run(NamedTuple):
    """What a recipe comes to on these data and devices."""

    config: ConfigDict
    vocab: Vocab
    model: models.Model
    mesh: Mesh
    source: sources.Joined
    validation: list[sources.Source]
    plan: Plan
    total: int  # steps
    initial: Callable[[], initial.Initial]  # what a fresh start has instead of drawn values

    def steps(self, length: str) -> int:
        """A length of the recipe in steps."""
        return configs.steps(length, batch=self.plan.average, epoch=self.plan.epoch, total=self.total)

    def describe(self) -> str:
        """What will be done, in steps and in epochs."""
        config, epoch = self.config, self.plan.epoch

        def both(steps: int) -> str:
            return f'{steps:,} steps ({steps / epoch:.4g} epochs)'

        return (f'{both(self.total)} of {self.plan.average:.4g} images; {len(self.source):,} images in {self.source.name}; '
                f'warm-up {both(self.steps(config.schedule.warmup))}; evaluation every {both(self.steps(config.eval.every))}; '
                f'checkpoint every {both(self.steps(config.checkpoint.every))}; '
                f'{self.mesh.size} x {self.mesh.devices.flat[0].device_kind}')


def prepare(config: ConfigDict, vocab: Vocab, root: str | Path, devices: list[jax.Device]) -> Run:
    """Open the data and build the model; whatever does not fit is refused here, before anything is compiled."""
    mesh = sharding.make_mesh(config.mesh, devices)
    sharding.check_batch(mesh, config)
    opened = [sources.open_set(name, config, root) for name in config.data.train]
    source, seed = sources.joined(opened), configs.seed(config, 'data')
    plan: Plan
    if config.image.fit == 'none':
        plan = _bucketed(config, vocab, source, mesh, seed)
    else:
        plan = Plan([len(source) for source in opened], config.data.weights, config.train.batch, config.data.order, seed)
    total = configs.steps(config.train.length, batch=plan.average, epoch=plan.epoch)
    if total < 1:
        raise configs.ConfigError(f'config.train.length={config.train.length!r} is less than one step')
    validation = [sources.open_set(name, config, root) for name in config.eval.sets]
    model = models.build(config, vocab)
    return Run(config, vocab, model, mesh, source, validation, plan, total,
               functools.cache(functools.partial(initial.given, config, vocab, model)))


def _bucketed(config: ConfigDict, vocab: Vocab, source: sources.Joined, mesh: Mesh, seed: int) -> Bucketed:
    """The plan over images of any size; their sizes and the lengths of their labels are looked up first."""
    if config.data.weights:
        raise configs.ConfigError(f'config.data.weights={config.data.weights} cannot be combined with config.image.fit=none')
    given = shapes(config, config.train.batch, mesh.size * config.train.accumulate)
    lengths = np.zeros(len(source), np.int64)
    if len({shape.length for shape in given}) > 1:
        for row, (_, label) in enumerate(source.labels(range(len(source)))):
            with contextlib.suppress(Unencodable):
                lengths[row] = len(vocab.encode(label, max_length=config.text.max_length).ids)
    return Bucketed(data.measure(source, len(source)), lengths, given, config.data.order, seed)


def make_state(model: models.Model, tx: optax.GradientTransformation, ema: float, key: jax.Array,
               given: models.Variables | None = None) -> State:
    """The state before the first step; what of the variables is given stands in for the initial values."""
    variables = model.init(key)
    if given:
        variables = models.unflatten(models.flatten(variables) | models.flatten(given))
    params = variables['params']
    return State(jnp.zeros((), jnp.int32), params, variables['stats'], tx.init(params), params if ema else {})


def make_step(model: models.Model, tx: optax.GradientTransformation, rate: Callable, config: ConfigDict,
              mesh: Mesh | None = None) -> Callable:
    """The pure function (state, batch) -> state, metrics."""
    accumulate, decay, seed = config.train.accumulate, config.train.ema, configs.seed(config, 'dropout')

    def loss(params, stats, batch, key, step):
        (total, count), (stats, sums) = model.loss({'params': params, 'stats': stats}, batch, key=key, train=True, step=step)
        return total, (stats, {'total': total, 'count': count, 'rows': batch['weight'].sum(), **sums})

    def whole(state, batch, key):
        return jax.grad(loss, has_aux=True)(state.params, state.stats, batch, key, state.step)

    def in_parts(state, batch, key):
        """The sums over micro-batches; statistics are the mean of theirs, weighted by their real rows."""
        def cut(leaf):
            parts = leaf.reshape(accumulate, -1, *leaf.shape[1:])
            # Each micro-batch lies over all devices again.
            layout = None if mesh is None else sharding.micro_batches(mesh)
            return parts if layout is None else jax.lax.with_sharding_constraint(parts, layout)

        def part(total, item):
            number, micro = item
            gradient, (stats, sums) = whole(state, micro, jax.random.fold_in(key, number))
            weighted = jax.tree.map(lambda leaf: leaf * sums['rows'], stats)
            return jax.tree.map(jnp.add, total, (gradient, weighted, sums)), None

        items = (jnp.arange(accumulate), jax.tree.map(cut, batch))
        first = jax.tree.map(lambda leaf: leaf[0], items[1])
        shapes = jax.eval_shape(lambda: (lambda out: (out[0], out[1][0], out[1][1]))(whole(state, first, key)))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        (gradient, stats, sums), _ = jax.lax.scan(part, zeros, items)
        rows = sums['rows']
        stats = jax.tree.map(lambda new, old: jnp.where(rows > 0, new / jnp.maximum(rows, 1), old), stats, state.stats)
        return gradient, (stats, sums)

    def step(state: State, batch: models.Batch) -> tuple[State, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        gradient, (stats, sums) = (in_parts if accumulate > 1 else whole)(state, batch, key)
        total, count = sums.pop('total'), sums.pop('count')
        # A loss of count 0 is a sum that is not divided.
        share = jnp.where(count > 0, 1 / jnp.maximum(count, 1e-9), 1.0)
        gradient = jax.tree.map(lambda leaf: leaf * share, gradient)
        updates, opt = tx.update(gradient, state.opt, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = optax.incremental_update(params, state.ema, 1 - decay) if decay else state.ema
        metrics = {'loss': total * share, 'grad_norm': optax.tree.norm(gradient), 'rate': rate(state.step), **sums}
        return State(state.step + 1, params, stats, opt, ema), metrics

    return step


def parts(state: State) -> dict[str, Any]:
    """The state as the parts of a checkpoint."""
    variables = {'params': state.params, 'stats': state.stats}
    return {'variables': {**variables, 'ema': state.ema} if state.ema else variables,
            'optimizer': {'step': state.step, 'opt': state.opt}}


class Trainer:
    """A run on its workdir: restored or fresh, then stepped to its end."""

    def __init__(self, run: Run, workdir: Path, stop: processes.Stop):
        self.run, self.workdir, config = run, workdir, run.config
        self.rate = optimize.schedule(config, run.total, run.plan.epoch)
        self.tx = optimize.optimizer(config, self.rate)
        self.decode = evaluate.decoder(run.model, run.mesh, config.eval.beam)
        self.first = jax.process_index() == 0
        self.checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep)
        self.state, self.start, counts = self._begin()
        self.mirror = workdirs.Mirror(workdir)
        self.log = log.Log(self.mirror.here, self.start, run.total, first=self.first, tensorboard=config.log.tensorboard)
        self.rejections = log.Rejections(self.mirror.here, jax.process_index(), counts)
        self.clock = log.Clock()
        self.stop = stop
        self._steps: dict[tuple, Callable] = {}

    def _begin(self) -> tuple[State, int, dict[str, int]]:
        """The newest checkpoint on this mesh, or a fresh state."""
        run, config = self.run, self.run.config
        key = jax.random.key(configs.seed(config, 'init'))
        make = functools.partial(make_state, run.model, self.tx, config.train.ema)
        abstract = jax.eval_shape(make, key)
        self.layout = sharding.state(run.mesh, abstract)
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
        places = functools.partial(sharding.local_rows, run.mesh)
        source = data.Batches(run.source, run.plan, places, run.vocab, config, run.total)
        batches = data.to_devices(data.stream(source, config, self.start), sharding.batches(run.mesh))
        every = {'eval': run.steps(config.eval.every), 'checkpoint': run.steps(config.checkpoint.every)}
        waiting = None
        for position in range(self.start + 1, run.total + 1):
            stopped = self.stop.poll(run.mesh)
            began = time.perf_counter()
            batch, notes = next(batches)
            self.clock.waited(time.perf_counter() - began)
            self.rejections.add(len(source.places[len(batch['weight'])]), notes)
            self.state, metrics = self._step(batch)(self.state, batch)
            due = {name for name, length in every.items() if position == run.total or length and position % length == 0}
            if waiting:
                self._read(*waiting)
            waiting = (position, metrics, len(batch['weight']))
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

    def _step(self, batch: models.Batch) -> Callable:
        """The compiled step for a batch of this shape, whose arithmetic is counted on the way."""
        run, shape = self.run, (batch['image'].shape, batch['tokens'].shape)
        if shape in self._steps:
            return self._steps[shape]
        traced = jax.jit(make_step(run.model, self.tx, self.rate, run.config, run.mesh), donate_argnums=0,
                         in_shardings=(self.layout, sharding.batches(run.mesh)),
                         out_shardings=(self.layout, sharding.replicated(run.mesh))).trace(self.state, batch)
        self.flops = cost.count(traced.jaxpr) / len(batch['weight'])  # of an image, at the shape seen last
        self._steps[shape] = traced.lower().compile()
        return self._steps[shape]

    def _read(self, position: int, metrics: dict[str, jax.Array], rows: int) -> None:
        """Wait for a step's metrics; stop where they are no numbers, log where a line is due."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.log.advance()
        self.clock.done(rows)
        if not (math.isfinite(values['loss']) and math.isfinite(values['grad_norm'])):
            self._stop(position, values)
        if position % self.run.config.log.every and position not in (1, self.run.total):
            return
        values |= self.clock.read()
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
        variables = checkpoint.evaluated(parts(self.state)['variables'])
        metrics: dict[str, float] = {}
        for source in run.validation:
            result = evaluate.measure(self.decode, variables, source, run.vocab, config, run.mesh, config.eval.limit)
            self.log.write(position, {f'{source.name}/{name}': value for name, value in result.figures.items()},
                           f'step {position}  {evaluate.line(result)}')
            for concern in evaluate.concerns(result):
                self.log.say(f'step {position}: warning: {concern}')
            metrics = metrics or {name: float(value) for name, value in result.figures.items()}
        return metrics

    def _save(self, position: int, metrics: dict[str, float]) -> None:
        run = self.run
        record = {'position': position, 'config': configs.to_json(run.config), 'vocab': run.vocab.to_json(),
                  'vocab_hash': run.vocab.hash, 'rows': self.rejections.total(), 'cpus': len(os.sched_getaffinity(0)),
                  'sets': {source.name: len(source) for source in run.source.sources}}
        self.mirror.send()  # before the checkpoint: a run that resumes there finds the lines up to it
        self.checkpoints.save(position, parts(self.state), record, metrics)

    def close(self) -> None:
        """Finish saving and close the log."""
        self.checkpoints.close()
        self.log.close()
        self.mirror.close()


KNOWN = ('loss', 'grad_norm', 'rate', 'rows', 'images_per_second', 'data_wait', 'flops_per_second')
SHOWN = 8  # rows named where a step went wrong


def train(run: Run, workdir: Path, stop: processes.Stop | None = None) -> bool:
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
