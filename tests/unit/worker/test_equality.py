"""Equal answers: tolerances, labels, non-finite values."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.worker.equality import (
    TOLERANCE,
    difference,
    joined,
)

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=np.float32)


def test_noise_of_summing_in_another_order_is_no_difference() -> None:
    """Differences far below the tolerance count as equal."""
    found = difference(SCORES, SCORES + np.float32(1e-6), TOLERANCE, labels=True)
    assert found.differing == 0
    assert 0 < found.largest < TOLERANCE


def test_the_scale_is_that_of_the_output() -> None:
    """The same relative change is judged alike for small and for large numbers."""
    for scale in (1e-3, 1.0, 1e5):
        apart = difference(SCORES * scale, SCORES * scale * 1.01, TOLERANCE, labels=False)
        assert apart.differing == 3
        assert apart.largest == pytest.approx(0.01, rel=1e-3)


def test_a_label_that_flips_between_close_scores_is_a_tie() -> None:
    """Two scores that are all but equal may change places; others may not, even within 1e-3."""
    before = np.array([[0.500001, 0.499999], [0.5002, 0.4998]])
    tied = np.array([[0.499999, 0.500001], [0.5002, 0.4998]])
    flipped = np.array([[0.500001, 0.499999], [0.4999, 0.5001]])
    assert difference(before, tied, TOLERANCE, labels=True).differing == 0
    assert difference(before, flipped, TOLERANCE, labels=False).differing == 0
    assert difference(before, flipped, TOLERANCE, labels=True).differing == 1


def test_nan_in_one_alone_is_a_difference() -> None:
    """NaN equals NaN, and nothing else."""
    broken = SCORES.copy()
    broken[1, 0] = np.nan
    assert difference(SCORES, broken, TOLERANCE, labels=True).differing == 1
    assert difference(broken, SCORES, TOLERANCE, labels=True).differing == 1
    assert difference(broken, broken, TOLERANCE, labels=False).differing == 0


def test_other_shapes_and_other_texts_differ() -> None:
    """All rows differ where the shape does; text and integers must be equal."""
    assert difference(SCORES, SCORES[:, :2], TOLERANCE, labels=False).differing == 3
    words = np.array(["cat", "dog"])
    assert difference(words, np.array(["cat", "cow"]), TOLERANCE, labels=False).differing == 1


def test_outputs_of_varying_shape() -> None:
    """Token-wise outputs are filled with zeros where rows are ragged, else left out."""
    pieces = [
        {"tokens": np.zeros((2, 5, 3)), "scores": np.zeros((2, 3))},
        {"tokens": np.zeros((2, 4, 3)), "scores": np.ones((2, 3))},
    ]
    whole = joined(pieces, fill=False)
    assert sorted(whole) == ["scores"]
    assert whole["scores"].shape == (4, 3)
    assert joined(pieces, fill=True)["tokens"].shape == (4, 5, 3)
