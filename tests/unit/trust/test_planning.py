"""The plan before the seal opens: floors, rows needed, grades, and what can't pass."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from jettison import registry
from jettison.domain.certificate import Requirement
from jettison.domain.rows import Rows
from jettison.domain.splits import CertificationSet, Labels, SelectionSet
from jettison.statistics import rows_needed
from jettison.trust.planning import PartPlan, Seen, plan_parts, prospect_of, selection_drops

REQUIREMENT = Requirement("accuracy", 0.01, 0.05)


def sealed(groups: dict[str, int] | None = None, n: int = 3000) -> CertificationSet:
    """A sealed set of which only the sizes are real: planning opens nothing."""
    groups = groups or {}
    return CertificationSet("/nowhere", n, n, groups, "d" * 64, labelled=True, group_units=groups)


def by_group(parts: tuple[PartPlan, ...]) -> dict[str, PartPlan]:
    return {part.group: part for part in parts}


def test_each_group_has_its_floor_and_rows_needed() -> None:
    """The floor is ln(alpha)/ln(1-margin); a group below it can't pass, others can."""
    parts = by_group(plan_parts(sealed({"g=a": 58, "g=b": 59}), REQUIREMENT, {}, "fail"))
    assert (parts["overall"].floor, parts["overall"].held) == (299, 3000)
    assert parts["overall"].obstacle == ""
    assert (parts["g=a"].floor, parts["g=a"].gates) == (59, True)
    assert parts["g=a"].obstacle == "58 sealed rows are below the floor of 59"
    assert parts["g=b"].obstacle == ""
    assert parts["overall"].unit == "fraction"


def test_rows_needed_come_from_the_selection_rows() -> None:
    """The disagreement seen on selection rows sets how many rows pass with a chance of 80 %."""
    seen = {"overall": Seen(0.0, 0.03, 100_000)}
    parts = by_group(plan_parts(sealed({"g=a": 400}), REQUIREMENT, seen, "fail"))
    needed = parts["overall"].needed
    assert needed is not None
    assert needed == pytest.approx(rows_needed(0.01, 0.03, 0.0), rel=0.01)
    # A group that selection has no row of is planned like the whole.
    assert parts["g=a"].needed == pytest.approx(rows_needed(0.05, 0.03, 0.0), abs=15)


def test_no_loss_in_a_few_rows_promises_nothing() -> None:
    """A group with no disagreement in 5 selection rows needs more than the bare floor."""
    seen = {"overall": Seen(0.0, 0.06, 5000), "g=a": Seen(0.0, 0.0, 5)}
    parts = by_group(plan_parts(sealed({"g=a": 400}), REQUIREMENT, seen, "fail"))
    assert parts["g=a"].needed is not None
    assert parts["g=a"].needed > 59


def test_groups_can_be_named() -> None:
    """Only named groups gate; the others are listed without gating. A named one may be absent."""
    requirement = dataclasses.replace(REQUIREMENT, gated_groups=("g=a", "g=typo"))
    parts = by_group(plan_parts(sealed({"g=a": 900, "g=b": 3}), requirement, {}, "fail"))
    assert [parts[g].gates for g in ("overall", "g=a", "g=b", "g=typo")] == [
        True,
        True,
        False,
        True,
    ]
    assert "0 sealed rows are below" in parts["g=typo"].obstacle


def test_ship_listed_lists_what_cannot_pass() -> None:
    """Under `ship_listed` a group below its floor is listed before opening; the whole never is."""
    parts = by_group(plan_parts(sealed({"g=a": 3, "g=b": 900}), REQUIREMENT, {}, "ship_listed"))
    assert (parts["g=a"].gates, parts["g=a"].listed) == (False, True)
    assert (parts["g=b"].gates, parts["g=b"].listed) == (True, False)
    small = by_group(plan_parts(sealed(n=100), REQUIREMENT, {}, "ship_listed"))
    assert (small["overall"].gates, small["overall"].listed) == (True, False)
    assert small["overall"].obstacle


def test_labels_are_needed_for_accuracy_only() -> None:
    """Without labels accuracy can't be certified; agreement can."""
    unlabelled = dataclasses.replace(sealed(), labelled=False)
    accuracy = plan_parts(unlabelled, REQUIREMENT, {}, "fail")[0]
    agreement = plan_parts(unlabelled, Requirement("agreement", 0.01, 0.05), {}, "fail")[0]
    assert "needs labels" in accuracy.obstacle
    assert (agreement.obstacle, agreement.grade) == ("", "A")


