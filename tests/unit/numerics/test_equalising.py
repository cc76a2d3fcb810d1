"""Scales between layers, and between activations and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.numerics.equalising import channel_ranges, equalising_scales, smoothing_scales
from jettison.numerics.smoothing import best_alpha


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=9))
def test_both_ranges_become_equal(pairs: list[tuple[float, float]]) -> None:
    """After scaling, a channel has the geometric mean of both ranges in both layers."""
    first, second = np.array(pairs).T
    scales = equalising_scales(first, second)
    np.testing.assert_allclose(first / scales, second * scales, rtol=1e-9)


def test_dead_channels_are_left_alone() -> None:
    """A channel of zeros in one of the layers has the scale 1."""
    np.testing.assert_array_equal(
        equalising_scales(np.array([0.0, 4.0, 9.0]), np.array([1.0, 0.0, 1.0])), [1.0, 1.0, 3.0]
    )
    assert smoothing_scales(np.array([0.0, 2.0]), np.array([1.0, 1.0]), 0.5)[0] == 1.0
    assert channel_ranges(np.array([[1.0, -3.0], [2.0, 0.0]]), 1).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_alpha_says_who_gets_even(alpha: float) -> None:
    """With 1 activations become even, with 0 weights, with a half both alike."""
    x, w = np.array([1.0, 10.0, 100.0]), np.array([2.0, 1.0, 0.5])
    scales = smoothing_scales(x, w, alpha)
    spread = {"x": np.ptp(np.log(x / scales)), "w": np.ptp(np.log(w * scales))}
    assert spread["x"] == pytest.approx(0.0, abs=1e-9) if alpha == 1.0 else spread["x"] > 0.1
    if alpha == 0.5:
        np.testing.assert_allclose(
            x / scales / (w * scales), np.full(3, 1) * (x / w / scales**2)[0]
        )


def test_the_best_alpha_is_found_where_one_channel_sticks_out() -> None:
    """With an outlier channel some alpha helps; with even ones none does."""
    rng = np.random.default_rng(0)
    even, weights = rng.normal(size=(256, 16)), rng.normal(size=(16, 8))
    uneven = even * np.where(np.arange(16) == 3, 50.0, 1.0)
    assert best_alpha(np.abs(uneven).max(axis=0), uneven, [weights]) is not None
    flat = np.clip(even, -1, 1)
    assert best_alpha(np.abs(flat).max(axis=0), flat, [np.sign(weights)]) is None
