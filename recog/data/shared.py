"""Rows that training and validation share, counted, because an accuracy over them means less."""

import hashlib
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence

import numpy as np

from recog.data.origin import DRAWN_BY
from recog.data.rows import PackedSource, Row, Source

ROWS = 1_000  # of a validation set, from all over it, that are looked for
MOST = 200_000  # labels of a training set that are read
ALIKE = 3_000  # of the rows with one of their labels, whose images are compared
CHUNK = 1_000  # rows that are asked for together


def shared(training: Iterable[Source], validation: Iterable[Source]) -> Iterator[str]:
    """For each two sets that share rows, how many, in words."""
    trained = list(training)
    for checked in validation:
        for each in trained:
            looked, found, whole = _counted(each, checked)
            if found:
                count = f'{found:,}' if whole else f'at least {found:,}'
                yield (f'of {looked:,} rows of {checked.name} {count} stand in {each.name}, too: '
                       'accuracies on them say less about other images')


def _counted(trained: Source, checked: Source) -> tuple[int, int, bool]:
    """How many rows of a validation set were looked for, how many of them training has as well, and whether
    all its rows with their labels were compared."""
    if trained.name == checked.name:
        return len(checked), len(checked), True
    if any(each.name.partition(':')[0] in DRAWN_BY for each in (trained, checked)):
        return 0, 0, True  # the splits of what is drawn share nothing
    places = _spread(len(checked), ROWS)
    wanted = _texts(checked, places)
    alike = _texts(trained, _spread(len(trained), MOST), wanted)
    compared = _first(alike, ALIKE)
    theirs = set(_keys(trained, checked, compared))
    mine = _keys(checked, trained, [row for text in alike for row in wanted[text]])
    whole = len(trained) <= MOST and len(compared) == sum(map(len, alike.values()))
    return len(places), sum(key in theirs for key in mine), whole


def _spread(count: int, most: int) -> Sequence[int]:
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64)).tolist() if count else ()


def _texts(source: Source, places: Sequence[int],
           wanted: Container[str] | None = None) -> dict[str, list[int]]:
    """The rows at these places by their label, which must be one of those that are wanted."""
    found: dict[str, list[int]] = defaultdict(list)
    for begin in range(0, len(places), CHUNK):
        part = places[begin:begin + CHUNK]
        for row, (_, text) in zip(part, source.labels(part), strict=True):
            if wanted is None or text in wanted:
                found[text].append(row)
    return found


def _first(rows: dict[str, list[int]], most: int) -> list[int]:
    """So many of the rows, of each label as many."""
    each = max(1, most // max(len(rows), 1))
    return [row for found in rows.values() for row in found[:each]][:most]


def _keys(source: Source, other: Source, rows: Sequence[int]) -> Iterator[Hashable]:
    """What tells that a row is the same: label and pixels, or id where a set does not keep its pixels."""
    if isinstance(source, PackedSource) or isinstance(other, PackedSource):
        yield from source.labels(rows)
        return
    for begin in range(0, len(rows), CHUNK):
        yield from filter(None, map(_key, source.rows(rows[begin:begin + CHUNK])))


def _key(row: Row) -> tuple | None:
    if row.image is None:
        return None
    return row.text, row.image.shape, hashlib.sha256(row.image.tobytes()).digest()
