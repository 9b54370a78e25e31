"""What is counted of the records of a split."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recog.prepare.folding import Fold
from recog.text import vocabulary

SETS = {name: frozenset(vocabulary.CHARSETS[name]) for name in ('36', '62', '94', '95')}
MEASURES = {'width': 'pixels', 'height': 'pixels', 'area': 'height x width', 'length': 'characters',
            'tokens': 'between blanks'}
QUANTILES = {'min': 0.0, '1 %': 0.01, 'median': 0.5, '99 %': 0.99, 'max': 1.0}
MOST_TOKENS = 10_000  # different tokens; if there are more, they are words and not a vocabulary


class Tally:
    """Counts over the records of a split; two can be added."""

    def __init__(self) -> None:
        self.count = 0
        kinds = (*MEASURES, 'canvas', 'character', 'token', 'outside')
        self.counters: dict[str, Counter] = {kind: Counter() for kind in kinds}
        self.hashes = {name: array('Q') for name in ('id', 'label', 'folded')}

    def add(self, name: str, text: str, size: Sequence[int], fold: Fold) -> None:
        """Count a record."""
        self.count += 1
        counters = self.counters
        height, width = int(size[0]), int(size[1])
        counters['height'][height] += 1
        counters['width'][width] += 1
        counters['area'][height * width] += 1
        counters['canvas'][_doubled(height), _doubled(width)] += 1
        counters['length'][len(text)] += 1
        counters['tokens'][len(text.split())] += 1
        counters['character'].update(text)
        if len(counters['token']) <= MOST_TOKENS:
            counters['token'].update(text.split())
        for charset, members in SETS.items():
            if not members.issuperset(text.lower() if charset == '36' else text):
                counters['outside'][charset] += 1
        for kind, value in (('id', name), ('label', text), ('folded', fold.make(text))):
            self.hashes[kind].append(hashed(value))

    def merge(self, other: 'Tally') -> None:
        """Add the counts of another tally."""
        self.count += other.count
        for name, counter in other.counters.items():
            self.counters[name].update(counter)
        for name, values in other.hashes.items():
            self.hashes[name].extend(values)

    def mean(self, measure: str) -> float:
        """The mean of a measure over the records."""
        return sum(value * count for value, count in self.counters[measure].items()) / self.count

    def fitting(self) -> dict[tuple[int, int], float]:
        """The share of images that fit into a canvas (height, width), for every canvas whose sides are powers
        of two of images."""
        found = self.counters['canvas']
        heights, widths = (sorted({canvas[side] for canvas in found}) for side in (0, 1))
        return {(height, width): sum(count for canvas, count in found.items()
                                     if canvas[0] <= height and canvas[1] <= width) / self.count
                for height in heights for width in widths}

    def quantiles(self, measure: str) -> dict[str, int]:
        """Minimum, median and maximum of a measure, and its quantiles at 1 % and 99 %."""
        values, counts = (np.array(each) for each in zip(*sorted(self.counters[measure].items()),
                                                         strict=True))
        reached = np.cumsum(counts)
        return {name: int(values[np.searchsorted(reached, max(1, share * self.count))])
                for name, share in QUANTILES.items()}


class Shared(NamedTuple):
    """How many records of one split have a label that occurs in another."""

    split: str
    other: str
    label: int
    folded: int
    examples: list[str]


def spread(length: int, wanted: int) -> list[int]:
    """At most `wanted` places below `length`, evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(length, wanted)).astype(int)).tolist()


def _doubled(side: int) -> int:
    """The smallest power of two, from 32 on, that a side of an image fits into."""
    return max(32, 1 << (side - 1).bit_length())


def named(character: str) -> str:
    """A character for a list, with its code point unless it is ASCII."""
    if character in SETS['94']:
        return character
    shown = f' {character}' if character.isprintable() and not character.isspace() else ''
    return f'U+{ord(character):04X}{shown}'


def ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """By count, then name: most_common alone would leave ties in the order of arrival."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).digest(),
                          'little')
