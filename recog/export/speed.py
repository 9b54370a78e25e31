"""`recog bench FOLDER`: images per second of exported folders beside the workdir that they come from."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recog import data, predict
from recog.config import ConfigError
from recog.export import convolutions
from recog.export.folder import Folder, is_exported, open_folder
from recog.export.parity import random_images

LEAST = 3  # calls that are timed


def run(arguments: argparse.Namespace) -> int:
    """Measure each folder, and each workdir that is still there, on the same images; print a line for each."""
    missing = [name for name in arguments.folder if not is_exported(name)]
    if missing:
        raise ConfigError(f'folder {missing[0]!r} is no export (no manifest.json); a recipe is measured with --config')
    folders = [open_folder(name, arguments.devices) for name in arguments.folder]
    sizes = sorted({1, max(arguments.batch, 1)})
    print(f'{"form":12}' + ''.join(f'{f"images/s at {size}":>18}' for size in sizes) + '   path', flush=True)
    found, seen = [], set()
    for folder in folders:
        source, step = Path(folder.manifest['source']), folder.manifest['step']
        timed = partial(_time, seconds=arguments.seconds)
        if (source, step) not in seen:
            workdir = _workdir(folder, source)
            found.append(_line('workdir', str(source), sizes, workdir and partial(timed, workdir), folder))
            seen.add((source, step))
        engine: Any = folder.engine()
        found.append(_line(folder.form, str(folder.path), sizes, partial(timed, engine.run), folder))
        if folder.form == 'onnx':
            # There are dozens: each has a share of the time.
            each = partial(_time, seconds=arguments.seconds / 50)
            spent = partial(convolutions.alone, folder.path / 'model.onnx', measure=each)
            found.append(_line('convolutions', f'{folder.path}: its convolutions, each run alone', sizes, spent, folder))
    if arguments.json:
        text = json.dumps(found, indent=2) + '\n'
        sys.stdout.write(text) if arguments.json == '-' else Path(arguments.json).write_text(text, encoding='utf-8')
    return 0


def _line(form: str, path: str, sizes: list[int], spent: Callable[[tuple], float] | None, folder: Folder) -> dict[str, Any]:
    """Measure one form, by the seconds spent on what it is given, and print it."""
    if spent is None:
        print(f'{form:12}{"":{18 * len(sizes)}}   {path} (step {folder.manifest["step"]} is not there any more, not measured)')
        return {'form': form, 'path': path}
    speeds = {size: size / max(spent(_batch(folder, size)), 1e-9) for size in sizes}
    print(f'{form:12}' + ''.join(f'{speed:18,.1f}' for speed in speeds.values()) + f'   {path}', flush=True)
    return {'form': form, 'path': path, 'beam': folder.manifest['beam'],
            **{f'images_per_second_{size}': speed for size, speed in speeds.items()}}


def _workdir(folder: Folder, source: Path) -> Callable | None:
    """The same function of the workdir, where it still has that step."""
    if not (source / 'config.json').is_file():
        return None
    import jax

    from recog import checkpoint, ready, sharding

    device = ready.devices(folder.devices)[0]
    try:
        opened = checkpoint.open(source, folder.manifest['step'])
    except ConfigError:
        return None
    beam, variables = folder.manifest['beam'], jax.device_put(opened.variables, device)
    options = sharding.compiler_options(sharding.one_device())
    decode = jax.jit(lambda *given: opened.model.decode(*given, beam=beam), compiler_options=options)
    return lambda *given: jax.device_get(decode(variables, *given))


def _batch(folder: Folder, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample images of the workdir, where they are, otherwise random ones, on the recipe's largest canvas."""
    samples: list[Any] = sorted(str(file) for file in (Path(folder.manifest['source']) / 'samples').glob('*.png'))
    images = samples or random_images(folder.config.image)
    source = predict.Arrays([images[number % len(images)] for number in range(rows)])
    config = folder.config.copy_and_resolve_references()
    config.data.buckets, config.data.pixels = (), 0
    batch = data.Steps(source, np.arange, rows, config, 0)[0]
    return batch['image'], batch['size'], np.asarray(config.text.max_length, np.int32)


def _time(call: Callable, given: tuple, seconds: float) -> float:
    """The median seconds of a call, after one to warm up."""
    call(*given)
    times: list[float] = []
    while len(times) < LEAST or sum(times) < seconds:
        begun = time.perf_counter()
        call(*given)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)
