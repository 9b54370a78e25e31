"""`recog bench`: compile time, images per second, arithmetic and memory of a recipe, measured here and kept."""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import (
    __version__,
    collectives,
    cost,
    data,
    images,
    limits,
    models,
    optimize,
    profiling,
    provenance,
    sharding,
    sources,
    text,
)
from recog import config as configs
from recog import train as training
from recog.plan import Plan

CPU_TRAIN_BATCH = 16
# A recipe's speed is that of these fields; bench results are kept by them.
SPEED = ('model', 'text', 'image', 'train.batch', 'train.accumulate', 'train.precision', 'train.norm_group', 'optimizer.name')


class Program(NamedTuple):
    """A compiled function, and how to call it once more on the same batch."""

    compiled: Any
    call: Callable[[], Any]
    flops: int
    figures: dict[str, Any]  # of its compilation


def run(config: ConfigDict, arguments: argparse.Namespace, devices: list[jax.Device]) -> int:
    """Measure what was asked for, print a table, keep the figures."""
    mesh = sharding.make_mesh(config.mesh, devices)
    vocab = text.from_config(config.text)
    model = models.build(config, vocab)
    figures: dict[str, Any] = {
        'config': arguments.config, 'overrides': arguments.overrides, 'device': f'{len(devices)} x {devices[0].device_kind}',
        'processor': provenance.host(), 'cpus': len(os.sched_getaffinity(0)), 'recog': __version__, 'jax': jax.__version__,
        'date': time.strftime('%Y-%m-%d'), 'precision': config.train.precision,
        'trainable_parameters': cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params']),
    }
    program: Program | None = None
    costs: list[profiling.Cost] = []
    for name, make, rows in _programs(config, arguments, mesh):
        program = None  # its arrays are given back before the next are made
        program = make(model, config, mesh, rows)
        figures[name] = measure(program, mesh, rows, arguments.seconds)
    if program and arguments.profile:
        costs = profiling.profile(program.call, collectives.parse(program.compiled.as_text()), Path(arguments.profile))
        figures['costliest'] = [each._asdict() for each in costs[:profiling.COSTLIEST]]
    program = None
    if not arguments.only or 'data' in arguments.only:
        figures['data'] = pipeline(config, vocab, arguments.data, arguments.seconds)
    figures['peak_memory_MiB'] = _peak_memory(devices)  # before the limits are measured on arrays of no model
    if any(isinstance(each, dict) and 'MB_per_image' in each for each in figures.values()):
        figures |= _limit(figures, config.train.precision, devices)
    _print({name: value for name, value in figures.items() if name != 'costliest'})
    if arguments.profile:
        print('\n'.join(profiling.lines(costs, Path(arguments.profile))))
    file = _record_file(config, devices[0].device_kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + '\n')
    collectives.keep(figures, arguments.json)
    return 0


def _programs(config: ConfigDict, arguments: argparse.Namespace, mesh: Any) -> list[tuple[str, Callable[..., Program], int]]:
    """What is measured: its name, what compiles it, and its batch."""
    found: list[tuple[str, Callable[..., Program], int]] = []
    if not arguments.only or 'infer' in arguments.only:
        found += [(f'infer_{batch}', inference, sharding.rounded(mesh, batch)) for batch in sorted({1, max(arguments.batch, 1)})]
    if not arguments.only or 'train' in arguments.only:
        on_cpu = mesh.devices.flat[0].platform == 'cpu'
        batch = arguments.train_batch or (min(config.train.batch, CPU_TRAIN_BATCH) if on_cpu else config.train.batch)
        found.append((f'train_{batch}', training_step, batch))
    return found


