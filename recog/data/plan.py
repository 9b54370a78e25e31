"""Which rows make which batch: a pure function of (seed, k), so that the data position is one integer."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RULE = 2  # the version of how rows become batches; every checkpoint holds it


class Shape(NamedTuple):
    """The shape of a batch: rows, canvas, and how many tokens a label has at most."""

    rows: int
    height: int
    width: int
    length: int


class Plan:
    """Which rows of the joined sources make batch k: a function of seed and k, the same on every process."""

    since = 1  # the first version of `RULE` that makes these batches

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], batch: int, order: str, seed: int):
        self.sizes, self.batch, self.order, self.seed = list(sizes), batch, order, seed
        self.total = sum(self.sizes)
        self.shares = np.cumsum([0.0, *weights]) / (sum(weights) or 1)
        # Every batch is full: the last rows of an epoch that fill none are left out, if shuffled others each
        # epoch. Some references end an epoch with a smaller batch instead; the recipes say so.
        self.epoch = max(1, self.total // batch)
        self.average: float = batch  # rows of a batch

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers in the joined sources, and the epoch each belongs to.  -> [B], [B]"""
        if len(self.shares) == 1:
            epoch, place = divmod(step, self.epoch)
            places = (np.arange(self.batch) + place * self.batch) % self.total
            return self._ordered(0, epoch, self.total, places), np.full(self.batch, epoch)
        return self._mixed(step)

    def shape(self, step: int) -> Shape | None:
        """The shape of batch k, where it is not the recipe's."""
        return None

    def counts(self) -> list[int]:
        """How many rows batches have."""
        return [self.batch]

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
        # Batch norm in groups of consecutive rows is to see the mixture, not one source.
        mixed, their_epochs = np.concatenate(rows), np.concatenate(epochs)
        if self.order != 'shuffle':
            return mixed, their_epochs
        order = generator(self.seed, 'batch', step).permutation(self.batch)
        return mixed[order], their_epochs[order]

    def _ordered(self, stream: int, epoch: int, size: int, places: np.ndarray) -> np.ndarray:
        if self.order == 'file':
            return places
        return _permutation(self.seed, stream, epoch, size)[places].astype(np.int64)


def generator(seed: int, *where: int | str) -> np.random.Generator:
    """The random numbers of this place in the run."""
    words = [int.from_bytes(item.encode(), 'little') if isinstance(item, str) else item
             for item in (seed, *where)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def _permutation(seed: int, stream: int, epoch: int, size: int) -> np.ndarray:
    return _permutations(seed, stream, size)(epoch)


@functools.lru_cache(maxsize=64)
def _permutations(seed: int, stream: int, size: int) -> Callable[[int], np.ndarray]:
    """The permutations of a stream by epoch; the last two are kept, as a batch may hold rows of both."""
    return functools.lru_cache(maxsize=2)(
        lambda epoch: generator(seed, 'order', stream, epoch).permutation(size).astype(np.uint32))
