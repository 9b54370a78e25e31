"""`recog bench`: compile time, images per second, arithmetic and memory of a recipe, measured here and kept."""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import __version__, cost, data, images, models, optimize, sharding, sources, text
from recog import config as configs
from recog import train as training
from recog.plan import Plan

CPU_TRAIN_BATCH = 16
# A recipe's speed is that of these fields; bench results are kept by them.
SPEED = ('model', 'text', 'image', 'train.batch', 'train.accumulate', 'train.precision', 'train.norm_group', 'optimizer.name')


def run(config: ConfigDict, arguments: argparse.Namespace, devices: list[jax.Device]) -> int:
    """Measure what was asked for, print a table, keep the figures."""
    mesh = sharding.make_mesh(config.mesh, devices)
    vocab = text.from_config(config.text)
    model = models.build(config, vocab)
    wanted = set(arguments.only) or {'infer', 'train', 'data'}
    figures: dict[str, Any] = {
        'config': arguments.config, 'overrides': arguments.overrides, 'device': f'{len(devices)} x {devices[0].device_kind}',
        'processor': _processor(), 'cpus': len(os.sched_getaffinity(0)), 'recog': __version__, 'jax': jax.__version__,
        'date': time.strftime('%Y-%m-%d'), 'precision': config.train.precision,
        'trainable_parameters': cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params']),
    }
    if 'infer' in wanted:
        for batch in sorted({1, max(arguments.batch, 1)}):
            figures[f'infer_{batch}'] = infer(model, config, mesh, sharding.rounded(mesh, batch), arguments.seconds)
    if 'train' in wanted:
        on_cpu = devices[0].platform == 'cpu'
        batch = arguments.train_batch or (min(config.train.batch, CPU_TRAIN_BATCH) if on_cpu else config.train.batch)
        figures[f'train_{batch}'] = train_step(model, config, mesh, batch, arguments.seconds)
    if 'data' in wanted:
        figures['data'] = pipeline(config, vocab, arguments.data, arguments.seconds)
    figures['peak_memory_MiB'] = _peak_memory(devices)
    _print(figures)
    file = _record_file(config, devices[0].device_kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + '\n')
    if arguments.json == '-':
        print(json.dumps(figures))
    elif arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + '\n')
    return 0


def infer(model: models.Model, config: ConfigDict, mesh: Any, batch: int, seconds: float) -> dict[str, float]:
    """From uint8 images to texts' tokens: compile times, images/s and arithmetic."""
    variables = jax.jit(model.init, out_shardings=sharding.replicated(mesh))(jax.random.key(0))
    arrays = random_batch(config, batch)
    picture, size = (jax.device_put(arrays[key], sharding.batches(mesh)) for key in ('image', 'size'))
    longest, decode = np.int32(config.text.max_length), partial(model.decode, beam=config.eval.beam)
    compiled, figures = _compile(jax.jit(decode), variables, picture, size, longest)
    figures['images_per_second'] = batch / _time(lambda: compiled(variables, picture, size, longest), seconds)
    return figures | {'GFLOP_per_image': cost.flops(decode, variables, picture, size, longest) / batch / 1e9}


def train_step(model: models.Model, config: ConfigDict, mesh: Any, batch: int, seconds: float) -> dict[str, float]:
    """Forward, loss, backward and optimizer on a batch that is on the device."""
    config = config.copy_and_resolve_references()
    config.train.batch = batch
    epoch = max(1, config.data.nominal // batch)
    total = max(2, configs.steps(config.train.length, batch=batch, epoch=epoch))
    rate = optimize.schedule(config, total, epoch)
    tx = optimize.optimizer(config, rate)
    make = lambda key: training.make_state(model, tx, config.train.ema, key)  # noqa: E731
    layout = sharding.state(mesh, jax.eval_shape(make, jax.random.key(0)))
    state = jax.jit(make, out_shardings=layout)(jax.random.key(0))
    arrays = jax.device_put(random_batch(config, batch), sharding.batches(mesh))
    step = training.make_step(model, tx, rate, config, mesh)
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(layout, sharding.replicated(mesh)))
    compiled, figures = _compile(jitted, state, arrays)
    figures['GFLOP_per_image'] = cost.flops(step, state, arrays) / batch / 1e9
    box = [state]

    def once():
        box[0], metrics = compiled(box[0], arrays)
        return metrics

    figures['images_per_second'] = batch / _time(once, seconds)
    return figures


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


def _processor() -> str:
    file = Path('/proc/cpuinfo')
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), platform.machine())


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
