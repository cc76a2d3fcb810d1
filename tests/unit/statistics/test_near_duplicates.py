"""Labels of rows that look alike: how often they differ, by group."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.statistics.near_duplicates import alike, disagreement


def test_noise_is_found_where_it_was_put():
    """Labels flipped with chance 0.2 in one group disagree in 2 * 0.2 * 0.8 of its pairs."""
    r = np.random.default_rng(0)
    kind, codes = r.integers(0, 200, 8000), r.integers(0, 2, 8000)
    truth = kind % 2
    labels = np.where((codes == 1) & (r.random(8000) < 0.2), 1 - truth, truth)
    cells = alike([np.array([f"k{k}" for k in kind])])
    value, low, high, rows = disagreement(cells, labels, codes, 2)
    assert value[0] == 0.0
    assert value[1] == pytest.approx(0.32, abs=0.02)
    assert low[1] < 0.32 < high[1]
    assert rows.n.sum() == 8000


def test_the_interval_covers():
    """Over 300 groups with a known chance, about 95 % of the intervals hold it."""
    r = np.random.default_rng(1)
    codes, kind = np.repeat(np.arange(300), 400), r.integers(0, 80, 120_000)
    labels = (r.random(120_000) < 0.3).astype(np.int64)
    _, low, high, _ = disagreement(kind, labels, codes, 300)
    assert 0.9 <= np.mean((low <= 0.42) & (high >= 0.42)) <= 0.98


def test_matches_counting_all_pairs():
    """The figure is that of counting every pair within a set and group."""
    cells, codes = np.array([0, 0, 0, 0, 1, 1, 2]), np.zeros(7, np.int64)
    labels = np.array([0, 1, 1, 2, 0, 0, 1])
    value, _, _, rows = disagreement(cells, labels, codes, 1)
    differing = 0.0
    for i in range(6):
        others = [j for j in range(7) if j != i and cells[j] == cells[i]]
        differing += np.mean([labels[i] != labels[j] for j in others])
    assert value[0] == pytest.approx(differing / 6)
    assert rows.n[0] == 6


def test_numbers_are_cut_into_tenths_and_missing_ones_are_alike():
    """Close numbers are alike, far ones are not, and missing ones are one more value."""
    x = np.append(np.arange(100.0), [np.nan, np.nan])
    cells = alike([x])
    assert cells[0] == cells[1]
    assert cells[0] != cells[99]
    assert cells[100] == cells[101]
    assert 9 <= len(np.unique(cells)) <= 11


def test_nobody_alike_has_no_figure():
    """Without two rows that look alike there is nothing to compare."""
    value, *_ = disagreement(np.arange(5), np.zeros(5, np.int64), np.zeros(5, np.int64), 1)
    assert np.isnan(value[0])
