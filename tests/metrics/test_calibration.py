"""Whether confidences are probabilities, checked by hand."""

import pytest

from recog.metrics.calibration import auroc, calibration_error, calibration_figures


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
