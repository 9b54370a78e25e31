"""Measures on texts: word accuracy, 1-NED (normalised edit distance) and confidence intervals.

A protocol says which characters of two texts are compared; `latex` compares tokens instead.
Its id is its name, with `+nfkd` after it if texts are turned into ASCII first.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

from recog.errors import ConfigError, nearest
from recog.text.vocabulary import CHARSETS

PROTOCOLS = ('36', '62', '94', 'exact', 'latex')
NFKD = '+nfkd'
_KEPT = {name: frozenset(CHARSETS[name]) for name in PROTOCOLS if name in CHARSETS}
_LATEX = re.compile(r'\\[A-Za-z]+|\\?\S')
_NORMAL_95 = 1.959963984540054


class Verdict(NamedTuple):
    """Whether a prediction is right, and its edit distance from the truth."""

    right: bool
    distance: int


def protocol_id(protocol: str, nfkd: bool) -> str:
    """The id of a protocol: its name, with `+nfkd` if texts are turned into ASCII first."""
    if nfkd and protocol == 'latex':
        raise ConfigError('--nfkd is for characters; the protocol latex compares tokens')
    return protocol + NFKD * nfkd


def in_ascii(text: str) -> str:
    """A text in NFKD without what is not ASCII, as PARSeq treats its labels: Café becomes Cafe."""
    return unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode()


def canonical(text: str, protocol: str) -> Sequence[str]:
    """The part of a text that the protocol compares.

    '36', '62' and '94' keep the characters of these charsets, '36' in lower case. 'exact' keeps everything.
    'latex' gives the tokens: commands, escaped characters and single characters, without spaces.
    """
    if protocol.endswith(NFKD) and protocol != f'latex{NFKD}':
        text, protocol = in_ascii(text), protocol.removesuffix(NFKD)
    if protocol == 'exact':
        return text
    if protocol == 'latex':
        return _LATEX.findall(text)
    if protocol not in _KEPT:
        raise ConfigError(f'protocol {protocol!r} is not one of {", ".join(PROTOCOLS)}'
                          f'{nearest(protocol, PROTOCOLS)}')
    kept = _KEPT[protocol]
    return ''.join(filter(kept.__contains__, text.lower() if protocol == '36' else text))


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that turn one string or token list into the other."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(a, b)


def judge(truth: str, prediction: str, protocol: str) -> Verdict:
    """How one prediction compares with its truth."""
    wanted, written = canonical(truth, protocol), canonical(prediction, protocol)
    return Verdict(wanted == written, edit_distance(wanted, written))


def word_accuracy(truths: Iterable[str], predictions: Iterable[str]) -> float:
    """The share of predictions that equal their truth; 0 if there are none."""
    pairs = list(zip(truths, predictions, strict=True))
    return sum(truth == prediction for truth, prediction in pairs) / max(len(pairs), 1)


def normalised_edit_distance(truths: Iterable[str], predictions: Iterable[str]) -> float:
    """1-NED, the mean of 1 - distance / longer length: 1 is best, two empty texts have 1; 0 of none."""
    pairs = list(zip(truths, predictions, strict=True))
    return sum(map(_similarity, pairs)) / max(len(pairs), 1)


def word_figures(truths: Iterable[str], predictions: Iterable[str], protocol: str) -> dict[str, float]:
    """count, right, accuracy and one_minus_ned of predictions under a protocol."""
    pairs = [(canonical(truth, protocol), canonical(prediction, protocol))
             for truth, prediction in zip(truths, predictions, strict=True)]
    right = sum(truth == prediction for truth, prediction in pairs)
    count = len(pairs)
    return {'count': count, 'right': right, 'accuracy': right / max(count, 1),
            'one_minus_ned': sum(map(_similarity, pairs)) / max(count, 1)}


def reference_word_metric(pairs: Iterable[tuple[str, str]], *, filtered: bool = False) -> dict[str, float]:
    """PaddleOCR's RecMetric on pairs of (prediction, truth).

    Spaces are removed first; if `filtered`, all but digits and letters, and letters are put in lower case.
    """
    compared = [(canonical(prediction, '36'), canonical(truth, '36')) if filtered
                else (prediction.replace(' ', ''), truth.replace(' ', '')) for prediction, truth in pairs]
    count = len(compared) + 1e-5
    right = sum(prediction == truth for prediction, truth in compared)
    return {'acc': right / count,
            'norm_edit_dis': 1 - sum(1 - _similarity(pair) for pair in compared) / count}


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of an accuracy; (0, 1) if nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, square = right / count, _NORMAL_95 ** 2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = _NORMAL_95 / (1 + square / count) * sqrt(share * (1 - share) / count + square / (4 * count ** 2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _similarity(pair: tuple[Sequence[str], Sequence[str]]) -> float:
    longer = max(len(pair[0]), len(pair[1]))
    return 1 - edit_distance(*pair) / longer if longer else 1.0
