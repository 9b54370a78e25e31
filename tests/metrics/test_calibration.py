"""Whether confidences are probabilities, checked by hand."""

import math

import numpy as np
import pytest

from recog.metrics.calibration import (
    auroc,
    calibration_error,
    calibration_figures,
    fitted_temperature,
    kept,
    likelihood_loss,
)


def test_the_calibration_error_is_the_weighted_gap():
    sure, right = [1.0, 0.95, 0.25, 0.25], [True, False, True, True]
    assert calibration_error(sure, right) == pytest.approx(0.5 * abs(0.5 - 0.975) + 0.5 * 0.75)
    assert calibration_error([0.0, 1.0], [False, True]) == 0


def test_auroc_is_how_often_the_right_one_is_surer():
    assert auroc([0.9, 0.8, 0.3], [True, True, False]) == 1
    assert auroc([0.1, 0.8], [True, False]) == 0
    assert auroc([0.5, 0.5, 0.7], [True, False, False]) == 0.25


def test_what_cannot_be_computed_is_left_out():
    assert calibration_figures([0.5, 0.5], [True, True]) == {'ece': 0.5}
    assert calibration_figures([], []) == {}


def test_the_temperature_of_confidences_that_are_too_sure_is_found():
    random = np.random.default_rng(0)
    scores = -random.exponential(1.0, 4000)
    rights = random.random(4000) < np.exp(scores / 3)
    found = fitted_temperature(scores, rights, (0.01, 100.0))
    assert found == pytest.approx(3, rel=0.1)
    near = [likelihood_loss(scores, rights, found * by) for by in (0.98, 1.0, 1.02)]
    assert min(near) == near[1]
    assert fitted_temperature([-1.0, -math.inf], [True, True], (0.01, 100.0)) == pytest.approx(100)
    assert fitted_temperature([0.0, -1.0], [False, False], (0.01, 100.0)) == pytest.approx(0.01)


def test_what_is_kept_at_a_threshold_is_counted():
    rows = {row.threshold: row[1:] for row in kept([0.95, 0.9, 0.6, 0.1], [True, False, True, False])}
    assert rows[0.0] == (4, 2) and rows[0.5] == (3, 2) and rows[0.9] == (2, 1) and rows[0.99] == (0, 0)
