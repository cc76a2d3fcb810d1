"""Acceptance 5: a small group is never certified by default, and the plan for it is honest."""

from __future__ import annotations

import numpy as np
import pytest
from simulation import MEMO, SHARES, exact_power

from jettison.statistics import Paired, floor_rows, judge, rows_needed
from jettison.statistics.verdicts import binary_verdict


def test_below_the_floor_nothing_is_held() -> None:
    """At a margin of 1 %, 1 to 298 rows without one disagreement are undecided; 299 are held."""
    assert all(binary_verdict(0, 0, n, 0.01) == "undecided" for n in range(299))
    assert binary_verdict(0, 0, 299, 0.01) == "held"


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.03, 0.05])
def test_below_the_floor_a_better_candidate_is_not_held_either(margin: float) -> None:
    """A candidate that only gains rows is not held on fewer rows than the floor."""
    n = floor_rows(margin) - 1
    assert binary_verdict(0, n // 2, n, margin) == "undecided"


def test_the_simulation_decides_as_the_product_does() -> None:
    """The simulation's remembered answers are those of the product, for random tables."""
    rng = np.random.default_rng(50)
    for _ in range(300):
        n = int(rng.choice([150, 320, 1000]))
        b, c = (int(x) for x in rng.binomial(n, 0.012, 2))
        expected = binary_verdict(b, c, n, 0.02) == "held"
        assert MEMO.held(b, c, n, 0.02) == expected


@pytest.mark.parametrize("rows", [0, 1, 3, 25])
def test_a_tiny_group_is_undecided_and_says_why(rows: int) -> None:
    """A group of a few rows on which both models are right is undecided, with a reason."""
    right = np.ones(rows)
    judgement = judge(Paired(right, right, "binary"), 0.03)
    assert judgement.verdict == "undecided"
    assert judgement.reason


def test_planted_harm_in_a_small_group_is_not_certified() -> None:
    """A 5 % group of 10 000 rows that loses 4 % is held at margins up to 3 % at most at alpha."""
    n = round(10_000 * SHARES[0])
    rng = np.random.default_rng(51)
    b = rng.binomial(n, 0.05, 2000)
    c = rng.binomial(n - b, 0.01 / 0.95)
    for margin in (0.01, 0.02, 0.03):
        held = [MEMO.held(int(x), int(y), n, margin) for x, y in zip(b, c, strict=True)]
        assert np.mean(held) <= 0.05


@pytest.mark.parametrize(
    ("margin", "disagreement", "drop"),
    [
        (0.01, 0.005, 0.002),
        (0.01, 0.03, 0.0),
        (0.02, 0.01, 0.0),
        (0.02, 0.01, 0.002),
        (0.03, 0.02, 0.0),
        (0.05, 0.005, 0.0),
    ],
)
def test_the_rows_needed_suffice(margin: float, disagreement: float, drop: float) -> None:
    """With the rows that were printed, the test really passes at least 77 % of the time."""
    n = rows_needed(margin, disagreement, drop)
    assert exact_power(n, margin, drop, disagreement) >= 0.77
    assert exact_power(int(0.8 * n), margin, drop, disagreement) < 0.8


@pytest.mark.parametrize(
    ("margin", "row"),
    [
        (0.01, {0.005: (516, 805), 0.01: (804, 1226), 0.03: (1964, 3054), 0.08: (5030, 7873)}),
        (0.02, {0.005: (222, 222), 0.02: (402, 491), 0.05: (810, 1009)}),
        (0.03, {0.01: (147, 169), 0.03: (268, 297)}),
        (0.05, {0.005: (59, 59), 0.03: (118, 130), 0.08: (222, 242)}),
    ],
)
def test_rows_needed_match_the_published_table(
    margin: float, row: dict[float, tuple[int, int]]
) -> None:
    """The rows needed for a drop of 0 and of 0.2 % are those of an independent search.

    That search used the asymptotic test; the exact one needs up to 7 % more where few rows differ.
    """
    for disagreement, expected in row.items():
        for drop, reference in zip((0.0, 0.002), expected, strict=True):
            assert 0.97 <= rows_needed(margin, disagreement, drop) / reference <= 1.07
