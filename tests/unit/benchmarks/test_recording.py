"""What a generator may say: percentiles with enough samples, void runs, flagged loops."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load.recording import Load, percentile, samples_needed


def load_of(loop: str, latency: np.ndarray, lateness: np.ndarray) -> Load:
    """A run whose requests were all accepted."""
    scheduled = np.arange(latency.size, dtype=np.float64)
    return Load(
        loop,  # type: ignore[arg-type]
        float(latency.size),
        scheduled,
        scheduled + lateness,
        scheduled + latency,
        np.full(latency.size, 200),
    )


@pytest.mark.parametrize(("share", "needed"), [(0.5, 20), (0.95, 200), (0.99, 1000)])
def test_a_percentile_needs_ten_samples_beyond_it(share: float, needed: int) -> None:
    """One sample fewer, and there is no percentile."""
    assert samples_needed(share) == needed
    assert percentile(np.arange(needed - 1.0), share) is None
    assert percentile(np.arange(float(needed)), share) is not None


def test_the_interval_of_a_percentile_covers() -> None:
    """Of 400 samples of a known distribution, about 95 % of the intervals hold the true p95."""
    rng = np.random.default_rng(0)
    truth = -np.log(0.05)
    covered = 0
    for _ in range(400):
        found = percentile(rng.exponential(size=400), 0.95)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.92 * 400 <= covered <= 400


def test_an_open_loop_that_was_late_itself_is_void() -> None:
    """Lateness above a tenth of the median latency voids the run; a little less does not."""
    latency = np.full(100, 0.010)
    late = load_of("open", latency, np.full(100, 0.0011))
    assert "late by 1.10 ms" in late.void()
    assert late.flags() == (late.void(),)
    assert load_of("open", latency, np.full(100, 0.0009)).flags() == ()


def test_latency_counts_from_the_scheduled_instant() -> None:
    """A request that was sent late waited from the instant it was due."""
    load = load_of("open", np.array([0.5]), np.array([0.4]))
    assert load.latency == pytest.approx([0.5])
    assert load.lateness == pytest.approx([0.4])


def test_a_closed_loop_is_always_flagged() -> None:
    """Its latencies are understated, stall or no stall; a stall that hides is named."""
    calm = load_of("closed", np.full(1000, 0.001), np.zeros(1000))
    assert len(calm.flags()) == 1
    assert "closed loop" in calm.flags()[0]
    latency = np.full(1000, 0.001)
    latency[500:504] = 1.0
    stalled = load_of("closed", latency, np.zeros(1000))
    assert "a stall of 1.00 s delayed only 4 of 1000" in stalled.flags()[1]


def test_only_accepted_requests_have_a_latency() -> None:
    """Refusals are counted, and are no latency."""
    load = load_of("open", np.array([0.1, 0.2, 0.3]), np.zeros(3))
    load.status[1] = 429
    assert load.counts() == {200: 2, 429: 1}
    assert load.latency.size == 2
    assert load.per_second == pytest.approx(2 / 3)


def test_a_run_without_an_accepted_request_is_void() -> None:
    """Nothing can be said when nothing was accepted."""
    load = load_of("open", np.array([0.1]), np.zeros(1))
    load.status[:] = 503
    assert load.void() == "void: no request was accepted"
