"""The results of an evaluation: figures of its sets and what is computed from them, as JSON holds them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recog.evaluation import protocols
from recog.evaluation.averages import Tally, averages
from recog.evaluation.protocols import Word
from recog.metrics.formulas import accuracy_by_depth, accuracy_by_length
from recog.metrics.words import NFKD, canonical, judge, wilson_interval

# The figures of formulas that words do not have, and the heads of their columns.
OF_FORMULAS = {'within_1': '≤ 1', 'within_2': '≤ 2', 'within_3': '≤ 3', 'symlg': 'symLG',
               'symlg_within_1': 'symLG ≤ 1', 'symlg_within_2': 'symLG ≤ 2', 'normalised': 'normalised',
               'structure': 'structure', 'token_accuracy': 'tokens', 'bleu': 'BLEU-4',
               'accuracy_unseen': 'unseen', 'seen': 'seen'}
# How the confidence agrees with the verdicts, and the heads of its columns.
CALIBRATION = {'ece': 'ECE', 'auroc': 'AUROC'}


class Prediction(NamedTuple):
    """A line of predictions.tsv."""

    id: str
    set: str
    truth: str
    text: str
    confidence: float  # the probability of the text
    right: bool
    distance: int
    score: float = math.nan  # its logarithm; like the confidence not a number where an older version read it,
    mean_token: float = math.nan  # which knew the mean probability of its tokens alone


class Result(NamedTuple):
    """The result of one set."""

    name: str
    figures: dict[str, float]  # count, right, accuracy, 1-NED, ece, auroc, unreadable; of formulas more
    predictions: list[Prediction]
    unreadable: list[tuple[str, str]]  # id, reason
    shrunk: list[tuple[str, str]]  # images larger than the largest canvas, and by how much they were shrunk
    lexicons: Mapping[str, dict[str, float]] = {}  # figures of IIIT5K-50 and its like, by that name


def document(results: Sequence[Result], missing: list[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation as JSON holds it; `about` is its provenance, with the id of its protocol."""
    protocol = about['protocol']
    sets = {result.name: _of_a_set(result, protocol) for result in results}
    return {**about, 'sets': sets, 'missing': missing, **over_sets(results, about)}


def over_sets(results: Iterable[Result], about: Mapping[str, Any]) -> dict[str, Any]:
    """What is computed from the results of several sets: remarks, averages, and how often the choice of
    protocol changes a verdict, of those protocols whose characters the model has."""
    results, protocol = list(results), about['protocol']
    found: dict[str, Any] = {'notes': list(_notes(results, protocol)), 'averages': []}
    if protocol == 'latex':
        return found
    able = tuple(about['characters'].split()) if 'characters' in about else protocols.COMPARED
    plain = {result.name: _tally(result) for result in results}
    as_ascii = {result.name: _tally(result, protocol.removesuffix(NFKD) + NFKD) for result in results}
    words = (Word(each.set, each.id, each.truth, each.text)
             for result in results for each in result.predictions)
    return {**found, 'averages': [each._asdict() for each in averages(plain, as_ascii)],
            'differences': protocols.as_json(protocols.differences(words, protocol, able))}


def interval(figures: Mapping[str, float]) -> tuple[float, float]:
    """The 95 % interval of an accuracy."""
    return wilson_interval(int(figures['right']), int(figures['count']))


def with_lexicons(sets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and figures of each set, as JSON holds them, followed by those with its lexicons."""
    return [row for name, values in sets.items()
            for row in ((name, values), *values.get('lexicons', {}).items())]


def _of_a_set(result: Result, protocol: str) -> dict[str, Any]:
    """The result of a set as JSON holds it."""
    lexicons = {name: {**figures, 'interval': interval(figures)} for name, figures in result.lexicons.items()}
    truths, texts = [each.truth for each in result.predictions], [each.text for each in result.predictions]
    sizes = {'by_length': accuracy_by_length(truths, texts), 'by_depth': accuracy_by_depth(truths, texts)} \
        if protocol == 'latex' else {}
    return {**result.figures, 'interval': interval(result.figures), 'unreadable_images': result.unreadable,
            'shrunk_images': result.shrunk, 'lexicons': lexicons, **sizes}


def _tally(result: Result, protocol: str = '') -> Tally:
    """What was counted in a set, or would have been under another protocol."""
    right = int(result.figures['right'])
    if protocol and result.predictions:
        right = sum(each.truth == each.text or judge(each.truth, each.text, protocol).right
                    for each in result.predictions)
    return Tally(right, int(result.figures['count']), int(result.figures['unreadable']))


def _notes(results: Iterable[Result], protocol: str) -> Iterable[str]:
    for result in results:
        empty = sum(not canonical(each.truth, protocol) for each in result.predictions)
        if empty:
            yield (f'{empty} of the labels of {result.name} hold nothing that is compared; '
                   'reading nothing is right there.')
