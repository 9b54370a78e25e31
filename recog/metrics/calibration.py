"""Measures on confidences: whether they are probabilities, and whether they tell right from wrong."""

from collections.abc import Sequence

import numpy as np

BINS = 10


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
