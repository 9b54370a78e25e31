"""Random numbers of drawn sets, and the split that a text belongs to."""

import random
import zlib
from collections.abc import Sequence

# Hundredths of all words that a split holds, by the hash of the word's lower-case form.
SPLITS = {'validation': range(0, 5), 'test': range(5, 10), 'train': range(10, 100)}
_SPLIT_OF = [split for split, parts in SPLITS.items() for _ in parts]


class Dice(random.Random):
    """The random numbers of one word, seeded with one whole number; numpy's cost fifty times as much each."""

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
