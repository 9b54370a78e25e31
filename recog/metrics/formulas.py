"""Measures on formulas by their LaTeX tokens: ExpRate (all tokens right), BLEU-4, structure, leaks.

Tokens are commands, escaped characters and single characters. Spaces do not count: `x ^ 2` equals `x^2`.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any

from recog.metrics.layout_trees import layout_figures
from recog.metrics.words import canonical, edit_distance
from recog.text.latex import to_latex
from recog.text.normal_form import Malformed, normal_tokens

Tokens = Sequence[str]
ORDERS = (1, 2, 3, 4)  # n-grams of BLEU-4
# The tokens that make the structure. All others are symbols, which `structure` makes equal.
STRUCTURE = frozenset((r'\frac', r'\sqrt', r'\limits', '^', '_', '{', '}'))
SYMBOL = 'x'
# The upper ends of the ranges in `accuracy_by_length` and `accuracy_by_depth`. The last range has none.
LENGTHS, DEPTHS = (5, 10, 20, 40), (0, 1, 2, 3)


def formula_tokens(text: str) -> tuple[str, ...]:
    """A formula's tokens as written, which the protocol `latex` compares."""
    return tuple(canonical(text, 'latex'))


def normalised(text: str) -> tuple[str, ...]:
    """A formula's tokens in the normal form; as written if it is malformed."""
    try:
        return normal_tokens(text)
    except Malformed:
        return formula_tokens(text)


def structure(formula: Tokens) -> tuple[str, ...]:
    """A formula with every symbol replaced by the same one."""
    return tuple(token if token in STRUCTURE else SYMBOL for token in formula)


def expression_rate(truths: Iterable[Any], predictions: Iterable[Any], errors: int = 0) -> float:
    """ExpRate: the share of formulas at most `errors` edits from their truth; 0 if there are none."""
    pairs = zip(truths, predictions, strict=True)
    return _share(edit_distance(truth, prediction) <= errors for truth, prediction in pairs)


def token_accuracy(truths: Iterable[Tokens], predictions: Iterable[Tokens]) -> float:
    """The share of positions with the same token in truth and prediction, over all formulas together.

    A pair has as many positions as the longer of the two.
    """
    pairs = list(zip(truths, predictions, strict=True))
    positions = sum(max(len(truth), len(prediction)) for truth, prediction in pairs)
    right = sum(a == b for truth, prediction in pairs for a, b in zip(truth, prediction, strict=False))
    return right / max(positions, 1)


def bleu(truths: Iterable[Tokens], predictions: Iterable[Tokens]) -> float:
    """BLEU-4 of all formulas: the geometric mean of 1- to 4-gram precisions, times a brevity penalty.

    Papineni et al. 2002. It is sacrebleu's number with tokenize='none' and smooth_method='none', from 0 to 1.
    """
    right, total = [0] * len(ORDERS), [0] * len(ORDERS)
    lengths = [0, 0]
    for truth, prediction in zip(truths, predictions, strict=True):
        lengths = [lengths[0] + len(truth), lengths[1] + len(prediction)]
        for place, order in enumerate(ORDERS):
            found = _grams(prediction, order)
            right[place] += (found & _grams(truth, order)).total()
            total[place] += found.total()
    return bleu_of_counts(right, total, *lengths)


def bleu_of_counts(right: Sequence[int], total: Sequence[int], wanted: int, written: int) -> float:
    """BLEU from counts; 0 if no n-gram of some order is right.

    `right` and `total` count predicted n-grams by order; `wanted` and `written` count tokens of truths and of
    predictions.
    """
    if not all(right):
        return 0.0
    brevity = min(0.0, 1 - wanted / written)
    return math.exp(brevity + sum(math.log(a / b) for a, b in zip(right, total, strict=True)) / len(right))


