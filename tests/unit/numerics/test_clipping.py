"""Calibrators that weigh clipping against rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.numerics.calibration import Calibrator, Histogram, MinMax, Percentile
from jettison.numerics.calibrators import NAMED, calibrator
from jettison.numerics.clipping import Entropy, MeanSquare

FAMILIES = ["normal", "relu", "heavy", "outlier"]


def values(family: str) -> Array:
    rng = np.random.default_rng(3)
    normal = rng.normal(size=40_000)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "heavy": rng.standard_t(3, size=40_000),
        "outlier": np.append(normal, [60.0]),
    }[family].astype(np.float32)


def histogram(*batches: Array) -> Histogram:
    seen = Histogram()
    for batch in batches:
        seen.update(batch)
    return seen


def squared_error(x: Array, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    zero = np.rint(-low / step)
    return float(np.mean(((np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step - x) ** 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_mean_square_is_best_by_its_own_measure(family: str) -> None:
    """Measured by rounding all values, no other calibrator's range is better by more than 3 %."""
    x = values(family)
    seen = histogram(*np.array_split(x, 7))
    mine = squared_error(x, *MeanSquare().range(seen))
    others = [MinMax(), Percentile(99.9), Percentile(99.99), Percentile(99.999), Entropy()]
    assert mine <= 1.03 * min(squared_error(x, *other.range(seen)) for other in others)


def test_mean_square_clips_an_outlier_a_little_and_entropy_much() -> None:
    """One value of 60 among 40,000 small ones: its square is weighed, or only that it is rare."""
    seen = histogram(values("outlier"))
    assert 20.0 < MeanSquare().range(seen)[1] < 60.0
    assert Entropy().range(seen)[1] < 15.0


def test_uniform_values_are_not_clipped() -> None:
    """Where nothing is rare, both cover everything."""
    x = np.random.default_rng(0).uniform(0, 1, 20_000).astype(np.float32)
    for chosen in (MeanSquare(), Entropy()):
        low, high = chosen.range(histogram(x))
        assert low < 0.01
        assert high > 0.99


@pytest.mark.parametrize("chosen", [MeanSquare(), Entropy()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("value", [0.0, 3.5, -2e-20])
def test_a_constant_has_its_own_range(chosen: Calibrator, value: float) -> None:
    """A tensor that never changes has a range of that value alone."""
    assert chosen.range(histogram(np.full(10, value))) == (value, value)


@given(
    arrays.arrays(
        np.float32,
        st.integers(1, 60),
        elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=True),
    )
)
def test_ranges_lie_within_what_was_seen(x: Array) -> None:
    """For any values, the ends are finite, ordered, and inside the extremes."""
    for name in NAMED:
        low, high = calibrator(name).range(histogram(x))
        assert float(x.min()) <= low <= high <= float(x.max())


@pytest.mark.parametrize("name", ["kl", "percentile", "percentile_40", "percentile_x", ""])
def test_unknown_names_are_refused(name: str) -> None:
    """A calibrator that there is not is refused, with those that there are."""
    with pytest.raises(CandidateFailed, match="`minmax`, `mse`, `entropy`"):
        calibrator(name)
