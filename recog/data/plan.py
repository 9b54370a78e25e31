"""Which rows make which batch: a pure function of (seed, k), so that the data position is one integer.

Images of any size are put on canvases of a few listed sizes.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.config.values import parse_bucket
from recog.errors import ConfigError


class Shape(NamedTuple):
    """The shape of a batch: rows, canvas, and how many tokens a label has at most."""

    rows: int
    height: int
    width: int
    length: int


class Plan:
    """Which rows of the joined sources make batch k: a function of seed and k, the same on every process."""

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


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, stream: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, 'order', stream, epoch).permutation(size).astype(np.uint32)


def shapes(config: ConfigDict, batch: int, multiple: int) -> list[Shape]:
    """The shapes of a recipe, smallest canvas first; of `batch` rows, or fewer if data.pixels limits them.

    The last is the largest canvas of the recipe, image.height x image.width with text.max_length tokens.
    """
    rule, most = config.data, (config.image.height, config.image.width, config.text.max_length)
    buckets = sorted({(*parse_bucket(bucket, most[2]),) for bucket in rule.buckets} | {most}, key=np.prod)
    for bucket in buckets:
        if any(size > limit for size, limit in zip(bucket, most, strict=True)):
            raise ConfigError(
                f'config.data.buckets: {"x".join(map(str, bucket))} must be at most '
                f'{"x".join(map(str, most))}, which is config.image.height x config.image.width x '
                'config.text.max_length')
    return [Shape(_rows(height * width, batch, rule.pixels, multiple), height, width, length)
            for height, width, length in buckets]


def _rows(area: int, batch: int, pixels: int, multiple: int) -> int:
    """Rows of a batch: `batch`, or what the budget of pixels allows; always a multiple, and at least one."""
    wanted = min(batch, pixels // area) if pixels else batch
    return max(multiple, wanted // multiple * multiple)


def fitting(sizes: np.ndarray, lengths: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """The number of the first shape that each image [N, 2] with its label [N] fits, else the last.  -> [N]"""
    room = np.array([(shape.height, shape.width, shape.length) for shape in shapes])
    needed = np.concatenate([sizes, lengths[:, None]], 1)
    fits = np.asarray((needed[:, None] <= room[None]).all(-1))
    fits[:, -1] = True
    return fits.argmax(1)


class Bucketed(Plan):
    """The plan over rows of different sizes: each batch has one of the shapes, an epoch visits each row once.

    Rows that fill no batch of their shape go into the largest. Of those, the last that fill no batch are left
    out, others in each epoch.
    """

    def __init__(self, sizes: np.ndarray, lengths: np.ndarray, shapes: Sequence[Shape], order: str,
                 seed: int):
        super().__init__([len(sizes)], (), 1, order, seed)
        self.shapes, self._bucket = list(shapes), fitting(sizes, lengths, shapes)
        counts = np.bincount(self._bucket, minlength=len(shapes))
        self.batches = counts // [shape.rows for shape in shapes]
        rest = sum(counts[:-1] - self.batches[:-1] * [shape.rows for shape in shapes[:-1]])
        self.batches[-1] = max((counts[-1] + rest) // shapes[-1].rows, int(not self.batches[:-1].any()))
        self.epoch = int(self.batches.sum())
        rows = sum(int(number) * shape.rows for number, shape in zip(self.batches, shapes, strict=True))
        self.average = rows / self.epoch

    def counts(self) -> list[int]:
        return sorted({shape.rows for shape in self.shapes})

    def shape(self, step: int) -> Shape:
        return self.shapes[self._epoch(step // self.epoch)[step % self.epoch][0]]

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(step, self.epoch)
        rows = self._epoch(epoch)[place][1]
        return rows, np.full(len(rows), epoch)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a run has one plan
    def _epoch(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """The batches of an epoch: number of the shape, and rows."""
        order = self._ordered(0, epoch, self.total, np.arange(self.total))
        batches: list[tuple[int, np.ndarray]] = []
        rest: list[np.ndarray] = []
        for number, shape in enumerate(self.shapes):
            rows = order[self._bucket[order] == number]
            if number == len(self.shapes) - 1:
                rows = np.concatenate([rows, *rest])
                if len(rows) < shape.rows and not batches:  # fewer rows than one batch: they are repeated
                    rows = np.resize(rows, shape.rows)
            full = len(rows) // shape.rows * shape.rows
            batches += [(number, part) for part in rows[:full].reshape(-1, shape.rows)]
            rest.append(rows[full:])
        if self.order == 'shuffle':
            return [batches[i] for i in generator(self.seed, 'buckets', epoch).permutation(len(batches))]
        return sorted(batches, key=lambda batch: batch[1].min())
