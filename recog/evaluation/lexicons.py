"""Predictions restricted to the lexicons, which are word lists that come with some sets."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from recog.data.prepared import Prepared
from recog.data.rows import Source
from recog.metrics.words import canonical, edit_distance

TITLES = {'iiit5k': 'IIIT5K', 'svt': 'SVT'}
LEXICONS = ('lexicon_50', 'lexicon_1k')  # features of a prepared set: words, one a line


def word_lists(source: Source, rows: Sequence[int]) -> dict[str, list[list[str]]]:
    """The words of each row's lexicon, by the column's name such as IIIT5K-50; those that every row has."""
    if not rows or not isinstance(source, Prepared) or not source.extras(rows[:1], LEXICONS)[0]:
        return {}
    path = source.name.partition(':')[0]
    extras = source.extras(rows, LEXICONS)
    title = TITLES[path] if path in TITLES else path
    return {f'{title}-{name.rpartition("_")[2]}': [extra[name].split('\n') for extra in extras]
            for name in LEXICONS if all(name in extra and extra[name] for extra in extras)}


def constrained(texts: Iterable[str], lexicons: Iterable[Sequence[str]], protocol: str) -> list[str]:
    """For each text the word of its lexicon nearest in edit distance; of several the first."""
    compared = lru_cache(1 << 18)(lambda word: canonical(word, protocol))

    def nearest(text: str, words: Sequence[str]) -> str:
        wanted = compared(text)
        return min(words, key=lambda word: edit_distance(wanted, compared(word)))
    return [nearest(text, words) for text, words in zip(texts, lexicons, strict=True)]
