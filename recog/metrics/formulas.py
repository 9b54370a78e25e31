r"""Measures on formulas, by their LaTeX tokens: ExpRate and its relatives, BLEU, structure, what is well-formed, leaks.

Tokens are commands, escaped characters and single characters; blanks count for nothing, so `x ^ { 2 }` equals `x^{2}`.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any

from recog.metrics.words import canonical, edit_distance
from recog.text import latex

Tokens = Sequence[str]
ORDERS = (1, 2, 3, 4)  # n-grams of BLEU-4
# What makes the structure; everything else is a symbol, and one is as good as another.
STRUCTURE = frozenset((r'\frac', r'\sqrt', r'\limits', '^', '_', '{', '}'))
PLAIN = 'x'
# Where the parts of `by_length` and `by_depth` end; what is above has one of its own.
LENGTHS, DEPTHS = (5, 10, 20, 40), (0, 1, 2, 3)


def tokens(text: str) -> tuple[str, ...]:
    """A formula's tokens as they stand, which is what the protocol `latex` compares."""
    return tuple(canonical(text, 'latex'))


def normalised(text: str) -> tuple[str, ...]:
    """A formula's tokens in the normal form; as they stand where it is malformed."""
    try:
        return latex.tokens(text)
    except latex.Malformed:
        return tokens(text)


def structure(formula: Tokens) -> tuple[str, ...]:
    """A formula with all its symbols made one."""
    return tuple(token if token in STRUCTURE else PLAIN for token in formula)


def rate(truths: Iterable[Any], predictions: Iterable[Any], errors: int = 0) -> float:
    """ExpRate, the share of formulas of which all tokens are right, or (`errors`) with at most so many edits; 0 of none."""
    return _share(edit_distance(truth, prediction) <= errors for truth, prediction in zip(truths, predictions, strict=True))


def token_accuracy(truths: Iterable[Tokens], predictions: Iterable[Tokens]) -> float:
    """The share of places where the same token stands, of all places of all formulas, the longer of two counting."""
    pairs = list(zip(truths, predictions, strict=True))
    places = sum(max(len(truth), len(prediction)) for truth, prediction in pairs)
    return sum(a == b for truth, prediction in pairs for a, b in zip(truth, prediction, strict=False)) / max(places, 1)


def bleu(truths: Iterable[Tokens], predictions: Iterable[Tokens]) -> float:
    """BLEU-4 of all formulas together: the geometric mean of the shares of 1- to 4-grams that are right, less if they are short.

    Papineni et al. 2002; sacrebleu's number with tokenize='none', smooth_method='none', as a share.
    """
    right, total = [0] * len(ORDERS), [0] * len(ORDERS)
    lengths = [0, 0]
    for truth, prediction in zip(truths, predictions, strict=True):
        lengths = [lengths[0] + len(truth), lengths[1] + len(prediction)]
        for place, order in enumerate(ORDERS):
            found = _grams(prediction, order)
            right[place] += (found & _grams(truth, order)).total()
            total[place] += found.total()
    return combined(right, total, *lengths)


def combined(right: Sequence[int], total: Sequence[int], wanted: int, written: int) -> float:
    """BLEU of how many n-grams are right, of how many, and of both lengths in tokens; 0 where an order has none right."""
    if not all(right):
        return 0.0
    brevity = min(0.0, 1 - wanted / written)
    return math.exp(brevity + sum(math.log(a / b) for a, b in zip(right, total, strict=True)) / len(right))


def summary(truths: Iterable[str], predictions: Iterable[str], known: Collection[str] = ()) -> dict[str, float]:
    """What `metrics.summary` does not say of formulas: within_1 to within_3, normalised, structure, token_accuracy, bleu.

    With the formulas of the training, `known` (see `keys`), also seen, the count of those that stand there, and accuracy_unseen.
    """
    texts = list(zip(truths, predictions, strict=True))
    wanted, written = [tokens(text) for text, _ in texts], [tokens(text) for _, text in texts]
    distances = [edit_distance(*pair) for pair in zip(wanted, written, strict=True)]
    figures = {f'within_{errors}': _share(distance <= errors for distance in distances) for errors in (1, 2, 3)}
    figures |= {
        'normalised': _share(not distance or normalised(truth) == normalised(prediction)
                             for distance, (truth, prediction) in zip(distances, texts, strict=True)),
        'structure': _share(structure(truth) == structure(prediction) for truth, prediction in zip(wanted, written, strict=True)),
        'token_accuracy': token_accuracy(wanted, written),
        'bleu': bleu(wanted, written)}
    if known:
        fresh = [key not in known for key in keys(truth for truth, _ in texts)]
        unseen = [not distance for distance, new in zip(distances, fresh, strict=True) if new]
        figures |= {'seen': len(texts) - len(unseen), 'accuracy_unseen': _share(unseen)}
    return figures


