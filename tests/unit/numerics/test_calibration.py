"""Histograms of activations: bounded memory, exact extremes, quantiles within a bin."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.numerics.calibration import BINS, Histogram, MinMax, Percentile, remembered, watch


def histogram(*batches: Array) -> Histogram:
    seen = Histogram()
    for batch in batches:
        seen.update(batch)
    return seen


def stored_bytes(seen: Histogram) -> int:
    return len(pickle.dumps(seen))


def test_state_does_not_grow() -> None:
    """A thousand times as many values, over a range that widens, take the same memory."""
    rng = np.random.default_rng(0)
    few = histogram(rng.normal(size=100))
    many = histogram(*(rng.normal(size=1000) * 1.5**i for i in range(100)))
    assert many.total == 100_000
    assert many.counts.shape == few.counts.shape == (BINS,)
    assert abs(stored_bytes(many) - stored_bytes(few)) < 64


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1.0, 3e7, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_values_of_32_bits_are_counted_as_exactly_as_those_of_64(
    size: float, offset: float
) -> None:
    """Scaling by a power of two loses nothing, also in pieces, and at the ends of float32."""
    values = np.random.default_rng(0).standard_t(2, size=100_000) + offset
    few = (values * size).astype(np.float32)
    one, other = histogram(few), histogram(few.astype(np.float64))
    assert (one.exponent, one.first) == (other.exponent, other.first)
    assert one.counts.tolist() == other.counts.tolist()
    assert one.total == len(values)


@pytest.mark.parametrize("percentage", [99.0, 99.9, 99.99])
@pytest.mark.parametrize("family", ["normal", "relu", "heavy", "offset"])
def test_percentile_is_within_a_bin(percentage: float, family: str) -> None:
    """Streamed percentiles differ from NumPy's over all values by at most one bin."""
    rng = np.random.default_rng(3)
    values = {
        "normal": rng.normal(size=60_000),
        "relu": np.maximum(rng.normal(size=60_000), 0),
        "heavy": rng.standard_t(3, size=60_000),
        "offset": 1000 + rng.normal(size=60_000),
    }[family].astype(np.float32)
    seen = histogram(*np.split(np.sort(values), 60))
    cut = (100 - percentage) / 2
    exact = np.percentile(values, [cut, 100 - cut], method="inverted_cdf")
    assert np.abs(np.array(Percentile(percentage).range(seen)) - exact).max() <= seen.width
    spread = float(values.max() - values.min())
    assert spread / BINS <= seen.width <= 2.01 * spread / (BINS - 2)


@given(
    arrays.arrays(
        np.float32,
        st.integers(1, 50),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True),
    ),
    st.integers(1, 7),
)
def test_any_values(values: Array, pieces: int) -> None:
    """Every value is counted, in the bin that it lies in, however the batches are cut."""
    seen = histogram(*np.array_split(values, pieces))
    assert seen.total == len(values)
    assert MinMax().range(seen) == (float(values.min()), float(values.max()))
    for fraction in (0.0, 0.3, 1.0):
        exact = np.quantile(values.astype(np.float64), fraction, method="inverted_cdf")
        assert abs(seen.quantile(fraction) - exact) <= seen.width


def test_order_of_batches_does_not_matter() -> None:
    """The same batches in another order give the same counts."""
    rng = np.random.default_rng(4)
    batches = [rng.normal(size=50) * scale for scale in (0.01, 1.0, 100.0)]
    one, two = histogram(*batches), histogram(*reversed(batches))
    assert (one.exponent, one.first) == (two.exponent, two.first)
    np.testing.assert_array_equal(one.counts, two.counts)


@pytest.mark.parametrize("value", [0.0, 3.5, -2e-20])
def test_constant(value: float) -> None:
    """A tensor that never changes has a range of that value alone."""
    seen = histogram(np.full(10, value), np.full(5, value))
    assert MinMax().range(seen) == Percentile(99.0).range(seen) == (value, value)


def test_outlier_is_cut() -> None:
    """One value in ten thousand moves the minmax range, not the percentile range."""
    seen = histogram(np.random.default_rng(0).uniform(-1, 1, 10_000), np.array([50.0]))
    assert MinMax().range(seen)[1] == 50.0
    assert Percentile(99.9).range(seen)[1] < 1.1


def test_infinite_activation_is_refused() -> None:
    """Ranges of infinity are refused; the tensor and the rows are named."""

    def run(batch: dict[str, Array]) -> list[tuple[str, Array]]:
        return [("h", np.log(np.abs(batch["x"]).astype(np.float64)))]

    batches = [{"x": np.ones((2, 1))}, {"x": np.ones((2, 1))}]
    watch(["h"], batches, run)
    batches[1]["x"][1] = 0.0
    with (
        np.errstate(divide="ignore"),
        pytest.raises(CandidateFailed, match=r"`h` is NaN or infinite .* 2 to 3"),
    ):
        watch(["h"], batches, run)


def test_no_rows_are_refused() -> None:
    """Without a calibration row there are no ranges."""
    with pytest.raises(CandidateFailed, match="no calibration rows"):
        watch(["h"], [], lambda batch: [])


def test_histograms_are_remembered(tmp_path: Path) -> None:
    """The second request reads the file and gets the same histograms."""
    found = {
        "b": histogram(np.array([-3.0, 4.0, 0.1])),
        "a": histogram(np.zeros(3)),
    }
    calls = []

    def find() -> dict[str, Histogram]:
        calls.append(1)
        return found

    for _ in range(2):
        read = remembered(tmp_path / "ranges", find)
        for name, histogram_ in found.items():
            np.testing.assert_array_equal(read[name].counts, histogram_.counts)
            assert MinMax().range(read[name]) == MinMax().range(histogram_)
            assert read[name].quantile(0.5) == histogram_.quantile(0.5)
    assert len(calls) == 1
