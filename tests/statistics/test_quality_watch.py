"""Error rates of what watches a served model: the short form of benchmarks/quality_watch.py."""

from __future__ import annotations

import numpy as np
from watching import drift_alarms, ever_broken, first_alarms

RUNS = 200
ALPHA = 0.05
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)


def test_an_alarm_at_the_margin_is_rare_however_often_one_looks() -> None:
    """A drop of exactly the margin, 4,000 outcomes, a look after each: at most alpha."""
    assert ever_broken(RUNS, 4000, drop=0.01, margin=0.01, seed=1) <= CEILING


def test_an_alarm_at_a_drop_that_moves_below_the_margin_is_rare() -> None:
    """The promise needs no constant drop: it may move as it likes up to the margin."""
    assert ever_broken(RUNS, 4000, drop=0.01, margin=0.01, seed=2, swing=True) <= CEILING


def test_a_test_that_is_read_after_each_outcome_would_fail_here() -> None:
    """A fixed-sample test with the same looks is wrong far more often: the reason for betting."""
    rate = ever_broken(RUNS, 4000, drop=0.01, margin=0.01, seed=3, naive=True)
    assert rate > 3 * ALPHA


def test_drops_beyond_the_margin_are_found() -> None:
    """Two margins within 12,000 outcomes and three within 4,000, in nine runs of ten."""
    for drop, within in ((0.02, 12_000), (0.03, 4000)):
        found = first_alarms(40, within, drop=drop, margin=0.01, seed=4)
        assert np.mean(found < within) >= 0.9


def test_no_drift_is_called_where_there_is_none() -> None:
    """Sixty features, 50 to 512 reference rows: an alarm in any of them in at most 2 % of windows."""
    for reference in (50, 200, 512):
        assert drift_alarms(60, reference, live=2000, features=60, seed=5) <= 0.02


def test_a_shift_of_half_a_deviation_is_called_drift() -> None:
    """With 512 reference rows and a full window nearly every window shows it."""
    assert drift_alarms(30, 512, live=2000, features=1, seed=6, shift=0.5) >= 0.95