def test_units_and_weights_lower_the_grade() -> None:
    """Several rows a unit, or weights, leave the exact test: grade B and at least 300 units."""
    units = dataclasses.replace(sealed({"g=a": 900}), units=299, group_units={"g=a": 280})
    parts = by_group(plan_parts(units, REQUIREMENT, {}, "fail"))
    assert (parts["overall"].grade, parts["overall"].counted) == ("B", "units")
    assert parts["overall"].held == 299
    assert "299 sealed units are below" in parts["overall"].obstacle
    weighted = dataclasses.replace(sealed(), weighted=True)
    assert plan_parts(weighted, REQUIREMENT, {}, "fail")[0].grade == "B"
    strict = dataclasses.replace(REQUIREMENT, require_grade="A")
    assert "grade A is required" in plan_parts(weighted, strict, {}, "fail")[0].obstacle


def test_a_bounded_mean_needs_room_for_the_worst_row() -> None:
    """A wide metric needs more rows than a narrow one, because one worst case is appended."""
    cosine = plan_parts(sealed(), Requirement("cosine", 0.01, 0.05), {}, "fail")[0]
    assert cosine.grade == "B"
    assert cosine.floor > 300
    assert cosine.obstacle == ""


@pytest.mark.parametrize("margin", [0.0, -0.01, 1.0])
def test_a_margin_must_leave_something_to_show(margin: float) -> None:
    """A margin of nothing, or of everything, is an obstacle and not a crash."""
    part = plan_parts(sealed(), Requirement("accuracy", margin, 0.05), {}, "fail")[0]
    assert "leaves nothing to show" in part.obstacle


def test_selection_drops_are_paired_and_signed() -> None:
    """Drops are baseline minus candidate where higher is better, per group."""
    labels = Labels(np.zeros(4), {"g": np.array(["a", "a", "b", "b"])})
    selection = SelectionSet(Rows("/nowhere", ("x",), 4), labels)
    seen = selection_drops(
        registry.get("metrics", "accuracy"),
        np.array([1.0, 1.0, 1.0, 0.0]),
        np.array([0.0, 1.0, 1.0, 1.0]),
        selection,
    )
    assert seen["overall"] == Seen(0.0, 0.5, 4)
    assert seen["g=a"] == Seen(0.5, 0.5, 2)
    assert seen["g=b"] == Seen(-0.5, 0.5, 2)
    worse = selection_drops(
        registry.get("metrics", "nll"), np.array([1.0] * 4), np.array([2.0] * 4), selection
    )
    assert worse["overall"].drop == 1.0
    missing = selection_drops(
        registry.get("metrics", "accuracy"), np.ones(4), np.array([1, 1, 1, np.nan]), selection
    )
    assert missing["overall"].drop == 0.25


def test_a_prospect_has_one_part_for_all_that_gates() -> None:
    """The shortlist weighs the whole and every gating group, not the listed ones."""
    requirement = dataclasses.replace(REQUIREMENT, gated_groups=("g=a",))
    parts = plan_parts(sealed({"g=a": 900, "g=b": 900}), requirement, {}, "fail")
    prospect = prospect_of("one", 2.0, parts, {"accuracy": {"overall": Seen(0.001, 0.02, 500)}})
    assert prospect.cost_ratio == 0.5
    assert [part.name for part in prospect.parts] == ["accuracy: overall", "accuracy: g=a"]
    assert prospect.parts[1].selection_rows == 1
    assert math.isclose(prospect.parts[0].margin, 0.01)


def test_an_error_rate_that_shows_nothing_is_an_obstacle() -> None:
    """Below every p-value of the exact test, or one half: the seal stays closed."""
    late = plan_parts(sealed(), REQUIREMENT, {}, "fail", share=1e-4)[0]
    assert "no p-value below 1.02e-05" in late.obstacle
    assert late.needed is None
    agreement = Requirement("agreement", 0.01, 0.05)
    assert plan_parts(sealed(), agreement, {}, "fail", share=1e-4)[0].obstacle == ""
    half = dataclasses.replace(REQUIREMENT, confidence=0.5)
    assert "set `confidence` above 0.5" in plan_parts(sealed(), half, {}, "fail")[0].obstacle
