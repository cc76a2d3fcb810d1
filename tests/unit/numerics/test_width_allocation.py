"""Choosing how many channels each group keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.numerics.width_allocation import LayerShape, cost, keep_widths


def test_worthless_channels_go_first() -> None:
    """The group whose units are worth nothing pays for the whole cut."""
    layers = (LayerShape(100.0, ({0: 1.0},)), LayerShape(100.0, ({1: 1.0},)))
    kept = keep_widths([np.full(10, 1e-9), np.arange(1, 11)], layers, 0.6, (1, 1))
    assert kept == (2, 10)


def test_products_of_two_groups_fall_with_both() -> None:
    """A layer between two narrowed groups costs the product of their shares."""
    layers = (LayerShape(90.0, ({0: 1.0}, {1: 1.0})), LayerShape(10.0, ()))
    assert cost(layers, (5, 2), (10, 4)) == pytest.approx(90 / 4 + 10)


def test_groups_side_by_side_are_parts_of_one_axis() -> None:
    """A layer that reads two groups concatenated, and others that stay, costs the sum of its parts."""
    layers = (LayerShape(100.0, ({}, {0: 0.25, 1: 0.5})),)
    assert cost(layers, (5, 4), (10, 4)) == pytest.approx(87.5)
    assert cost(layers, (5, 2), (10, 4)) == pytest.approx(62.5)


def test_widths_are_multiples_of_their_step() -> None:
    """Rounding never leaves a width between two steps, and never empties a group."""
    scores = [np.linspace(0, 1, 64), np.linspace(0, 0.1, 24)]
    layers = (LayerShape(3.0, ({0: 1.0},)), LayerShape(1.0, ({1: 1.0},)))
    kept = keep_widths(scores, layers, 0.5, (8, 8))
    assert all(width % 8 == 0 and width >= 8 for width in kept)
    assert cost(layers, kept, (64, 24)) <= 0.5 * 4.0


def test_what_rounding_left_is_given_back() -> None:
    """A budget that one more step fits into is used up."""
    layers = (LayerShape(1.0, ({0: 1.0},)), LayerShape(1.0, ({1: 1.0},)))
    kept = keep_widths([np.ones(16), np.ones(16)], layers, 0.75, (4, 4))
    assert sum(kept) == 24


def test_floor_holds_where_the_budget_is_too_small() -> None:
    """No group is emptied, even if the cost then stays too high."""
    kept = keep_widths([np.arange(20.0)], (LayerShape(1.0, ({0: 1.0},)),), 0.01, (1,))
    assert kept == (2,)


@given(
    st.lists(st.lists(st.floats(0, 1e3), min_size=2, max_size=12), min_size=1, max_size=4),
    st.floats(0.3, 0.95),
)
def test_the_budget_holds(scores: list[list[float]], share: float) -> None:
    """The kept cost is within the share, unless the floors alone are above it."""
    arrays = [np.array(values) for values in scores]
    full = [len(values) for values in arrays]
    layers = tuple(LayerShape(1.0 + i, ({i: 1.0},)) for i in range(len(arrays)))
    kept = keep_widths(arrays, layers, share, [1] * len(arrays))
    floors = [max(1, round(0.1 * n)) for n in full]
    budget = share * cost(layers, full, full)
    assert cost(layers, kept, full) <= max(budget, cost(layers, floors, full)) + 1e-9
    assert all(1 <= width <= n for width, n in zip(kept, full))
