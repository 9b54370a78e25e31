"""Random numbers of drawn sets, and the split of each text."""

import random
import zlib
from collections.abc import Sequence

# The hundredths of all words that are in each split, by the hash of the lower-case word.
SPLITS = {'validation': range(0, 5), 'test': range(5, 10), 'train': range(10, 100)}
_SPLIT_OF = [split for split, parts in SPLITS.items() for _ in parts]


class Dice(random.Random):
    """The random numbers of one word, seeded with an integer;
    numpy's generators take fifty times as long for each."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.random())

    def pick(self, items: Sequence):
        """One of the items."""
        return items[int(len(items) * self.random())]


def split_of(word: str) -> str:
    """The split that a word belongs to, whatever its case."""
    return _SPLIT_OF[zlib.crc32(word.lower().encode()) % 100]
