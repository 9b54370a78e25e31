"""`recog bench --config`: compile time, images per second, arithmetic and memory of a recipe, measured here and kept."""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import __version__, cost, data, models, provenance, sharding, sources, text
from recog import config as configs
from recog.bench import costliest, hlo, limits, programs, records
from recog.bench.programs import Program
from recog.plan import Plan

CPU_TRAIN_BATCH = 16


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
    costs: list[costliest.Cost] = []
    for name, make, rows in _programs(config, arguments, mesh):
        program = None  # its arrays are given back before the next are made
        program = make(model, config, mesh, rows)
        figures[name] = measure(program, mesh, rows, arguments.seconds)
    if program and arguments.profile:
        costs = costliest.profile(program.call, hlo.parse(program.compiled.as_text()), Path(arguments.profile))
        figures['costliest'] = [each._asdict() for each in costs[:costliest.COSTLIEST]]
    program = None
    if not arguments.only or 'data' in arguments.only:
        figures['data'] = pipeline(config, vocab, arguments.data, arguments.seconds)
    figures['peak_memory_MiB'] = _peak_memory(devices)  # before the limits are measured on arrays of no model
    if any(isinstance(each, dict) and 'MB_per_image' in each for each in figures.values()):
        figures |= _limit(figures, config.train.precision, devices)
    _print({name: value for name, value in figures.items() if name != 'costliest'})
    if arguments.profile:
        print('\n'.join(costliest.lines(costs, Path(arguments.profile))))
    kept = records.place(config, devices[0].device_kind)
    kept.parent.mkdir(parents=True, exist_ok=True)
    records.keep(figures, str(kept))
    records.keep(figures, arguments.json)
    return 0


def _programs(config: ConfigDict, arguments: argparse.Namespace, mesh: Any) -> list[tuple[str, Callable[..., Program], int]]:
    """What is measured: its name, what compiles it, and its batch."""
    found: list[tuple[str, Callable[..., Program], int]] = []
    if not arguments.only or 'infer' in arguments.only:
        found += [(f'infer_{batch}', programs.inference, sharding.rounded(mesh, batch))
                  for batch in sorted({1, max(arguments.batch, 1)})]
    if not arguments.only or 'train' in arguments.only:
        on_cpu = mesh.devices.flat[0].platform == 'cpu'
        batch = arguments.train_batch or (min(config.train.batch, CPU_TRAIN_BATCH) if on_cpu else config.train.batch)
        found.append((f'train_{batch}', programs.training_step, batch))
    return found


def measure(program: Program, mesh: Any, batch: int, seconds: float) -> dict[str, Any]:
    """Compile times, images/s, arithmetic and memory traffic of a program."""
    compiled, whole = hlo.parse(program.compiled.as_text()), _time(program.call, seconds)
    moved = limits.moved(compiled) * mesh.size
    return program.figures | {'images_per_second': batch / whole, 'GFLOP_per_image': program.flops / batch / 1e9,
                              'MB_per_image': moved / batch / 1e6} | _decoding(program, compiled, mesh, whole, seconds)


def _decoding(program: Program, compiled: hlo.Program, mesh: Any, whole: float, seconds: float) -> dict[str, Any]:
    """Of a program that writes token after token and takes so long as a `whole`: time and memory traffic of a step."""
    if program.at_length is None:
        return {}
    # The end of other loops is known beforehand.
    loops = [operation for operation, _, _ in hlo.executed(compiled) if operation.kind == 'while' and not hlo.steps(operation)]
    steps = int(np.max(program.call()['length'])) if loops else 0
    if steps < 2:
        return {}
    spent = whole - _time(partial(program.at_length, 1), seconds)
    moved = sum(limits.moved(compiled, loop.computations('body')[0]) for loop in loops) * mesh.size
    return {'tokens': steps, 'ms_per_token': 1e3 * spent / (steps - 1), 'MB_per_token': moved / 1e6}


def _limit(figures: dict[str, Any], precision: str, devices: list[jax.Device]) -> dict[str, float]:
    """What the devices can do at most; each program's shares of it are written beside its figures."""
    peak, bandwidth = limits.peak(precision, devices), limits.bandwidth(devices)
    for each in figures.values():
        if isinstance(each, dict) and 'MB_per_image' in each:
            images = each['images_per_second']
            each |= limits.shares(images * each['GFLOP_per_image'] * 1e9 / peak, images * each['MB_per_image'] * 1e6 / bandwidth)
            if 'MB_per_token' in each:
                each['least_ms_per_token'] = 1e3 * each['MB_per_token'] * 1e6 / bandwidth
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
