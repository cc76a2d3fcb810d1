"""Acceptance 3: validity is not bought by shipping nothing."""

from __future__ import annotations

import pytest
from simulation import certify, exact_power, grouped_ladder, ladder, simulate

RUNS = 1000


@pytest.mark.parametrize(("sealed", "least"), [(1000, 0.60), (2000, 0.85), (5000, 0.97)])
def test_a_fine_model_ships_from_the_ladder(sealed: int, least: float) -> None:
    """With a separate search, a fine candidate ships at least this often."""
    assert simulate(ladder(sealed), certify, RUNS, sealed).fine >= least


@pytest.mark.parametrize(("sealed", "least"), [(5000, 0.60), (10_000, 0.93)])
def test_a_fine_model_ships_with_ten_groups(sealed: int, least: float) -> None:
    """Ten groups, each with its own margin, still let a fine candidate through."""
    assert simulate(grouped_ladder(sealed), certify, 600, sealed).fine >= least


@pytest.mark.parametrize(
    ("n", "disagreement", "drop", "reference"),
    [
        (500, 0.03, 0.0, 0.32),
        (500, 0.05, 0.0, 0.24),
        (1000, 0.02, 0.002, 0.52),
        (2000, 0.03, 0.0, 0.81),
    ],
)
def test_power_of_a_single_test(n: int, disagreement: float, drop: float, reference: float) -> None:
    """The exact power at a margin of 1 % is within .02 of the figures calibrated independently."""
    assert exact_power(n, 0.01, drop, disagreement) == pytest.approx(reference, abs=0.02)
