"""The shortlist and the rule that stops at the first candidate that isn't held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jettison.statistics import Combined, Part, Prospect, Verdict, run_fixed_sequence, shortlist
from jettison.statistics.fixed_sequence import most_probable_then_cheaper


def prospect(name: str, cost: float, drop: float, groups: int = 0) -> Prospect:
    """Builds a candidate with one drop everywhere."""
    whole = Part("overall", drop, 0.03, 1000, 5000, 0.01)
    parts = tuple(Part(f"g{i}", drop, 0.03, 200, 1000, 0.03) for i in range(groups))
    return Prospect(name, cost, (whole, *parts))


LADDER = [prospect(f"c{i}", 0.2 + 0.06 * i, 0.03 - 0.0025 * i) for i in range(12)]


def test_the_shortlist_gets_cheaper_and_riskier() -> None:
    """Each next candidate is cheaper, is less likely to pass, and there are at most six."""
    ranked = shortlist(LADDER)
    costs = [one.prospect.cost_ratio for one in ranked]
    assert 2 <= len(ranked) <= 6
    assert costs == sorted(costs, reverse=True)
    assert ranked[0].probability == max(one.probability for one in ranked)


def test_the_shortlist_ignores_the_order_given() -> None:
    """Prospects in another order give the same list."""
    assert shortlist(LADDER[::-1]) == shortlist(LADDER)


@pytest.mark.parametrize("cost", [1.0, 1.2])
def test_what_is_not_cheaper_than_the_baseline_is_left_out(cost: float) -> None:
    """A candidate at or above the baseline's cost never enters, however good it is."""
    assert shortlist([prospect("dear", cost, 0.0)]) == ()
    names = [r.prospect.name for r in shortlist([*LADDER, prospect("dear", cost, 0.0)])]
    assert "dear" not in names


def test_a_group_below_the_floor_makes_passing_impossible() -> None:
    """A candidate whose group has too few sealed rows has no chance to pass."""
    one = prospect("c", 0.5, 0.0, groups=1)
    small = replace(one.parts[1], sealed_rows=98)
    ranked = shortlist([replace(one, parts=(one.parts[0], small))])
    assert ranked[0].probability == 0.0


def test_more_groups_lower_the_chance() -> None:
    """The chance is a product over parts, so ten groups are harder than none."""
    alone = shortlist([prospect("c", 0.5, 0.002)])[0].probability
    grouped = shortlist([prospect("c", 0.5, 0.002, groups=10)])[0].probability
    assert 0 < grouped < alone


def test_bounded_means_are_ranked_too() -> None:
    """A mean with a smaller drop has a better chance, and 299 units have none."""
    part = Part("overall", 0.001, 0.01, 1000, 3000, 0.01, "bounded_mean")
    ranked = shortlist(
        [
            Prospect("cheap", 0.4, (replace(part, drop=0.02),)),
            Prospect("dear", 0.8, (part,)),
        ]
    )
    assert ranked[0].prospect.name == "dear"
    few = shortlist([Prospect("few", 0.4, (replace(part, sealed_rows=299),))])
    assert few[0].probability == 0.0


def test_prospects_must_be_comparable() -> None:
    """Repeated names, and parts that differ, raise `ValueError`."""
    with pytest.raises(ValueError, match="different names"):
        shortlist([LADDER[0], LADDER[0]])
    with pytest.raises(ValueError, match="same parts"):
        shortlist([LADDER[0], prospect("g", 0.3, 0.0, groups=1)])


def test_the_most_probable_comes_first_even_if_another_is_cheaper() -> None:
    """The rule starts at the best chance, then takes the cheapest at each step."""
    costs = np.array([0.1, 0.3, 0.5, 0.7])
    chances = np.array([0.2, 0.9, 0.86, 0.99])
    assert most_probable_then_cheaper(costs, chances) == (3, 1, 0)


@pytest.mark.parametrize(
    ("verdicts", "shipped", "tested"),
    [
        (["held", "held", "held"], "c", 3),
        (["held", "undecided", "held"], "a", 2),
        (["held", "broken", "held"], "a", 2),
        (["undecided", "held", "held"], None, 1),
        ([], None, 0),
    ],
)
def test_the_sequence_stops_at_the_first_not_held(
    verdicts: list[Verdict], shipped: str | None, tested: int
) -> None:
    """The last of the passed prefix ships; nothing after a failure is even tested."""
    by_name = dict(zip("abc", verdicts, strict=False))
    asked: list[str] = []

    def test(name: str) -> Combined:
        asked.append(name)
        return Combined(by_name[name])

    outcome = run_fixed_sequence(list(by_name), test)
    assert outcome.shipped == shipped
    assert len(asked) == len(outcome.tested) == tested


def test_a_name_is_tested_once() -> None:
    """An order that names a candidate twice raises `ValueError`."""
    with pytest.raises(ValueError, match="twice"):
        run_fixed_sequence(["a", "a"], lambda name: Combined("held"))