def inference(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> Program:
    """From uint8 images to texts' tokens."""
    variables = jax.jit(model.init, out_shardings=sharding.replicated(mesh))(jax.random.key(0))
    arrays = random_batch(config, batch)
    picture, size = (jax.device_put(arrays[key], sharding.batches(mesh)) for key in ('image', 'size'))
    longest, decode = np.int32(config.text.max_length), partial(model.decode, beam=config.eval.beam)
    compiled, figures = _compile(jax.jit(decode), variables, picture, size, longest)
    return Program(compiled, lambda: compiled(variables, picture, size, longest),
                   cost.flops(decode, variables, picture, size, longest), figures)


def training_step(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> Program:
    """Forward, loss, backward and optimizer on a batch that is on the device."""
    step, jitted, make, layout = _step(model, config, mesh, batch)
    state = jax.jit(make, out_shardings=layout)(jax.random.key(0))
    arrays = jax.device_put(random_batch(config, batch), sharding.batches(mesh))
    compiled, figures = _compile(jitted, state, arrays)
    flops, box = cost.flops(step, state, arrays), [state]

    def once():
        box[0], metrics = compiled(box[0], arrays)
        return metrics

    return Program(compiled, once, flops, figures)


def _step(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> tuple[Callable, Any, Callable, Any]:
    """The step as training makes it, pure and under jit, and what makes its state and how that lies."""
    config = config.copy_and_resolve_references()
    config.train.batch = batch
    epoch = max(1, config.data.nominal // batch)
    total = max(2, configs.steps(config.train.length, batch=batch, epoch=epoch))
    rate = optimize.schedule(config, total, epoch)
    tx = optimize.optimizer(config, rate)
    make = partial(training.make_state, model, tx, config.train.ema)
    layout = sharding.state(mesh, jax.eval_shape(make, jax.random.key(0)))
    step = training.make_step(model, tx, rate, config, mesh)
    jitted = jax.jit(step, donate_argnums=0, in_shardings=(layout, sharding.batches(mesh)),
                     out_shardings=(layout, sharding.replicated(mesh)))
    return step, jitted, make, layout


def lowered_step(config: ConfigDict, batch: int) -> Any:
    """The training step for such a batch on the recipe's mesh of all devices, to be compiled; no array is made on them."""
    config = config.copy_and_resolve_references()
    # As many groups of rows as the recipe's batch has.
    config.train.norm_group = -(-config.train.norm_group * batch // config.train.batch)
    config.train.batch = batch
    mesh = sharding.make_mesh(config.mesh, jax.devices())
    sharding.check_batch(mesh, config)
    _, jitted, make, _ = _step(models.build(config, text.from_config(config.text)), config, mesh, batch)
    return jitted.lower(jax.eval_shape(make, jax.random.key(0)), random_batch(config, batch))


def measure(program: Program, mesh: Any, batch: int, seconds: float) -> dict[str, Any]:
    """Compile times, images/s, arithmetic and memory traffic of a program."""
    moved = limits.moved(collectives.parse(program.compiled.as_text())) * mesh.size
    return program.figures | {'images_per_second': batch / _time(program.call, seconds),
                              'GFLOP_per_image': program.flops / batch / 1e9, 'MB_per_image': moved / batch / 1e6}


def _limit(figures: dict[str, Any], precision: str, devices: list[jax.Device]) -> dict[str, float]:
    """What the devices can do at most; each program's shares of it are written beside its figures."""
    peak, bandwidth = limits.peak(precision, devices), limits.bandwidth(devices)
    for each in figures.values():
        if isinstance(each, dict) and 'MB_per_image' in each:
            images = each['images_per_second']
            each |= limits.shares(images * each['GFLOP_per_image'] * 1e9 / peak, images * each['MB_per_image'] * 1e6 / bandwidth)
    return {'peak_GFLOP_per_second': peak / 1e9, 'bandwidth_GB_per_second': bandwidth / 1e9}


def pipeline(config: ConfigDict, vocab: text.Vocab, root: str, seconds: float) -> dict[str, Any]:
    """Batches as training reads them, per worker: read or drawn, augmented, fitted, encoded."""
    try:
        opened = [sources.open_set(name, config, root) for name in config.data.train]
    except configs.ConfigError as error:
        return {'not_run': str(error)}
    plan = Plan([len(source) for source in opened], config.data.weights, config.train.batch, config.data.order, 0)
    batches = data.Batches(sources.joined(opened), plan, np.arange, vocab, config, 1 << 20)
    stream = data.stream(batches, config)
    next(stream)
    spent, begun, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(stream)
        count += config.train.batch
    workers = max(config.data.workers, 1)
    figures = {'images_per_second': count / (time.perf_counter() - begun), 'workers': workers, 'threads': config.data.threads}
    figures['images_per_second_per_worker'] = figures['images_per_second'] / workers
    if not config.data.workers:
        figures['images_per_CPU_second'] = count / (time.process_time() - spent)
    return figures


def recorded(config: ConfigDict, device: str) -> float | None:
    """Training images/s that an earlier bench measured for this recipe on such a device."""
    file = _record_file(config, device)
    if not file.is_file():
        return None
    figures = json.loads(file.read_text())
    return next((value['images_per_second'] for name, value in figures.items() if name.startswith('train_')
                 and isinstance(value, dict)), None)


def _record_file(config: ConfigDict, device: str) -> Path:
    fields = {name: value for name, value in configs.flat(config).items() if name.startswith(SPEED)}
    return configs.cache() / 'bench' / f'{device.replace(" ", "_")}-{len(os.sched_getaffinity(0))}-{configs.digest(fields)}.json'


def random_batch(config: ConfigDict, batch: int) -> dict[str, np.ndarray]:
    """Images of noise with labels of random length."""
    random, rule = np.random.default_rng(0), config.image
    vocab = text.from_config(config.text)
    arrays = data.empty(batch, config.text.max_length)
    arrays['image'] = random.integers(0, 256, (batch, rule.height, rule.width, images.channels(rule)), np.uint8)
    arrays['size'] = np.tile(np.array([rule.height, rule.width], np.int32), (batch, 1))
    arrays['length'][:] = random.integers(1, min(9, config.text.max_length) + 1, batch)
    ids = random.integers(0, len(vocab), arrays['tokens'].shape)
    arrays['tokens'][:] = np.where(np.arange(config.text.max_length) < arrays['length'][:, None], ids, -1)
    return arrays


def _compile(function: Any, *args: Any) -> tuple[Callable, dict[str, float]]:
    """The compiled function, and what compiling took with an empty compilation cache and with a filled one."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ('jax_persistent_cache_min_compile_time_secs', 'jax_persistent_cache_min_entry_size_bytes',
             'jax_compilation_cache_dir')
    kept = {name: getattr(jax.config, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name, value in zip(names, (0, -1, folder), strict=True):
            jax.config.update(name, value)
        begun = time.perf_counter()
        lowered = function.lower(*args)
        figures = {'trace_seconds': time.perf_counter() - begun}
        for name in ('compile_cold_seconds', 'compile_warm_seconds'):
            compilation_cache.reset_cache()
            begun = time.perf_counter()
            compiled = lowered.compile()
            figures[name] = time.perf_counter() - begun
            jax.clear_caches()
            lowered = function.lower(*args)
        for name, value in kept.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    return compiled, figures


def _time(call: Callable, seconds: float) -> float:
    """The median seconds of a call, after one to warm up; at least three are timed."""
    jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _peak_memory(devices: list[jax.Device]) -> float:
    """The most memory so far: the device's, or on a CPU the process's."""
    stats = devices[0].memory_stats()
    if stats and 'peak_bytes_in_use' in stats:
        return stats['peak_bytes_in_use'] / 2 ** 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 10


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(name)
            for key, number in value.items():
                print(f'  {key:30} {number if isinstance(number, str) else f"{number:,.3f}"}')
        else:
            shown = f'{value:,.0f}' if isinstance(value, float) else f'{value:,}' if isinstance(value, int) else value
            print(f'{name:32} {shown}')
    sys.stdout.flush()
