"""The first examples of a set with their images corrupted, the same whenever they are read."""

from collections.abc import Iterator, Sequence

from recog.data.rows import PackedSource, Row, Source
from recog.errors import ConfigError
from recog.images.corrupt import corrupted


class Corrupted:
    """A source of rows that are held in memory, for each corruption anew; without one as they are."""

    def __init__(self, source: Source, count: int, seed: int):
        check_corruptible(source)
        self.name, self.seed = source.name, seed
        places = range(min(len(source), count or len(source)))
        self._rows = [row._replace(strokes=()) for row in source.rows(places)]
        self._corruption, self._severity = '', 0

    def by(self, corruption: str, severity: int) -> 'Corrupted':
        """These rows under a corruption of this severity."""
        self._corruption, self._severity = corruption, severity
        return self

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(self._rows[index].id, self._rows[index].text) for index in indices]

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        for index in indices:
            row = self._rows[index]
            yield row if row.image is None or not self._corruption else row._replace(
                image=corrupted(row.image, self._corruption, self._severity, self.seed, index))


def check_corruptible(source: Source) -> None:
    """Refuse a source whose images are no longer as they were read."""
    if isinstance(source, PackedSource):
        raise ConfigError(f'{source.name} cannot be corrupted: it is packed for a recipe, and holds images '
                          'that are fitted already; name the set that it was packed from')
