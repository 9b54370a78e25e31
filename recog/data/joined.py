"""Several sets one behind the other."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recog.data.rows import Row, Source


class Joined:
    """Several sources one behind the other."""

    def __init__(self, sources: Sequence[Source]):
        self.sources, self.name = sources, '+'.join(source.name for source in sources)
        self._starts = np.cumsum([0, *(len(source) for source in sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _each(self, indices: Any) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """Each source that has some of the rows: where they stand in `indices`, and their numbers in the source."""
        wanted = np.asarray(indices)
        owners = np.searchsorted(self._starts, wanted, side='right') - 1
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            yield self.sources[owner], places, wanted[places] - self._starts[owner]

    def _asked(self, method: str, indices: Sequence[int]) -> list:
        answers: list = [None] * len(indices)
        for source, places, rows in self._each(indices):
            for place, row in zip(places, getattr(source, method)(rows.tolist()), strict=True):
                answers[place] = row
        return answers

    def rows(self, indices: Sequence[int]) -> list[Row]:
        return self._asked('rows', indices)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._asked('labels', indices)


class JoinedPacked(Joined):
    """Several packed sources one behind the other."""

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """As `Packed.arrays`."""
        if len(self.sources) == 1:
            return self.sources[0].arrays(rows)  # type: ignore[attr-defined]
        batch: dict[str, np.ndarray] = {}
        for source, places, mine in self._each(rows):
            for key, part in source.arrays(mine).items():
                if key not in batch:
                    batch[key] = np.empty((len(rows), *part.shape[1:]), part.dtype)
                batch[key][places] = part
        return batch

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """As `Packed.codes`."""
        found = np.zeros(len(rows), np.uint8)
        for source, places, mine in self._each(rows):
            found[places] = source.codes(mine)  # type: ignore[attr-defined]
        return found

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """As `Packed.notes`, by the numbers of the joined rows."""
        return [(int(rows[place]), *note[1:]) for source, places, mine in self._each(rows) for place, note in
                zip(places[code[places] > 0], source.notes(mine, code[places]), strict=True)]


def joined(sources: Sequence[Source]) -> Joined:
    """The sources one behind the other; whole batches can be asked of packed ones."""
    return (JoinedPacked if all(hasattr(source, 'arrays') for source in sources) else Joined)(sources)
