"""Figures from predictions: which characters are read as which, accuracy by length,
and confidence against accuracy."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from recog.report.record import Judged

# Longer than any character and no LaTeX token, so they cannot be mistaken for one.
NOTHING, OTHER = 'nothing', 'other'
MOST_TOKENS, MOST_CHARACTERS = 30, 94  # tokens and characters with a row of their own in a matrix
EACH_LENGTH = 25  # if no text is longer, every length is a bin
LENGTHS = (1, 6, 11, 21, 41, 81)  # otherwise, where the bins begin
BINS = 10  # of confidence

Pairs = Counter[tuple[str, str]]  # how often a token (first) was read as another; NOTHING stands for none


class Matrix(NamedTuple):
    """How often each token (row) was read as each (column)."""

    names: list[str]
    counts: np.ndarray  # int64 [V, V]


class Bin(NamedTuple):
    """Examples that belong together: how many, how many of them are right, and their mean confidence."""

    label: str
    total: int
    right: int
    confidence: float


class Step(NamedTuple):
    """A piece of an alignment: a part of the truth and what was read in
    its place, one of which may be empty."""

    equal: bool
    wanted: tuple[str, ...]
    written: tuple[str, ...]


def aligned(wanted: Sequence[str], written: Sequence[str]) -> Iterator[Step]:
    """Two texts laid side by side with the fewest edits."""
    from rapidfuzz.distance import Levenshtein

    for code in Levenshtein.opcodes(wanted, written):
        yield Step(code.tag == 'equal', tuple(wanted[code.src_start:code.src_end]),
                   tuple(written[code.dest_start:code.dest_end]))


def pairs(examples: Iterable[Judged]) -> Pairs:
    """How often each token was read as which, over all examples."""
    found: Pairs = Counter()
    for example in examples:
        for step in aligned(example.wanted, example.written):
            for place in range(max(len(step.wanted), len(step.written))):
                truth = step.wanted[place] if step.wanted else NOTHING
                found[truth, step.written[place] if step.written else NOTHING] += 1
    return found


def matrix(found: Pairs, formulas: bool) -> Matrix:
    """The matrix of the most frequent tokens, sorted by frequency for formulas and by
    character otherwise; all others are OTHER."""
    often: Counter[str] = Counter()
    for (truth, read), times in found.items():
        often[truth] += times
        often[read] += 0 if read == truth else times
    del often[NOTHING]
    ranked = sorted(often, key=lambda token: (-often[token], token))
    kept = ranked[:MOST_TOKENS if formulas else MOST_CHARACTERS]
    names = [*(kept if formulas else sorted(kept)), *([OTHER] if len(kept) < len(ranked) else []), NOTHING]
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for (truth, read), times in found.items():
        row, column = (place[name if name in place else OTHER] for name in (truth, read))
        counts[row, column] += times
    return Matrix(names, counts)


def confused(found: Pairs, most: int) -> list[tuple[str, str, int, float]]:
    """The most frequent confusions: truth, what was read, how often, and
    its share of all readings of this truth."""
    totals: Counter[str] = Counter()
    for (truth, _), times in found.items():
        totals[truth] += times
    wrong = sorted(((pair, times) for pair, times in found.items() if pair[0] != pair[1]),
                   key=lambda item: (-item[1], item[0]))
    return [(truth, read, times, times / totals[truth]) for (truth, read), times in wrong[:most]]


def by_length(examples: Sequence[Judged]) -> list[Bin]:
    """Examples by the length of their truth, in tokens; lengths that do not occur are left out."""
    lengths = [len(example.wanted) for example in examples]
    longest = max(lengths, default=0)
    edges: Sequence[int] = range(longest + 2) if longest <= EACH_LENGTH else (0, *LENGTHS, longest + 1)
    bins = []
    for low, high in pairwise(sorted(set(edges))):
        inside = [example for example, length in zip(examples, lengths, strict=True) if low <= length < high]
        if inside:
            bins.append(tallied(str(low) if high == low + 1 else f'{low}–{high - 1}', inside))
    return bins


def by_confidence(examples: Sequence[Judged]) -> list[Bin]:
    """Examples by confidence, in bins of equal width; empty ones are kept."""
    inside: list[list[Judged]] = [[] for _ in range(BINS)]
    for example in examples:
        inside[min(max(int(example.confidence * BINS), 0), BINS - 1)].append(example)
    return [tallied(f'{number / BINS:.1f}–{(number + 1) / BINS:.1f}', found)
            for number, found in enumerate(inside)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: |accuracy - confidence| of the bins,
    weighted by their counts (Naeini et al. 2015)."""
    total = sum(each.total for each in bins)
    return sum(abs(each.right - each.confidence * each.total) for each in bins) / max(total, 1)


def tallied(label: str, inside: Sequence[Judged]) -> Bin:
    """Examples that belong together."""
    confidence = sum(example.confidence for example in inside) / max(len(inside), 1)
    return Bin(label, len(inside), sum(example.right for example in inside), confidence)
