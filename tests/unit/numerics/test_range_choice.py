"""The choice of ranges on held-out rows."""

from __future__ import annotations

import math

from jettison.numerics.range_choice import (
    Spans,
    best_for_all,
    better_for_some,
    held_out_rows,
)

SPANS: dict[str, Spans] = {
    "minmax": {"a": (0.0, 10.0), "b": (0.0, 10.0)},
    "mse": {"a": (0.0, 5.0), "b": (0.0, 5.0)},
}


def distance(a: float, b: float):  # type: ignore[no-untyped-def]
    """A loss that is least where the ends are these."""
    return lambda spans: 1.0 + abs(spans["a"][1] - a) + abs(spans["b"][1] - b)


def test_the_least_loss_wins_and_ties_keep_the_first() -> None:
    """The best calibrator is taken, with all losses told; of equals the earlier one."""
    chosen = best_for_all(SPANS, distance(5.0, 5.0))
    assert chosen.calibrator == "mse"
    assert chosen.losses == {"minmax": 11.0, "mse": 1.0}
    assert "mse 1" in str(chosen)
    assert best_for_all(SPANS, lambda spans: 0.5).calibrator == "minmax"


def test_one_tensor_takes_another_where_both_halves_agree() -> None:
    """A tensor whose own best range is the other one gets it."""
    start = best_for_all(SPANS, distance(10.0, 6.0))
    found = better_for_some(start, SPANS, [distance(10.0, 5.0), distance(10.0, 5.0)])
    assert start.calibrator == "minmax"
    assert found.others == {"b": "mse"}
    assert found.spans == {"a": (0.0, 10.0), "b": (0.0, 5.0)}


def test_what_only_the_first_half_likes_is_turned_down() -> None:
    """A gain that the second half does not confirm is left."""
    start = best_for_all(SPANS, distance(10.0, 10.0))
    found = better_for_some(start, SPANS, [distance(10.0, 5.0), distance(10.0, 10.0)])
    assert found.others == {}


def test_a_quarter_is_held_out() -> None:
    """A quarter of the rows, at most 64; none where they are too few."""
    assert [held_out_rows(n) for n in (1, 7, 8, 100, 512)] == [0, 0, 2, 25, 64]


def test_a_loss_that_is_no_number_does_not_win() -> None:
    """NaN is not less than anything, and nothing is less than NaN."""

    def loss(spans: Spans) -> float:
        return math.nan if spans is SPANS["minmax"] else 3.0

    assert best_for_all(SPANS, loss).calibrator == "mse"
