"""Which engine reads an export fastest on this machine: measured once, and remembered in the cache."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from recog.config import values
from recog.devices.cache import cache
from recog.errors import ConfigError
from recog.reading import engines
from recog.workdir.provenance import host

ROWS = (1, 8)  # images at a time
LONGEST = 16  # tokens
TIMES = 3  # each batch is read, after a first time
MOST_PIXELS = 1 << 22  # of a batch; of larger ones nothing is measured

Run = Callable[[np.ndarray, np.ndarray, np.ndarray], object]


def engine(digest: str, image: tuple[int, int, int], make: Callable[[str], Run]) -> str:
    """The name of the fastest engine that is installed for the export with this digest, whose images may
    have this height, width and number of channels. `make` loads the export into an engine."""
    names = engines.installed()
    if len(names) < 2 or image[0] * image[1] * ROWS[-1] > MOST_PIXELS:
        return names[0] if names else 'onnxruntime'
    kept = _place(digest, names)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        chosen = json.loads(kept.read_text(encoding='utf-8'))['engine']
        if chosen in names:
            return chosen
    found = _measured(names, image, make)
    chosen = min(found, key=found.__getitem__)
    _keep(kept, {'engine': chosen, 'times': found})
    return chosen


def _place(digest: str, names: list[str]) -> Path:
    """Where it is remembered: for this export, these versions and this machine."""
    from importlib.metadata import version

    facts = {'export': digest, 'host': host(), 'cpus': len(os.sched_getaffinity(0)),
             'engines': {name: version(name) for name in names}}
    return cache() / 'engines' / f'{values.digest(facts)}.json'


def _keep(file: Path, found: Mapping[str, object]) -> None:
    """Write it whole or not at all; a cache that cannot be written is no fault."""
    draft = file.with_name(f'{file.name}.{os.getpid()}')
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(found) + '\n', encoding='utf-8')
        draft.replace(file)


def _measured(names: list[str], image: tuple[int, int, int], make: Callable[[str], Run]) -> dict[str, float]:
    """The time of each engine, as a product over the numbers of images; one that fails is left out."""
    times = {}
    for name in names:
        with contextlib.suppress(ConfigError):
            run = make(name)
            times[name] = float(np.prod([_time(run, rows, image) for rows in ROWS]))
    return times or {names[0]: 0.0}


def _time(run: Run, rows: int, image: tuple[int, int, int]) -> float:
    noise = np.random.default_rng(0).integers(0, 256, (rows, *image), np.uint8)
    given = noise, np.tile(np.array([image[:2]], np.int32), (rows, 1)), np.asarray(LONGEST, np.int32)
    run(*given)
    spent = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        run(*given)
        spent.append(time.perf_counter() - begun)
    return min(spent)
