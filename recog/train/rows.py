"""The rows of tokens that two vocabularies share, carried from the parameters of one model to another's."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from recog.models import Rows
from recog.text.vocabulary import Vocab


class Carried(NamedTuple):
    """A parameter with the rows that were carried over, and a mask of these that broadcasts to it."""

    array: np.ndarray
    kept: np.ndarray


def fits(rows: Rows, old: tuple[int, ...], new: tuple[int, ...], tokens: tuple[int, int]) -> bool:
    """Whether two shapes differ along the axis of the tokens alone, by as much as the vocabularies do."""
    if len(old) != len(new):
        return False
    differ = [place for place, sides in enumerate(zip(old, new, strict=True)) if sides[0] != sides[1]]
    return set(differ) <= {rows.axis} and new[rows.axis] - old[rows.axis] == tokens[1] - tokens[0]


def carried(array: np.ndarray, rows: Rows, old: Vocab, new: Vocab) -> Carried:
    """The array of a model of the old vocabulary for one of the new: rows of new tokens are zero."""
    array = np.asarray(array, np.float32)
    before = array.shape[rows.axis] - len(old) - rows.behind  # rows of special classes or of no class
    end = before + len(new)
    size = end + rows.behind
    places = {token: place for place, token in enumerate(old.tokens)}
    shared = [(place, places[token]) for place, token in enumerate(new.tokens) if token in places]
    special = [(place, place) for place in range(before)]
    special += [(end + place, before + len(old) + place) for place in range(rows.behind)]
    pairs = special + [(before + to, before + come) for to, come in shared]
    to, come = np.array(pairs, np.int64).reshape(-1, 2).T
    out = np.zeros((size, *np.delete(array.shape, rows.axis)), np.float32)
    out[to] = np.moveaxis(array, rows.axis, 0)[come]
    kept = np.isin(np.arange(size), to)
    return Carried(np.moveaxis(out, 0, rows.axis),
                   kept.reshape([-1 if place == rows.axis else 1 for place in range(array.ndim)]))


def said(old: Vocab, new: Vocab, names: Iterable[str], most: int = 20) -> str:
    """How many rows were kept and how many drawn, and of which tokens, in a line."""
    drawn = [token for token in new.tokens if token not in old.tokens]
    gone = [token for token in old.tokens if token not in new.tokens]

    def few(tokens: list[str]) -> str:
        more = ' ...' if len(tokens) > most else ''
        return f' ({" ".join(map(repr, tokens[:most]))}{more})' if tokens else ''

    return (f'another vocabulary: of {len(new)} tokens {len(new) - len(drawn)} keep their rows, '
            f'{len(drawn)} are drawn{few(drawn)}, {len(gone)} are gone{few(gone)}: in {", ".join(names)}')