def formula_figures(truths: Iterable[str], predictions: Iterable[str],
                    known: Collection[str] = ()) -> dict[str, float]:
    """The figures that only formulas have: within_1 to within_3, symlg and its likes, normalised, structure,
    token_accuracy, bleu.

    With `known`, the `normal_forms` of the training formulas, also `seen`, the count of truths among them,
    and `accuracy_unseen`, the accuracy on all others.
    """
    texts = list(zip(truths, predictions, strict=True))
    wanted, written = [formula_tokens(text) for text, _ in texts], [formula_tokens(text) for _, text in texts]
    distances = [edit_distance(*pair) for pair in zip(wanted, written, strict=True)]
    figures = {f'within_{errors}': _share(distance <= errors for distance in distances)
               for errors in (1, 2, 3)}
    figures |= layout_figures(wanted, written)
    figures |= {
        'normalised': _share(not distance or normalised(truth) == normalised(prediction)
                             for distance, (truth, prediction) in zip(distances, texts, strict=True)),
        'structure': _share(structure(truth) == structure(prediction)
                            for truth, prediction in zip(wanted, written, strict=True)),
        'token_accuracy': token_accuracy(wanted, written),
        'bleu': bleu(wanted, written)}
    if known:
        fresh = [key not in known for key in normal_forms(truth for truth, _ in texts)]
        unseen = [not distance for distance, new in zip(distances, fresh, strict=True) if new]
        figures |= {'seen': len(texts) - len(unseen), 'accuracy_unseen': _share(unseen)}
    return figures


def nesting_depth(formula: Tokens) -> int:
    """How deep fractions, roots and scripts are nested, which is how deep braces are; 0 without any."""
    deepest = now = 0
    for token in formula:
        now += (token == '{') - (token == '}')
        deepest = max(deepest, now)
    return deepest


def accuracy_by_length(truths: Iterable[str], predictions: Iterable[str]) -> dict[str, dict[str, float]]:
    """count, right and accuracy (ExpRate) of the formulas, by their number of tokens."""
    return _parted(truths, predictions, LENGTHS, lambda truth: len(formula_tokens(truth)))


def accuracy_by_depth(truths: Iterable[str], predictions: Iterable[str]) -> dict[str, dict[str, float]]:
    """count, right and accuracy (ExpRate) of the formulas, by the `nesting_depth` of their normal form."""
    return _parted(truths, predictions, DEPTHS, lambda truth: nesting_depth(normalised(truth)))


def _parted(truths: Iterable[str], predictions: Iterable[str], ends: Sequence[int],
            size: Callable[[str], int]) -> dict[str, dict[str, float]]:
    """count, right and accuracy for each range of sizes;
    `ends` are the upper ends of all ranges but the last."""
    starts = (min(1, ends[0]), *(end + 1 for end in ends))
    names = [f'{start}' if start == end else f'{start}-{end}'
             for start, end in zip(starts, ends, strict=False)]
    verdicts: dict[str, list[bool]] = {name: [] for name in (*names, f'{starts[-1]}+')}
    parts = list(verdicts.values())
    for truth, prediction in zip(truths, predictions, strict=True):
        parts[bisect_left(ends, size(truth))].append(formula_tokens(truth) == formula_tokens(prediction))
    return {name: {'count': len(found), 'right': sum(found), 'accuracy': _share(found)}
            for name, found in verdicts.items()}


def normal_forms(texts: Iterable[str]) -> list[str]:
    """The normal form of each formula as one string, by which leaks are found."""
    return [' '.join(normalised(text)) for text in texts]


def leaked(tests: Iterable[str], training: Iterable[str]) -> list[int]:
    """The positions of the test formulas whose normal form is also that of a training formula."""
    known = frozenset(normal_forms(training))
    return [place for place, key in enumerate(normal_forms(tests)) if key in known]


def reference_formula_metric(rows: Iterable[tuple[Sequence[Any], Sequence[Any], int]]) -> dict[str, float]:
    """PaddleOCR's CANMetric on rows of (label, prediction, length).

    It is the mean of difflib's ratio and how often that is 1, both on the first `length` tokens.
    """
    from difflib import SequenceMatcher

    ratios = [SequenceMatcher(None, list(label[:length]), list(prediction[:length]), autojunk=False).ratio()
              for label, prediction, length in rows]
    return {'word_rate': sum(ratios) / max(len(ratios), 1),
            'exp_rate': _share(ratio == 1 for ratio in ratios)}


def well_formed(formula: Tokens) -> bool:
    """Whether matplotlib's mathtext, which refuses broken LaTeX, can draw the formula."""
    text = to_latex(formula, limits=False)
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
