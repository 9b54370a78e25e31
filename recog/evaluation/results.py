"""The results of an evaluation: figures of its sets, and what is computed from them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from recog.evaluation.averages import Average, Tally, averages
from recog.evaluation.protocols import Differences, Word, differences
from recog.metrics.words import NFKD, judge, wilson_interval

# The figures of formulas that words do not have, and the heads of their columns.
OF_FORMULAS = {'within_1': '≤ 1', 'within_2': '≤ 2', 'within_3': '≤ 3', 'normalised': 'normalised',
               'structure': 'structure', 'token_accuracy': 'tokens', 'bleu': 'BLEU-4',
               'accuracy_unseen': 'unseen', 'seen': 'seen'}


class Prediction(NamedTuple):
    """A line of predictions.tsv."""

    id: str
    set: str
    truth: str
    text: str
    confidence: float
    right: bool
    distance: int


class Result(NamedTuple):
    """The result of one set."""

    name: str
    figures: dict[str, float]  # count, right, accuracy, one_minus_ned, unreadable, and those of formulas
    predictions: list[Prediction]
    unreadable: list[tuple[str, str]]  # id, reason
    shrunk: list[tuple[str, str]]  # images larger than the largest canvas, and by how much they were shrunk
    lexicons: Mapping[str, dict[str, float]] = {}  # figures of IIIT5K-50 and its like, by that name


class Findings(NamedTuple):
    """Everything that is reported about an evaluation; `about` is its provenance,
    with the id of its protocol."""

    results: list[Result]
    missing: list[str]
    about: dict[str, Any]
    averages: list[Average]
    differences: Differences | None  # of words


def findings(results: list[Result], missing: list[str], about: dict[str, Any]) -> Findings:
    """What is computed from the results: averages, and how often the choice of protocol changes a verdict."""
    protocol = about['protocol']
    if protocol == 'latex':
        return Findings(results, missing, about, [], None)
    plain = {result.name: _tally(result) for result in results}
    as_ascii = {result.name: _tally(result, protocol.removesuffix(NFKD) + NFKD) for result in results}
    words = (Word(each.set, each.id, each.truth, each.text)
             for result in results for each in result.predictions)
    return Findings(results, missing, about, averages(plain, as_ascii), differences(words, protocol))


def interval(figures: Mapping[str, float]) -> tuple[float, float]:
    """The 95 % interval of an accuracy."""
    return wilson_interval(int(figures['right']), int(figures['count']))


def _tally(result: Result, protocol: str = '') -> Tally:
    """What was counted in a set, or would have been under another protocol."""
    right = int(result.figures['right'])
    if protocol and result.predictions:
        right = sum(each.truth == each.text or judge(each.truth, each.text, protocol).right
                    for each in result.predictions)
    return Tally(right, int(result.figures['count']), int(result.figures['unreadable']))
