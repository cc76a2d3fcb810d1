"""Calibration by group: debiased, in bins of equal mass, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.statistics.calibration_error import calibration_errors, reliability


def drawn(r, n, shift=0.0):
    scores = r.uniform(0.1, 0.9, n)
    return scores, (r.random(n) < scores - shift).astype(float)


def test_a_perfect_model_of_a_small_group_is_not_called_bad():
    """Debiased, the squared error of a calibrated model is about 0; the plug-in is far above."""
    r = np.random.default_rng(0)
    codes = np.repeat(np.arange(400), 100)
    scores, happened = drawn(r, len(codes))
    errors = calibration_errors(reliability(codes, 400, scores, happened), 400)
    assert np.mean(errors.low == 0.0) >= 0.95
    assert np.median(errors.value) < 0.06
    assert np.median(errors.plug_in) > 0.08


def test_the_interval_covers_a_known_error():
    """A model that is 10 points too sure has an error of 0.1, covered in at least 92 % of groups."""
    r = np.random.default_rng(1)
    codes = np.repeat(np.arange(200), 1500)
    scores, happened = drawn(r, len(codes), 0.1)
    errors = calibration_errors(reliability(codes, 200, scores, happened), 200)
    assert np.mean(errors.value**2) == pytest.approx(0.01, abs=0.0006)
    assert np.mean((errors.low <= 0.1) & (errors.high >= 0.1)) >= 0.92


def test_bins_have_about_equal_mass_and_keep_equal_scores():
    """300 rows make 15 bins of 20; a score held by half of the rows is one bin."""
    scores = np.linspace(0, 1, 300)
    bins = reliability(np.zeros(300, np.int64), 1, scores, np.zeros(300))
    assert bins.n.tolist() == [20.0] * 15
    tied = np.concatenate([np.full(150, 0.5), np.linspace(0.6, 1, 150)])
    assert reliability(np.zeros(300, np.int64), 1, tied, np.zeros(300)).n[0] == 150


def test_the_order_of_rows_does_not_matter():
    """Shuffled rows give the same bins, ties or not."""
    r = np.random.default_rng(4)
    codes, scores = r.integers(0, 3, 500), np.round(r.random(500), 1)
    happened, order = (r.random(500) < scores).astype(float), r.permutation(500)
    one = reliability(codes, 3, scores, happened)
    other = reliability(codes[order], 3, scores[order], happened[order])
    np.testing.assert_allclose(one.share, other.share)
    np.testing.assert_array_equal(one.n, other.n)


def test_small_and_empty_groups():
    """One row makes one bin with the widest interval; a group without rows has no error."""
    bins = reliability(np.array([0]), 2, np.array([0.9]), np.array([1.0]))
    errors = calibration_errors(bins, 2)
    assert (errors.low[0], errors.bins[0]) == (0.0, 1.0)
    assert errors.high[0] > 0.6
    assert np.isnan(errors.value[1])


def test_scores_must_be_probabilities():
    """A logit is refused."""
    with pytest.raises(ValueError, match="probabilities"):
        reliability(np.array([0]), 1, np.array([2.0]), np.array([1.0]))
