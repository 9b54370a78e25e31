"""Which rows make which batch: a pure function of (seed, k), so that the data position is one integer.

Images of any size are put on canvases of a few listed sizes.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.config.values import parse_bucket
from recog.errors import ConfigError

RULE = 2  # the version of how rows become batches; every checkpoint holds it
PROBED = 8  # epochs that say how many batches one fills, where sizes are drawn


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
        # As in the reference, the last rows of an epoch that fill no batch are left out: if shuffled, others
        # each epoch.
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


def canvases(config: ConfigDict) -> list[tuple[int, int]]:
    """Heights and widths of a recipe's shapes."""
    return list(dict.fromkeys((shape.height, shape.width) for shape in shapes(config, 1, 1)))


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


def _needed(shapes: Sequence[Shape], sizes: np.ndarray, lengths: np.ndarray) -> list[Shape]:
    """The shapes without the last ones that no row needs: these would hold only what others leave over."""
    return list(shapes[:int(fitting(sizes, lengths, shapes).max(initial=0)) + 1])


class Bucketed(Plan):
    """The plan over rows of different sizes: each batch has one of the shapes, an epoch visits each row once.

    Rows that fill no batch of their shape go to the first later one that holds it, and so on. What fills no
    batch in the end is left out, other rows in each epoch; only a shape that not even its own rows fill once
    has them more than once.

    If images are augmented, `drawn` gives their sizes [N, 2] in an epoch, so that epochs differ a little in
    how many batches they fill. All have as many as the least of the first few: what is more is left out, and
    in the rare epoch that fills fewer some come twice.
    """

    def __init__(self, sizes: np.ndarray, lengths: np.ndarray, shapes: Sequence[Shape], order: str,
                 seed: int, drawn: Callable[[int], np.ndarray] | None = None):
        super().__init__([len(sizes)], (), 1, order, seed)
        self._sizes, self._lengths, self._drawn = sizes, lengths, drawn
        # If sizes are drawn, any image may become as large as the last canvas.
        largest = np.broadcast_to(shapes[-1][1:3], sizes.shape) if drawn else sizes
        self.shapes = _needed(shapes, largest, lengths)
        # Until then the last shape took what all others left over, and sizes were not drawn.
        self.since = 2 if drawn or len(shapes) > 2 or len(self.shapes) < len(shapes) else 1
        filled = [self._filled(epoch) for epoch in range(PROBED if drawn else 1)]
        self.epoch = min(map(len, filled))
        self.average = sum(len(rows) for batches in filled for _, rows in batches) / sum(map(len, filled))

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
        batches = self._filled(epoch)
        if self.order == 'shuffle':
            order = generator(self.seed, 'buckets', epoch).permutation(len(batches))
        else:
            order = np.argsort([rows.min() for _, rows in batches])
        return [batches[number] for number in np.resize(order, self.epoch)]

    def _filled(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """All batches that the rows of this epoch fill."""
        sizes = self._sizes if self._drawn is None else self._drawn(epoch)
        order = self._ordered(0, epoch, self.total, np.arange(self.total))
        bucket = fitting(sizes, self._lengths, self.shapes)[order]
        batches: list[tuple[int, np.ndarray]] = []
        waiting: list[list[np.ndarray]] = [[order[bucket == number]] for number in range(len(self.shapes))]
        for number, shape in enumerate(self.shapes):
            rows = np.concatenate(waiting[number])
            alone = not self._next[number] and (len(waiting[number][0]) or not batches)
            if alone and 0 < len(rows) < shape.rows:
                rows = np.resize(rows, shape.rows)  # or those that no other shape holds would never be seen
            full = len(rows) // shape.rows * shape.rows
            batches += [(number, part) for part in rows[:full].reshape(-1, shape.rows)]
            if self._next[number]:
                waiting[self._next[number]].append(rows[full:])
        return batches

    @functools.cached_property
    def _next(self) -> list[int]:
        """For each shape the first later one that holds all that it holds; 0 if there is none."""
        room = np.array([shape[1:] for shape in self.shapes])
        holds = np.triu(np.asarray((room[:, None] <= room[None]).all(-1)), 1)
        return [int(row.argmax()) for row in holds]
