"""Measures on confidences: whether they are probabilities, and whether they tell right from wrong."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 10
SCORES = (-1e6, -1e-9)  # nothing is certain, or one wrong answer would decide alone
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
Scores = Sequence[float] | np.ndarray
Rights = Sequence[bool] | np.ndarray


def calibration_error(confidences: Sequence[float], rights: Sequence[bool], bins: int = BINS) -> float:
    """The expected calibration error: |accuracy - mean confidence| of bins of equal width, weighted by count.

    Naeini et al. 2015; 0 if there are none.
    """
    sure, right = np.asarray(confidences, np.float64), np.asarray(rights, np.float64)
    gaps = np.bincount(bin_of(sure, bins), right - sure, bins)
    return float(np.abs(gaps).sum() / max(len(sure), 1))


def bin_of(confidences: Sequence[float] | np.ndarray, bins: int = BINS) -> np.ndarray:
    """The number of the bin in which each confidence is."""
    return np.clip((np.asarray(confidences) * bins).astype(np.int64), 0, bins - 1)


def auroc(confidences: Sequence[float], rights: Sequence[bool]) -> float | None:
    """How often a right answer is surer than a wrong one, ties as half; None unless there are both."""
    right = np.asarray(rights, bool)
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return None
    _, place, times = np.unique(np.asarray(confidences, np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # those that are alike share a rank
    return float((ranks[right].sum() - good * (good + 1) / 2) / (good * bad))


def calibration_figures(confidences: Sequence[float], rights: Sequence[bool]) -> dict[str, float]:
    """ece and auroc, as far as there are examples for them."""
    if not len(confidences):
        return {}
    area = auroc(confidences, rights)
    return {'ece': calibration_error(confidences, rights), **({} if area is None else {'auroc': area})}


def tempered(score: float, temperature: float = 1.0) -> float:
    """The probability that a log-probability stands for, of which rounding may have made more than 0."""
    return math.exp(min(score, 0.0) / temperature)


def likelihood_loss(scores: Scores, rights: Rights, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of the verdicts, if a text is right with its tempered probability."""
    score, right = np.clip(np.asarray(scores, np.float64), *SCORES) / temperature, np.asarray(rights, bool)
    wrong = np.log(np.maximum(-np.expm1(score), np.finfo(np.float64).tiny))
    return float(-np.where(right, score, wrong).mean())


def fitted_temperature(scores: Scores, rights: Rights, bounds: tuple[float, float]) -> float:
    """The temperature of the smallest `likelihood_loss`, of which there is one: it is convex in the inverse.

    Where no answer is wrong, or none is right, it is a bound.
    """
    low, high = 1 / bounds[1], 1 / bounds[0]
    while high / low > 1 + 1e-6:
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if likelihood_loss(scores, rights, 1 / first) <= likelihood_loss(scores, rights, 1 / second):
            high = second
        else:
            low = first
    return 2 / (low + high)


class Kept(NamedTuple):
    """Of all answers, how many have at least this confidence, and how many of these are right."""

    threshold: float
    kept: int
    right: int


def kept(confidences: Sequence[float], rights: Sequence[bool]) -> list[Kept]:
    """What is kept, and right, at each of THRESHOLDS."""
    sure, right = np.asarray(confidences, np.float64), np.asarray(rights, bool)
    return [Kept(least, int((sure >= least).sum()), int(right[sure >= least].sum())) for least in THRESHOLDS]
