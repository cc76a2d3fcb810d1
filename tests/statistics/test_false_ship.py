"""Acceptance 1: whatever the truth, a bad model ships with a chance of at most alpha."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multinomial
from simulation import (
    Scenario,
    adaptive_search,
    certify,
    everyone_at_margin,
    exact_size,
    flat,
    simulate,
    small_group_at_margin,
)

from jettison.statistics import paired_binary_harm_p_value


@pytest.mark.parametrize(
    ("scenario", "runs", "seed"),
    [
        (flat("independent, all at the margin", 2000), 2000, 11),
        (flat("correlated, all at the margin", 2000, correlated=True), 2000, 12),
        (small_group_at_margin(5000), 1000, 13),
        (everyone_at_margin(5000), 1000, 14),
    ],
    ids=lambda x: x.name if isinstance(x, Scenario) else "",
)
def test_a_bad_model_ships_at_most_at_alpha(scenario: Scenario, runs: int, seed: int) -> None:
    """Fifty bad candidates through shortlist, tests and groups ship one in at most 5 % of runs."""
    rates = simulate(scenario, certify, runs, seed)
    assert scenario.bad.all()
    assert rates.false <= rates.ceiling


def test_a_search_that_adapts_to_selection_rows_cannot_ship_more() -> None:
    """Evolving candidates on the selection rows leaves the sealed rows' error rate alone."""
    rates = adaptive_search(1000, seed=15, leaked=False)
    assert rates.false <= rates.ceiling


@pytest.mark.parametrize(
    ("n", "margin", "alpha"),
    [
        (20, 0.2, 0.05),
        (60, 0.05, 0.05),
        (150, 0.03, 0.05),
        (150, 0.05, 0.001),
        (300, 0.02, 0.05),
        (300, 0.02, 0.01),
        (500, 0.01, 0.05),
        (1500, 0.005, 0.001),
    ],
)
def test_exact_size_of_the_paired_test(n: int, margin: float, alpha: float) -> None:
    """Summed over all tables, the chance of `held` at the margin is at most alpha."""
    most = (1 - margin) / 2 if n <= 150 else 0.04
    grid = most * np.linspace(0, 1, 400) ** 2
    assert exact_size(n, margin, alpha, grid).max() <= alpha


@pytest.mark.parametrize(("n", "margin"), [(25, 0.1), (40, 0.03)])
def test_exact_size_of_the_test_for_harm(n: int, margin: float) -> None:
    """Summed over all tables, a drop at the margin or below is called broken at most at alpha."""
    broken = [
        (b, c, n - b - c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if paired_binary_harm_p_value(b, c, n, margin) <= 0.05
    ]
    for drop in (margin, margin / 2, 0.0, -margin):
        p01 = np.linspace(max(0.0, -drop), (1 - drop) / 2, 150)
        states = np.stack([p01 + drop, p01, np.maximum(1 - 2 * p01 - drop, 0)], axis=1)
        sizes = [multinomial.pmf(broken, n, state / state.sum()).sum() for state in states]
        assert max(sizes) <= 0.05
