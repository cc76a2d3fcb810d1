"""Simulated certificates through the code that certifies: how often a bad model ships."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from jettison.domain.certificate import Requirement
from jettison.trust.judging import conclude
from jettison.trust.outcomes import GroupColumn, Member, MetricFacts, Outcomes, Rules

RUNS = 150
ALPHA = 0.05
BOUND = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)
FACTS = MetricFacts("binary", "higher", 0.0, 1.0, against_reference=False)


def ships(
    rng: np.random.Generator,
    drops: tuple[float, ...],
    sizes: tuple[int, ...],
    on_undecided: Literal["fail", "ship_listed"] = "fail",
) -> bool:
    """Whether any of three candidates with these true drops per group ships."""
    names = tuple(f"g={i}" for i in range(len(sizes)))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    drop = np.asarray(drops)[codes]
    order = ("a", "b", "c")
    candidates = {}
    for name in order:
        loses = rng.random(codes.size) < 0.01 + drop
        candidates[name] = {"accuracy": np.where(loses, 0.0, 1.0)}
    # The baseline errs on its own 1 % of rows, where candidates are right: d is about 2 % + drop.
    baseline = np.where(rng.random(codes.size) < 0.01, 0.0, 1.0)
    for values in candidates.values():
        values["accuracy"][baseline == 0.0] = 1.0
    rules = Rules(
        (Requirement("accuracy", 0.02, 0.05),),
        {"accuracy": FACTS},
        {"accuracy": names},
        {"accuracy": ()},
        on_undecided,
        Member("", "", "", "", one_by_one=False),
        tuple(Member(name, "", "", "", one_by_one=False) for name in order),
    )
    outcomes = Outcomes(
        rules,
        codes.size,
        {"accuracy": baseline},
        candidates,
        groups=(GroupColumn(names, codes),),
    )
    return conclude(outcomes, {}).shipped is not None


def rate(
    drops: tuple[float, ...],
    sizes: tuple[int, ...],
    on_undecided: Literal["fail", "ship_listed"] = "fail",
) -> float:
    rng = np.random.default_rng(11)
    return float(np.mean([ships(rng, drops, sizes, on_undecided) for _ in range(RUNS)]))


def at(drop: float) -> float:
    """The extra loss that makes the true drop exactly this, given the 1 % that both ways share."""
    # drop = P(candidate wrong, baseline right) - P(baseline wrong) = 0.99 (0.01 + x) - 0.01
    return (drop + 0.01) / 0.99 - 0.01


@pytest.mark.parametrize("on_undecided", ["fail", "ship_listed"])
def test_a_model_at_the_margin_rarely_ships(on_undecided: Literal["fail", "ship_listed"]) -> None:
    """Every candidate exactly at the margin: one of three ships at most with chance alpha."""
    assert rate((at(0.02),) * 2, (700, 300), on_undecided) <= BOUND


def test_a_group_at_its_margin_rarely_ships() -> None:
    """Fine overall, but one small group exactly at its margin: the group stops it."""
    assert rate((at(0.0), at(0.05)), (900, 200)) <= BOUND


def test_a_fine_model_usually_ships() -> None:
    """The simulation can pass: without harm most runs ship."""
    assert rate((at(0.0), at(0.0)), (1500, 500)) >= 0.8
