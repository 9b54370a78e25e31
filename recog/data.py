"""Data: the plan that says which rows of the sources make which batch, and the pipelines that read them.

Batch k is a pure function of (seed, k), so the data position is one integer, whatever the mesh, processes or workers.
"""

import functools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog import augment, images
from recog import config as configs
from recog.sources import Row, Source
from recog.text import Unencodable, Vocab


class Plan:
    """Which rows of the joined sources make batch k: a pure function of the seed and k, alike on every process."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], batch: int, order: str, seed: int):
        self.sizes, self.batch, self.order, self.seed = list(sizes), batch, order, seed
        self.total = sum(self.sizes)
        self.shares = np.cumsum([0.0, *weights]) / (sum(weights) or 1)
        # As the reference, the last rows of an epoch that fill no batch are left out (others each epoch when shuffled).
        self.epoch = max(1, self.total // batch)

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers in the joined sources, and the epoch each belongs to.  -> [B], [B]"""
        if len(self.shares) == 1:
            epoch, place = divmod(step, self.epoch)
            places = (np.arange(self.batch) + place * self.batch) % self.total
            return self._ordered(0, epoch, self.total, places), np.full(self.batch, epoch)
        return self._mixed(step)

    def _mixed(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch in which each source has its share, exactly in the long run."""
        ends = [np.floor(at * self.batch * self.shares + 1e-6).astype(np.int64) for at in (step, step + 1)]
        starts, stops = (np.diff(end) for end in ends)
        rows, epochs = [], []
        offset = 0
        for stream, size in enumerate(self.sizes):
            epoch, place = np.divmod(np.arange(starts[stream], stops[stream]), size)
            for each in np.unique(epoch):
                rows.append(offset + self._ordered(stream, int(each), size, place[epoch == each]))
                epochs.append(np.full(len(rows[-1]), each))
            offset += size
        # Batch norm in groups of consecutive rows shall see the mixture, not one source.
        order = generator(self.seed, 'batch', step).permutation(self.batch) if self.order == 'shuffle' else slice(None)
        return np.concatenate(rows)[order], np.concatenate(epochs)[order]

    def _ordered(self, stream: int, epoch: int, size: int, places: np.ndarray) -> np.ndarray:
        return places if self.order == 'file' else _permutation(self.seed, stream, epoch, size)[places].astype(np.int64)


def generator(seed: int, *where: int | str) -> np.random.Generator:
    """A random generator of its own for this place in the run."""
    words = [seed, *(int.from_bytes(item.encode(), 'little') if isinstance(item, str) else item for item in where)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, stream: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, 'order', stream, epoch).permutation(size).astype(np.uint32)


class Batches:
    """The batches of a plan as a random-access source of Grain: element k is a whole batch, which is what makes it fast."""

    def __init__(self, source: Source, plan: Plan, places: np.ndarray, vocab: Vocab, config: ConfigDict, steps: int):
        self.source, self.plan, self.places, self.vocab, self.steps = source, plan, places, vocab, steps
        self.image, self.max_length = config.image, config.text.max_length
        self.augments = augment.augments(config.image.augment)
        self.seed = configs.seed(config, 'augment')
        self.packed = not self.augments and hasattr(source, 'arrays')

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, epochs = (values[self.places] for values in self.plan.rows(int(step)))
        if self.packed:
            return self._copied(rows)
        batch = empty(len(rows), self.max_length)
        batch['index'][:] = rows
        pictures: list[np.ndarray | None] = []
        notes: list[tuple] = []
        for place, row in enumerate(self.source.rows(rows.tolist())):
            reason = row.reason or self._label(batch, place, row, notes)
            if reason:
                # Unlike the reference, which puts a random other sample in its place.
                notes.append((int(rows[place]), row.id, reason, row.text))
                batch['weight'][place] = 0
            pictures.append(None if reason else self._augmented(row.image, int(epochs[place]), int(rows[place])))
        batch['image'], batch['size'] = images.fit_batch(pictures, self.image)
        return {**batch, 'notes': pack_notes(notes)}

    def _copied(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """A batch of packed sources, which hold it as it is."""
        batch = self.source.arrays(rows)  # type: ignore[attr-defined]
        code = batch.pop('code')
        notes = self.source.notes(rows, code) if code.any() else []  # type: ignore[attr-defined]
        return {**batch, 'index': rows.astype(np.int32), 'notes': pack_notes(notes)}

    def _label(self, batch: dict[str, np.ndarray], place: int, row: Row, notes: list[tuple]) -> str:
        """Write the row's tokens; the answer is the reason why it cannot be used, if so."""
        try:
            encoding = self.vocab.encode(row.text, max_length=self.max_length)
        except Unencodable as error:
            return error.reason
        if encoding.dropped:
            notes.append((int(batch['index'][place]), row.id, 'changed', row.text))
        batch['length'][place] = len(encoding.ids)
        batch['tokens'][place, :len(encoding.ids)] = encoding.ids
        return ''

    def _augmented(self, image: Any, epoch: int, row: int) -> np.ndarray:
        if not self.augments:
            return image
        return augment.augment(image, augment.generator(self.seed, epoch, row), self.image.augment)


class Steps:
    """The batches of an evaluation, each example exactly once; fillers in the last one have weight 0 and index -1."""

    def __init__(self, source: Source, places: np.ndarray, batch: int, rule: ConfigDict, limit: int):
        self.source, self.places, self.batch, self.rule = source, places, batch, rule
        self.count = min(len(source), limit or len(source))

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows = int(step) * self.batch + self.places
        real = np.flatnonzero(rows < self.count)
        batch = empty(len(rows), 1)
        batch['weight'][:], batch['index'][:] = 0, -1
        pictures: list[np.ndarray | None] = [None] * len(rows)
        notes = []
        for place, row in zip(real, self.source.rows(rows[real].tolist()), strict=True):
            batch['index'][place], batch['weight'][place] = rows[place], row.image is not None
            pictures[place] = row.image
            if row.image is None:
                notes.append((int(rows[place]), row.id, row.reason, row.text))
        width = None
        if self.rule.width_rule == 'widest':
            width = images.prediction_width([picture for picture in pictures if picture is not None], self.rule)
        batch['image'], batch['size'] = images.fit_batch(pictures, self.rule, width)
        return {**batch, 'notes': pack_notes(notes)}


def empty(rows: int, max_length: int) -> dict[str, np.ndarray]:
    """The arrays of a batch besides its images: every row real, every label empty."""
    return {'tokens': np.full((rows, max_length), -1, np.int32), 'length': np.zeros(rows, np.int32),
            'weight': np.ones(rows, np.float32), 'index': np.zeros(rows, np.int32)}


def stream(batches: Any, config: ConfigDict, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Batches from number `start` on, read ahead in threads or processes by Grain, in order."""
    import cv2
    import grain
    from absl import flags

    cv2.setNumThreads(1)  # Grain's threads share the cores already
    data = config.data
    dataset: Any = grain.MapDataset.source(batches)[start:]
    # Threads are enough where decoding and drawing leave the interpreter; processes cost a copy of each batch. What is packed
    # only has to be copied: more than one thread would be slower.
    threads = min(data.threads, 1) if getattr(batches, 'packed', False) else data.threads
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=data.prefetch if threads else 0)
    dataset = dataset.to_iter_dataset(ahead)
    if data.workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=data.workers))
    return iter(dataset)


def to_devices(batches: Iterable[dict[str, np.ndarray]], sharding: Any, rows: int, depth: int = 2) -> Iterator[tuple]:
    """(batch on the devices, notes) with transfers running ahead; each process hands over its own rows of `rows`."""
    import jax

    def put(batch):
        notes = unpack_notes(batch.pop('notes'))
        return {key: jax.make_array_from_process_local_data(sharding, value, (rows, *value.shape[1:]))
                for key, value in batch.items()}, notes

    queue: deque = deque()
    for batch in batches:
        queue.append(put(dict(batch)))
        if len(queue) >= depth:
            yield queue.popleft()
    yield from queue


def pack_notes(notes: list[tuple]) -> np.ndarray:
    """(row, id, reason, text) of rows that were changed or left out, as bytes: what travels between processes."""
    return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def unpack_notes(packed: np.ndarray) -> list[tuple]:
    """The notes that `pack_notes` packed."""
    return [tuple(note) for note in json.loads(bytes(np.asarray(packed)))]
