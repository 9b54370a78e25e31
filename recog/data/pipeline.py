"""Batches read ahead, and brought to the devices."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog.data.batches import unpack_notes


def read_batches(batches: Any, config: ConfigDict, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Batches from number `start` on, read ahead in threads or processes by Grain, in order."""
    import grain

    data = config.data
    dataset: Any = grain.MapDataset.source(batches)[start:]
    # Threads are enough where decoding and drawing leave the interpreter; processes cost a copy of each batch. What is packed
    # only has to be copied: more than one thread would be slower.
    threads = min(data.threads, 1) if getattr(batches, 'packed', False) else data.threads
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=data.prefetch if threads else 0)
    dataset = dataset.to_iter_dataset(ahead)
    if data.workers:
        options = grain.MultiprocessingOptions(num_workers=data.workers)
        dataset = dataset.mp_prefetch(options, worker_init_fn=_on_one_thread)
    return iter(dataset)


def _on_one_thread(number: int, count: int) -> None:
    """In a worker process: there is one for every core."""
    import cv2

    cv2.setNumThreads(1)


def read_ahead(batches: Any, config: ConfigDict) -> Iterator[dict[str, np.ndarray]]:
    """Every batch in order, read ahead in threads: what reading needs of `stream`, without Grain, which would import JAX."""
    import cv2

    if len(batches) <= 1 or not config.data.threads:
        yield from (batches[step] for step in range(len(batches)))
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the threads of the pool share the cores already
    pool = ThreadPoolExecutor(config.data.threads)
    waiting: deque[Future] = deque()
    try:
        for step in range(len(batches)):
            waiting.append(pool.submit(batches.__getitem__, step))
            if len(waiting) > config.data.prefetch:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # whoever reads may stop early
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(before)


def to_devices(batches: Iterable[dict[str, np.ndarray]], sharding: Any, depth: int = 2) -> Iterator[tuple]:
    """(batch on the devices, notes) with transfers running ahead; each process hands over its own of a batch's `rows`."""
    import jax

    def put(batch):
        notes, rows = unpack_notes(batch.pop('notes')), int(batch.pop('rows'))
        return {key: jax.make_array_from_process_local_data(sharding, value, (rows, *value.shape[1:]))
                for key, value in batch.items()}, notes

    queue: deque = deque()
    for batch in batches:
        queue.append(put(dict(batch)))
        if len(queue) >= depth:
            yield queue.popleft()
    yield from queue
