"""Images read in four directions at once, of which the likeliest reading is kept."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from recog.data.rows import Row, Source
from recog.reading.read import Reading
from recog.text.vocabulary import Unencodable, Vocab

TURNS = 4  # quarters of a circle, to the left


class Turns:
    """A source whose images are there as they are and turned by a quarter, a half and three quarters."""

    def __init__(self, source: Source):
        self.name, self._source = source.name, source

    def __len__(self) -> int:
        return TURNS * len(self._source)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._source.labels([index // TURNS for index in indices])

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        for number, same in groupby(indices, lambda index: index // TURNS):
            row, = self._source.rows([number])
            for index in same:
                yield row if row.image is None else row._replace(
                    image=np.ascontiguousarray(np.rot90(row.image, index % TURNS)))


def likeliest(readings: Iterable[Reading], vocab: Vocab) -> Iterator[Reading]:
    """Of the readings of each image in four directions the likeliest."""
    waiting: list[Reading] = []
    for reading in readings:
        waiting.append(reading)
        if len(waiting) == TURNS:
            best = max(range(TURNS), key=lambda turn: _sure(waiting[turn], vocab))
            yield waiting[best]._replace(row=waiting[best].row // TURNS, turned=90 * best)
            waiting = []


def _sure(reading: Reading, vocab: Vocab) -> tuple[bool, float]:
    """How sure a reading is: each token counts by how much likelier it is than a half.

    The probability of the text alone would prefer short texts, and that of nothing to any text.
    """
    if not reading.text:
        return False, reading.score
    try:
        count = len(vocab.encode(reading.text).ids)
    except Unencodable:
        count = 1
    return True, reading.score + count * math.log(2)
