"""How fast one worker reads a prepared set, shuffled, fitted and encoded:
from a cold and from a warm page cache."""

import os
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from recog.data.batches import Batches
from recog.data.joined import joined
from recog.data.pipeline import read_batches
from recog.data.plan import Plan
from recog.data.sets import open_set
from recog.text import vocabulary

BATCH = 256


def run(name: str, config: ConfigDict, root: str, seconds: float) -> int:
    """Measure and print."""
    source = joined([open_set(name, config, root)])
    with config.unlocked():
        config.data.threads = config.data.workers = 0
    plan = Plan([len(source)], (), min(BATCH, len(source)), 'shuffle', 0)
    batches = Batches(source, plan, np.arange, vocabulary.from_config(config.text), config, 1 << 30)
    _forget(Path(root) / name.partition(':')[0])
    packed = ', packed' if batches.packed else ''
    print(f'set                              {name}: {len(source):,} rows{packed}')
    for kind in ('cold', 'warm'):
        # The cold pass reads no row twice. Before the warm pass the whole set is read, if time allows.
        wall, cpu, count = _read(batches, config, seconds, plan.epoch if kind == 'cold' else 0)
        print(f'{kind} images/s per worker       {count / wall:>12,.0f}   '
              f'({count / cpu:,.0f} per CPU second, {count:,} images)')
        if kind == 'cold':
            _read(batches, config, seconds, plan.epoch)
    return 0


def _read(batches: Batches, config: ConfigDict, seconds: float, most: int) -> tuple[float, float, int]:
    """Read for so many seconds, or `most` batches if that is not 0;
    returns seconds, CPU seconds and images."""
    stream, read = read_batches(batches, config), 0
    begun, spent = time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds and not (most and read == most):
        next(stream)
        read += 1
    return time.perf_counter() - begun, time.process_time() - spent, read * batches.plan.batch


def _forget(folder: Path) -> None:
    """Drop the set's files from the system's page cache."""
    if not hasattr(os, 'posix_fadvise'):
        return
    for file in (path for path in folder.rglob('*') if path.is_file()):
        with file.open('rb') as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
