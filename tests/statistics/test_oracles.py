"""Acceptance 4: the statistic and the p-value against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import beta

from jettison.statistics import paired_binary_p_value, tango_z


def constrained_score(b: int, c: int, n: int, margin: float) -> float:
    """Finds the restricted maximum-likelihood estimate by root search, then the score."""
    neither = n - b - c

    def slope(p01: float) -> float:
        return b / (p01 + margin) + c / p01 - 2 * neither / (1 - 2 * p01 - margin)

    most = (1 - margin) / 2
    tiny = 1e-15
    if slope(tiny) <= 0:
        p01 = 0.0
    elif slope(most - tiny) >= 0:
        p01 = most
    else:
        p01 = brentq(slope, tiny, most - tiny, xtol=1e-16, rtol=1e-15, maxiter=500)
    return (b - c - n * margin) / math.sqrt(n * (2 * p01 + margin * (1 - margin)))


def test_the_closed_form_is_the_constrained_maximum_likelihood_score() -> None:
    """For 1000 random tables, the closed form and a root search agree to 1e-8."""
    rng = np.random.default_rng(41)
    for _ in range(1000):
        n = int(rng.integers(5, 20_000))
        margin = float(rng.uniform(0.002, 0.2))
        p10, p01 = rng.uniform(0, 0.3, 2)
        b, c, _ = rng.multinomial(n, [p10, p01, 1 - p10 - p01])
        assert tango_z(int(b), int(c), n, margin) == pytest.approx(
            constrained_score(int(b), int(c), n, margin), abs=1e-8
        )


def enumerated_p_values(
    n: int, margin: float, nuisance_error: float = 1e-5
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Brackets every table's Berger-Boos p-value by listing all tables on a dense grid of p01.

    The bracket comes from rounding the interval for p01 inwards and outwards to the grid.
    """
    tables = np.array([(b, c) for b in range(n + 1) for c in range(n + 1 - b)])
    b, c = tables.T
    score = np.array([constrained_score(int(x), int(y), n, margin) for x, y in tables])
    grid = np.linspace(0, (1 - margin) / 2, 3001)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [
            np.where(count > 0, count * np.log(np.maximum(p, 0))[:, None], 0.0)
            for count, p in ((b, grid + margin), (c, grid), (n - b - c, 1 - 2 * grid - margin))
        ]
    mass = np.exp(
        sum(terms) + gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    )
    as_extreme = score[None, :] <= score[:, None] + 1e-7
    tail = mass @ as_extreme.T.astype(float)
    half = nuisance_error / 2
    low = np.where(c > 0, beta.ppf(half, np.maximum(c, 1), n - c + 1), 0.0)
    high = np.where(c < n, beta.isf(half, c + 1, np.maximum(n - c, 1)), 1.0)
    low, high = np.minimum(low, grid[-1]), np.maximum(high, grid[0])
    step = grid[1]
    bracket = []
    for slack in (0.0, step):
        inside = (grid[:, None] >= low - slack) & (grid[:, None] <= high + slack)
        worst = np.where(inside, tail, 0.0).max(axis=0) + nuisance_error
        bracket.append(np.minimum(worst, 1.0))
    return tables, bracket[0], bracket[1]


@pytest.mark.parametrize(
    ("n", "margin"),
    [(1, 0.3), (2, 0.1), (3, 0.02), (5, 0.1), (8, 0.3), (13, 0.05), (24, 0.02), (40, 0.1)],
)
def test_p_values_match_enumeration_of_all_tables(n: int, margin: float) -> None:
    """The p-value of each table is the one found by listing all tables."""
    tables, least, most = enumerated_p_values(n, margin)
    found = np.array([paired_binary_p_value(int(b), int(c), n, margin) for b, c in tables])
    assert (found >= least - 5e-6).all()
    assert (found <= most + 1e-6).all()
    assert (most - least).max() < 3e-3


tables = st.integers(2, 1500).flatmap(
    lambda n: st.tuples(
        st.integers(0, min(n, 120)).flatmap(
            lambda b: st.tuples(st.just(b), st.integers(0, min(n - b, 120)))
        ),
        st.just(n),
        st.sampled_from([0.005, 0.01, 0.02, 0.05, 0.2, -0.01]),
    )
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(tables)
def test_a_lost_row_never_helps_and_a_won_row_never_hurts(
    table: tuple[tuple[int, int], int, float],
) -> None:
    """The p-value does not fall as b grows, and does not rise as c grows."""
    (b, c), n, margin = table
    here = paired_binary_p_value(b, c, n, margin)
    if b + c < n:
        assert paired_binary_p_value(b + 1, c, n, margin) >= here - 1e-12
        assert paired_binary_p_value(b, c + 1, n, margin) <= here + 1e-12


@pytest.mark.parametrize("margin", [0.02, 0.1, -0.05])
@pytest.mark.parametrize("n", [7, 20, 33])
def test_p_values_are_monotone_over_all_tables(n: int, margin: float) -> None:
    """Over every table of n rows, p rises with b and falls with c."""
    p = np.full((n + 2, n + 2), np.nan)
    for b in range(n + 1):
        for c in range(n + 1 - b):
            p[b, c] = paired_binary_p_value(b, c, n, margin)
    assert np.nanmin(np.diff(p, axis=0)) >= -1e-12
    assert np.nanmax(np.diff(p, axis=1)) <= 1e-12