def depth(formula: Tokens) -> int:
    """How deep fractions, roots and scripts lie within each other: the deepest nesting of braces; a line of symbols has 0."""
    deepest = now = 0
    for token in formula:
        now += (token == '{') - (token == '}')
        deepest = max(deepest, now)
    return deepest


def by_length(truths: Iterable[str], predictions: Iterable[str]) -> dict[str, dict[str, float]]:
    """count, right and accuracy (ExpRate) of the formulas of so many tokens."""
    return _parted(truths, predictions, LENGTHS, lambda truth: len(tokens(truth)))


def by_depth(truths: Iterable[str], predictions: Iterable[str]) -> dict[str, dict[str, float]]:
    """count, right and accuracy (ExpRate) of the formulas whose normal form has this `depth`."""
    return _parted(truths, predictions, DEPTHS, lambda truth: depth(normalised(truth)))


def _parted(truths: Iterable[str], predictions: Iterable[str], ends: Sequence[int],
            size: Callable[[str], int]) -> dict[str, dict[str, float]]:
    """What came of the formulas by their size: parts up to and with each of the ends, and one above; all are there."""
    starts = (min(1, ends[0]), *(end + 1 for end in ends))
    names = [f'{start}' if start == end else f'{start}-{end}' for start, end in zip(starts, ends, strict=False)]
    verdicts: dict[str, list[bool]] = {name: [] for name in (*names, f'{starts[-1]}+')}
    parts = list(verdicts.values())
    for truth, prediction in zip(truths, predictions, strict=True):
        parts[bisect_left(ends, size(truth))].append(tokens(truth) == tokens(prediction))
    return {name: {'count': len(found), 'right': sum(found), 'accuracy': _share(found)} for name, found in verdicts.items()}


def keys(texts: Iterable[str]) -> list[str]:
    """What formulas are told apart by when leaks are looked for: their tokens in the normal form."""
    return [' '.join(normalised(text)) for text in texts]


def leaked(tests: Iterable[str], training: Iterable[str]) -> list[int]:
    """The leak report: the places of the test formulas that stand word for word, in the normal form, in the training."""
    known = frozenset(keys(training))
    return [place for place, key in enumerate(keys(tests)) if key in known]


def reference_can_metric(rows: Iterable[tuple[Sequence[Any], Sequence[Any], int]]) -> dict[str, float]:
    """PaddleOCR's CANMetric on (label, prediction, tokens that count): difflib's ratio, and where it is 1, of what counts."""
    from difflib import SequenceMatcher

    ratios = [SequenceMatcher(None, list(label[:length]), list(prediction[:length]), autojunk=False).ratio()
              for label, prediction, length in rows]
    return {'word_rate': sum(ratios) / max(len(ratios), 1), 'exp_rate': _share(ratio == 1 for ratio in ratios)}


def well_formed(formula: Tokens) -> bool:
    """Whether the tokens are a formula that can be drawn: mathtext, which refuses broken LaTeX, is the judge."""
    text = latex.latex(formula, limits=False)
    try:
        _parser().parse(f'${text}$')
    except (ValueError, RecursionError):
        return False
    return bool(text)


@cache
def _parser() -> Any:
    from matplotlib.mathtext import MathTextParser

    return MathTextParser('path')


def _grams(formula: Tokens, order: int) -> Counter:
    return Counter(zip(*(formula[start:] for start in range(order)), strict=False))


def _share(verdicts: Iterable[bool]) -> float:
    found = list(verdicts)
    return sum(found) / max(len(found), 1)
