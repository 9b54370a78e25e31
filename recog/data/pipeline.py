"""Batches read ahead, and brought to the devices."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog.data.batches import Batches, Steps, unpack_notes

GRACE = 3.0  # seconds in which a worker may end by itself once its parent has


def read_batches(batches: Batches | Steps, config: ConfigDict,
                 start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Batches from number `start` on, read ahead in threads or processes by Grain, in order."""
    import grain

    data = config.data
    dataset: Any = grain.MapDataset.source(batches)[start:]
    # Threads are enough if decoding and drawing release the interpreter; processes cost a copy of each batch.
    # Packed rows only have to be copied, which several threads would do more slowly.
    copied = isinstance(batches, Batches) and batches.packed is not None
    threads = min(data.threads, 1) if copied else data.threads
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=data.prefetch if threads else 0)
    dataset = dataset.to_iter_dataset(ahead)
    if data.workers:
        _settle_flags()
        options = grain.MultiprocessingOptions(num_workers=data.workers)
        dataset = dataset.mp_prefetch(options, worker_init_fn=_init_worker)
    return iter(dataset)


def _settle_flags() -> None:
    """Give Grain's flags their defaults: it asks for them even if no command line was parsed by absl."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        for name in flags.FLAGS:
            if name.startswith('grain_'):
                flags.FLAGS[name].present = True


def _init_worker(number: int, count: int) -> None:
    """OpenCV in a worker has one thread, as there is a worker for every core; it ends with its parent."""
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, however that was: it would wait for ever.

    Once all workers have ended, Python's own tracker removes the shared memory that they made.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    time.sleep(GRACE)
    os._exit(1)


def read_ahead(batches: Steps, config: ConfigDict) -> Iterator[dict[str, np.ndarray]]:
    """Every batch in order, read ahead in threads: `read_batches` without Grain, which would import JAX."""
    if len(batches) <= 1 or not config.data.threads:
        yield from (batches[step] for step in range(len(batches)))
        return
    pool = ThreadPoolExecutor(config.data.threads)
    waiting: deque[Future] = deque()
    try:
        for step in range(len(batches)):
            waiting.append(pool.submit(batches.__getitem__, step))
            if len(waiting) > config.data.prefetch:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # the reader may stop early
        pool.shutdown(cancel_futures=True)


def to_devices(batches: Iterable[dict[str, np.ndarray]], sharding: Any, depth: int = 2) -> Iterator[tuple]:
    """(batch on the devices, notes), transferred ahead; each process gives its own part of the rows."""
    import jax

    def put(batch: dict[str, np.ndarray]) -> tuple[dict[str, jax.Array], list[tuple]]:
        notes, rows = unpack_notes(batch.pop('notes')), int(batch.pop('rows'))
        return {key: jax.make_array_from_process_local_data(sharding, value, (rows, *value.shape[1:]))
                for key, value in batch.items()}, notes

    queue: deque = deque()
    for batch in batches:
        queue.append(put(dict(batch)))
        if len(queue) >= depth:
            yield queue.popleft()
    yield from queue
