"""A list of words that a reader prefers: of the texts that a beam search finds, those on the list count more.

The probability of a text is multiplied by e ** `prefer` if it is on the list or a number, and divided by the
sum over all texts. Texts that the search did not find count as if they were not on the list. Letters are
compared without their case, and signs do not count.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NOT_COMPARED = re.compile('[^0-9a-z]+')
MOST_PREFERRED = 20.0  # nothing else would be read


class Lexicon(NamedTuple):
    """The words as they are compared, and how they count."""

    words: frozenset[str]
    prefer: float  # what a word on the list gains in log-probability
    beam: int  # texts of an image among which is chosen

    def has(self, text: str) -> bool:
        """Whether a text is on the list, or a number."""
        word = compared(text)
        return word in self.words or word.isdigit()

    def scores(self, texts: Iterable[str], scores: Sequence[float]) -> list[float]:
        """The log-probabilities of these texts of an image once the list is known, from those without it."""
        raised = [score + self.prefer * self.has(text) for text, score in zip(texts, scores, strict=True)]
        left_out = max(1.0 - sum(map(math.exp, scores)), 0.0)
        total = math.log(sum(map(math.exp, raised)) + left_out)
        return [min(score - total, 0.0) for score in raised]

    @property
    def mark(self) -> str:
        """Eight digits that tell it from others."""
        content = f'{self.prefer} {" ".join(sorted(self.words))}'
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def words_of(lines: Iterable[str]) -> frozenset[str]:
    """The words of a list, one a line, as they are compared."""
    return frozenset(filter(None, map(compared, lines)))


def compared(text: str) -> str:
    """The letters of a text, in lower case, and its digits."""
    return NOT_COMPARED.sub('', text.lower())
