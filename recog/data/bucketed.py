"""Batches of rows of different sizes: images on canvases of a few sizes, labels of like length together."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from recog.data.plan import Plan, Shape, generator
from recog.data.shapes import fitting

PROBED = 8  # epochs that say how many batches one fills, where sizes are drawn


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

    Rows may be copies: `copies` [2, N] says of which row each is one, and which of its copies; these are
    augmented as in different epochs.
    """

    def __init__(self, sizes: np.ndarray, lengths: np.ndarray, shapes: Sequence[Shape], order: str,
                 seed: int, drawn: Callable[[int], np.ndarray] | None = None,
                 copies: np.ndarray | None = None):
        super().__init__([len(sizes)], (), 1, order, seed)
        self._copies = copies
        self.given, self.lengths, self._drawn = sizes, lengths, drawn
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
        if self._copies is None:
            return rows, np.full(len(rows), epoch)
        of, copy = self._copies
        return of[rows], epoch * (copy.max() + 1) + copy[rows]

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
        sizes = self.given if self._drawn is None else self._drawn(epoch)
        order = self._ordered(0, epoch, self.total, np.arange(self.total))
        bucket = fitting(sizes, self.lengths, self.shapes)[order]
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
