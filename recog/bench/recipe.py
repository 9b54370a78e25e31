"""`recog bench --config`: compile time, images per second, arithmetic and
memory of a recipe, measured and saved."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import __version__, models, onednn
from recog.bench import costliest, hlo, limits, programs, timing
from recog.bench.asked import Asked
from recog.bench.programs import Draft, Program
from recog.config import values
from recog.data.batches import Batches
from recog.data.joined import joined
from recog.data.pipeline import read_batches
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.data.shapes import shapes
from recog.devices import cost, measured
from recog.devices.mesh import make_mesh, rounded, row_multiple
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.train import resident
from recog.workdir import provenance

CPU_TRAIN_BATCH = 16


def run(config: ConfigDict, asked: Asked, root: str, devices: list[jax.Device]) -> int:
    """Measure what was asked for, with prepared sets below `root`; prints a table and saves the figures."""
    mesh = make_mesh(config.mesh, devices)
    vocab = vocabulary.from_config(config.text)
    model = models.build(config, vocab)
    figures = about(asked.recipe, asked.overrides, config, devices)
    program: Program | None = None
    costs: list[costliest.Cost] = []
    for name, make, rows in wanted(config, asked, mesh):
        program = None  # frees its arrays before the next are made
        program = programs.compiled(make(model, config, mesh, rows))
        figures[name] = measure(program, hlo.parse(program.compiled.as_text()), mesh, rows, asked.seconds)
    if program and asked.profile:
        costs = costliest.profile(program.call, hlo.parse(program.compiled.as_text()), Path(asked.profile))
        figures['costliest'] = costliest.figures(costs)
    program = None
    if asked.wants('data'):
        figures['data'] = pipeline(config, vocab, root, asked.seconds)
        figures['resident'] = room(config, mesh, root)
    limit(figures, config.train.precision, devices)
    _print({name: value for name, value in figures.items() if name != 'costliest'})
    if asked.profile:
        print('\n'.join(costliest.lines(costs, Path(asked.profile))))
    kept = measured.place(config, devices[0].device_kind)
    kept.parent.mkdir(parents=True, exist_ok=True)
    measured.keep(figures, str(kept))
    measured.keep(figures, asked.json)
    return 0


def about(recipe: str, overrides: Sequence[str], config: ConfigDict,
          devices: list[jax.Device]) -> dict[str, Any]:
    """What is measured, where and when."""
    model = models.build(config, vocabulary.from_config(config.text))
    by = onednn.products(devices[0], config.train.precision)
    return {
        'config': recipe, 'overrides': list(overrides),
        'device': f'{len(devices)} x {devices[0].device_kind}',
        'processor': provenance.host(), 'cpus': len(os.sched_getaffinity(0)), 'recog': __version__,
        'jax': jax.__version__, 'date': time.strftime('%Y-%m-%d'), 'precision': config.train.precision,
        **({'convolutions': by} if by else {}),
        'image': f'{config.image.height} x {config.image.width}', 'tokens': config.text.max_length,
        'trainable_parameters': cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params']),
    }


def wanted(config: ConfigDict, asked: Asked, mesh: Any) -> list[tuple[str, Callable[..., Draft], int]]:
    """The programs to measure: the name of each, the function that drafts it, and the batch size."""
    found: list[tuple[str, Callable[..., Draft], int]] = []
    if asked.wants('infer'):
        found += [(f'infer_{batch}', programs.inference, rounded(mesh, batch))
                  for batch in sorted({1, max(asked.batch, 1)})]
    if asked.wants('train'):
        batch = asked.train_batch or _train_batch(config, mesh)
        found.append((f'train_{batch}', programs.training_step, batch))
    return found


def _train_batch(config: ConfigDict, mesh: Any) -> int:
    """As many images of the recipe's largest canvas as a training step has, on a CPU at most 16, or one group
    of batch norm."""
    on_cpu = mesh.devices.flat[0].platform == 'cpu'
    batch = min(config.train.batch, CPU_TRAIN_BATCH) if on_cpu else config.train.batch
    return shapes(config, batch, row_multiple(mesh, config))[-1].rows


def measure(program: Program, compiled: hlo.Program, mesh: Any, batch: int, seconds: float) -> dict[str, Any]:
    """Compile times, images/s, arithmetic and memory of a program, whose HLO is `compiled`."""
    whole = timing.median(lambda: jax.block_until_ready(program.call()), seconds)
    moved = limits.moved(compiled) * mesh.size
    memory = program.compiled.memory_analysis()
    return program.figures | {'images_per_second': batch / whole,
                              'GFLOP_per_image': program.flops / batch / 1e9,
                              'MB_per_image': moved / batch / 1e6,
                              'memory_MiB': (memory.temp_size_in_bytes
                                             + memory.argument_size_in_bytes) / 2 ** 20,
                              } | _decoding(program, compiled, mesh, whole, seconds)


def _decoding(program: Program, compiled: hlo.Program, mesh: Any, whole: float,
              seconds: float) -> dict[str, Any]:
    """Time and memory traffic per token, for a program that decodes
    token by token and takes `whole` seconds."""
    if program.at_length is None:
        return {}
    # XLA knows the number of steps of all other loops.
    loops = [operation for operation, _, _ in hlo.executed(compiled) if operation.kind == 'while'
             and not hlo.steps(operation)]
    steps = int(np.max(program.call()['length'])) if loops else 0
    if steps < 2:
        return {}
    at_length = program.at_length
    spent = whole - timing.median(lambda: jax.block_until_ready(at_length(1)), seconds)
    moved = sum(limits.moved(compiled, loop.computations('body')[0]) for loop in loops) * mesh.size
    return {'tokens': steps, 'ms_per_token': 1e3 * spent / (steps - 1), 'MB_per_token': moved / 1e6}


def limit(figures: dict[str, Any], precision: str, devices: list[jax.Device]) -> None:
    """Add the devices' peak and bandwidth to the figures, and each program's shares of them."""
    measured = [each for each in figures.values() if isinstance(each, dict) and 'MB_per_image' in each]
    if not measured:
        return
    peak, bandwidth = limits.peak(precision, devices), limits.bandwidth(devices)
    for each in measured:
        images = each['images_per_second']
        each |= limits.shares(images * each['GFLOP_per_image'] * 1e9 / peak,
                              images * each['MB_per_image'] * 1e6 / bandwidth)
        if 'MB_per_token' in each:
            each['least_ms_per_token'] = 1e3 * each['MB_per_token'] * 1e6 / bandwidth
    figures |= {'peak_GFLOP_per_second': peak / 1e9, 'bandwidth_GB_per_second': bandwidth / 1e9}


def pipeline(config: ConfigDict, vocab: vocabulary.Vocab, root: str, seconds: float) -> dict[str, Any]:
    """The speed of the batches of training, in all and per worker: read
    or drawn, augmented, fitted, encoded."""
    try:
        opened = [open_set(name, config, root) for name in config.data.train]
    except ConfigError as error:
        return {'not_run': str(error)}
    plan = Plan([len(source) for source in opened], config.data.weights, config.train.batch,
                config.data.order, 0)
    batches = Batches(joined(opened), plan, np.arange, vocab, config, 1 << 20)
    stream = read_batches(batches, config)
    next(stream)
    spent, begun, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(stream)
        count += config.train.batch
    workers = max(config.data.workers, 1)
    figures = {'images_per_second': count / (time.perf_counter() - begun), 'workers': workers,
               'threads': config.data.threads}
    figures['images_per_second_per_worker'] = figures['images_per_second'] / workers
    if not config.data.workers:
        figures['images_per_CPU_second'] = count / (time.process_time() - spent)
    return figures


def room(config: ConfigDict, mesh: Any, root: str) -> dict[str, Any]:
    """The memory that `data.resident` would need on each device, and how much there is: for the recipe's sets
    or, if they are missing, for `data.nominal` images."""
    if config.image.fit in values.SEVERAL:
        return {'not_run': f'images of any size (config.image.fit={config.image.fit!r}) are counted when '
                'packed'}
    try:
        rows = sum(len(open_set(name, config, root)) for name in config.data.train)
    except ConfigError:
        rows = config.data.nominal
    there = resident.memory(mesh)
    figures: dict[str, Any] = {'images': rows, 'devices': mesh.size,
                               'GB_needed': resident.expected(config, rows, mesh) / 1e9}
    return figures | ({} if there is None else {'GB_there': there / 1e9,
                                                'GB_for_data': resident.ROOM * there / 1e9})


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(name)
            for key, number in value.items():
                print(f'  {key:30} {_shown(number, 3)}')
        else:
            print(f'{name:32} {_shown(value, 0)}')
    sys.stdout.flush()


def _shown(value: Any, places: int) -> str:
    if isinstance(value, float):
        return f'{value:,.{places}f}'
    return f'{value:,}' if isinstance(value, int) else str(value)
