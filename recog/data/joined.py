"""Several sets as one, the rows of each behind those of the one before."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from recog.data.rows import Measured, PackedSource, RaggedSource, Row, Source


class Joined:
    """Several sources as one."""

    sources: Sequence[Source]

    def __init__(self, sources: Sequence[Source]):
        self.sources, self.name = sources, '+'.join(source.name for source in sources)
        self._starts = np.cumsum([0, *(len(source) for source in sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _by_source(self, indices: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The rows by source: its number, the rows' places in `indices`, and their numbers in the source."""
        wanted = np.asarray(indices)
        owners = np.searchsorted(self._starts, wanted, side='right') - 1
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            yield owner, places, wanted[places] - self._starts[owner]

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        turns: list[Any] = [None] * len(indices)
        for owner, places, mine in self._by_source(indices):
            rows = iter(self.sources[owner].rows(mine.tolist()))
            for place in places:
                turns[place] = rows
        return (next(rows) for rows in turns)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        found: list[Any] = [None] * len(indices)
        for owner, places, mine in self._by_source(indices):
            for place, label in zip(places, self.sources[owner].labels(mine.tolist()), strict=True):
                found[place] = label
        return found


class JoinedCoded(Joined):
    """Several packed sources as one, with what packing found wrong with their rows."""

    sources: Sequence[PackedSource | RaggedSource]

    def _collected(self, rows: np.ndarray, ask: Callable[[Any, np.ndarray], dict[str, np.ndarray]]
                   ) -> dict[str, np.ndarray]:
        """The arrays that `ask` gets from each source of these rows."""
        batch: dict[str, np.ndarray] = {}
        for owner, places, mine in self._by_source(rows):
            for key, part in ask(self.sources[owner], mine).items():
                if key not in batch:
                    batch[key] = np.empty((len(rows), *part.shape[1:]), part.dtype)
                batch[key][places] = part
        return batch

    def codes(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros(len(rows), np.uint8)
        for owner, places, mine in self._by_source(rows):
            found[places] = self.sources[owner].codes(mine)
        return found

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """(row, id, reason, text) as from `Packed.notes`; the row is its number among all rows."""
        found: list[tuple] = []
        for owner, places, mine in self._by_source(rows):
            notes = self.sources[owner].notes(mine, code[places])
            noted = places[code[places] > 0]
            found += [(int(rows[place]), *note[1:]) for place, note in zip(noted, notes, strict=True)]
        return found


class JoinedPacked(JoinedCoded):
    """Several packed sources of one canvas as one: a `PackedSource`."""

    sources: Sequence[PackedSource]

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if len(self.sources) == 1:
            return self.sources[0].arrays(rows)
        return self._collected(rows, lambda source, mine: source.arrays(mine))


class JoinedRagged(JoinedCoded):
    """Several packed sources of images of any size as one: a `RaggedSource`."""

    sources: Sequence[RaggedSource]

    def measured(self) -> Measured:
        parts = [source.measured() for source in self.sources]
        return Measured(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def image(self, row: int) -> np.ndarray:
        (owner, _, mine), = self._by_source([row])
        return self.sources[owner].image(int(mine[0]))

    def labelled(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return self._collected(rows, lambda source, mine: source.labelled(mine))


def joined(sources: Sequence[Source]) -> Joined:
    """The sources as one, which gives whole batches where all of them are packed."""
    packed = [source for source in sources if isinstance(source, PackedSource)]
    if len(packed) == len(sources):
        return JoinedPacked(packed)
    ragged = [source for source in sources if isinstance(source, RaggedSource)]
    return JoinedRagged(ragged) if len(ragged) == len(sources) else Joined(sources)
