"""Acceptance 7: F1, AUC and word error rate keep their size at the fewest rows that may be held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from skewed import Sample, auc_noisy, auc_rare, f1_of, held_rate, wer_heavy, wer_rare

from jettison.statistics import Paired, judge, skewed_floor

RUNS = 400
ALPHA = 0.05
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)
FLOOR = skewed_floor(0.01, ALPHA)


@pytest.mark.parametrize(
    ("sample", "n", "margin"),
    [
        (f1_of(0.3, 0.80, 0.08, 0.02), int(200 / 0.3), 0.03),
        (f1_of(0.3, 0.98, 0.005, 0.0), int(FLOOR / 0.3), 0.01),
        (f1_of(0.1, 0.98, 0.002, 0.0), int(200 / 0.1), 0.03),
        (auc_noisy(0.5), 2 * FLOOR, 0.01),
        (auc_rare(0.5), 2 * FLOOR, 0.01),
        (auc_rare(0.3), 1500, 0.02),
        (wer_heavy, 300, 0.03),
        (wer_heavy, 643, 0.01),
        (wer_rare, 900, 0.01),
        (wer_rare, 3000, 0.01),
    ],
)
def test_a_drop_at_the_margin_is_held_at_most_at_alpha(
    sample: Sample, n: int, margin: float
) -> None:
    """Spread and concentrated harm keep the size from the fewest rows allowed on."""
    assert held_rate(sample, n, margin, RUNS, n) <= CEILING


def test_plain_delta_would_fail_here() -> None:
    """Without the correction few lost positives pass far beyond alpha, even at 0.8 alpha."""
    rng = np.random.default_rng(71)
    draw = f1_of(0.3, 0.98, 0.005, 0.0)
    z = [draw(rng, 666, 0.01).drops - 0.01 for _ in range(600)]
    # Where no positive is lost in a sample, all rows say the same: held by any t.
    errors = [max(float(one.std(ddof=1)), 1e-9) / np.sqrt(one.size) for one in z]
    p_values = stats.t.cdf([one.mean() / error for one, error in zip(z, errors, strict=True)], 665)
    assert np.mean(p_values <= 0.8 * ALPHA) > 0.08


def test_without_the_floor_lost_positives_stay_unseen() -> None:
    """At 200 positives and 1 % the area passes too often: the reason for a floor of 321."""
    assert held_rate(auc_rare(0.5), 400, 0.01, 600, 72) > CEILING


def test_below_the_floor_nothing_is_held() -> None:
    """From 1 to 320 positives (each eighth number) all is undecided, with no difference at all."""
    for positives in range(FLOOR - 1, 0, -8):
        same = np.full(FLOOR + positives, 0.9)
        strata = (np.arange(same.size) < positives).astype(np.int64)
        paired = Paired(same, same, "influence", low=-np.inf, high=np.inf, strata=strata)
        assert judge(paired, 0.01).verdict == "undecided"


@pytest.mark.parametrize(
    ("sample", "n", "least"),
    [
        (f1_of(0.3, 0.80, 0.08, 0.001), 5000, 0.80),
        (auc_noisy(0.3), 4000, 0.80),
        (wer_heavy, 3000, 0.90),
    ],
)
def test_a_harmless_candidate_passes(sample: Sample, n: int, least: float) -> None:
    """With plenty of rows a candidate that loses a fifth of a margin of 1 % passes mostly."""
    rng = np.random.default_rng(n)
    held = [judge(sample(rng, n, 0.002), 0.01).verdict == "held" for _ in range(40)]
    assert np.mean(held) >= least
