"""Rows needed, before anything is opened: by labels, by churn, and what can't be."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.assessment import data_wishes
from jettison.assessment.data_plan import ANY_GROUP, Expected, Held, plan_data
from jettison.assessment.data_wishes import Wishes, plans
from jettison.assessment.held_rows import held_rows
from jettison.assessment.search_rows import SearchRows
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import DataSection
from jettison.domain.data_plan import DataPlan
from jettison.domain.measurement import OVERALL
from jettison.domain.record import from_json, to_json
from jettison.errors import UsageError

ASKED = Requirement("accuracy", 0.01, 0.03)


def planned(held: Held, churn: float = 0.03, drop: float = 0.0, **more: Expected) -> DataPlan:
    """The plan of `ASKED` under one expectation."""
    expected = {OVERALL: Expected(churn, churn, drop), **more}
    return plan_data(ASKED, held, expected, "assumed", "agreement")


def test_the_rows_are_those_of_the_tables() -> None:
    """At d = 3 % and no drop: about 1,950 rows at a margin of 1 %, 270 at 3 % (section 2.3)."""
    whole, group = planned(Held()).parts
    assert whole.labelled.needed in range(1900, 2000)
    assert group.group == ANY_GROUP
    assert group.labelled.needed in range(255, 285)
    assert (whole.labelled.floor, group.labelled.floor) == (299, 99)
    assert whole.labelled.labels == pytest.approx(0.03 * 1934, rel=0.05)
    assert whole.by_churn.needed is None
    assert "not below the margin" in whole.by_churn.obstacle
    assert whole.state == "no data"


def test_churn_needs_no_labels() -> None:
    """At .5 % churn and a margin of 1 %, about 2,000 rows pass with power .8, without labels."""
    whole = planned(Held(3000, {}), churn=0.005).parts[0]
    assert whole.by_churn.needed in range(1700, 2300)
    assert whole.by_churn.labels == 0
    assert whole.state == "enough"


def test_each_group_is_told_what_it_lacks() -> None:
    """A small group is named with the rows to collect, never pooled away."""
    plan = planned(Held(10_000, {"site=a": 9_950, "site=b": 50, "site=c": 0}))
    states = {part.group: part.state for part in plan.parts}
    assert states == {
        OVERALL: "enough",
        "site=a": "enough",
        "site=b": "too few",
        "site=c": "too few",
    }
    small = next(part for part in plan.parts if part.group == "site=b")
    assert "oversample" in small.advice[0]
    assert "floor of 99" in small.advice[1]
    assert "wider margin" in small.advice[-1]
    assert any("No rows at all: site=c" in note for note in plan.notes)
    assert from_json(DataPlan, to_json(plan)) == plan


def test_a_drop_at_the_margin_is_impossible() -> None:
    """No number of rows shows that a drop of the margin is below the margin."""
    whole = planned(Held(10**6, {}), churn=0.02, drop=0.01).parts[0]
    assert whole.state == "impossible"
    assert whole.labelled.needed is None
    assert "wider margin" in whole.advice[0]


def test_a_group_borrows_from_the_whole() -> None:
    """No disagreement in 20 selection rows does not promise none."""
    own = Expected(0.0, 0.0, 0.0, rows=20)
    expected = {OVERALL: Expected(0.03, 0.03, 0.0, rows=2000), "site=b": own}
    plan = plan_data(ASKED, Held(9000, {"site=b": 400}), expected, "run", "agreement")
    assert plan.parts[1].disagreement == pytest.approx(0.01)


def test_units_need_three_hundred() -> None:
    """Rows that belong together are counted by unit, and 300 units are the floor."""
    whole = planned(Held(200, {}, "units"), churn=0.001).parts[0]
    assert whole.labelled.floor >= 300
    assert whole.state == "too few"


@settings(max_examples=12)
@given(st.floats(0.005, 0.2), st.floats(0.001, 0.2))
def test_a_wider_margin_never_needs_more(margin: float, churn: float) -> None:
    """Rows needed fall as the margin grows."""
    narrow = plan_data(
        Requirement("accuracy", margin, margin), Held(), {OVERALL: Expected(churn, churn)}, "", "a"
    )
    wide = plan_data(
        Requirement("accuracy", 2 * margin, margin),
        Held(),
        {OVERALL: Expected(churn, churn)},
        "",
        "a",
    )
    first, second = narrow.parts[0].labelled.needed, wide.parts[0].labelled.needed
    assert first is not None
    assert second is not None
    assert second <= first


def test_held_rows_of_one_source_are_four_fifths(tmp_path: Path) -> None:
    """One source seals 80 %; a certification file is sealed whole; units are counted once."""
    path = tmp_path / "rows.csv"
    pd.DataFrame({"x": range(100), "g": ["a", "b"] * 50, "u": [i // 4 for i in range(100)]}).to_csv(
        path, index=False
    )
    held = held_rows(DataSection(source=str(path), groups=("g",)))
    assert (held.whole, held.groups) == (80, {"g=a": 40, "g=b": 40})
    held = held_rows(DataSection(certification=str(path), groups=("g",), unit="u"))
    assert (held.whole, held.counted) == (25, "units")


def test_rows_without_consent_are_not_held(tmp_path: Path) -> None:
    """A run seals none of them."""
    path = tmp_path / "rows.csv"
    pd.DataFrame({"g": ["a", "b"] * 50, "may": [True, True, True, False] * 25}).to_csv(
        path, index=False
    )
    held = held_rows(DataSection(certification=str(path), groups=("g",), consent="may"))
    assert (held.whole, held.groups) == (75, {"g=a": 50, "g=b": 25})


def test_held_rows_of_an_intersection_are_counted(tmp_path: Path) -> None:
    """`g & h` is made of two columns, as in a run."""
    path = tmp_path / "rows.csv"
    pd.DataFrame({"x": range(100), "g": ["a", "b"] * 50, "h": [1, 1, 2, 2] * 25}).to_csv(
        path, index=False
    )
    held = held_rows(DataSection(certification=str(path), groups=("g & h",)))
    assert held.groups == {f"g & h={one}": 25 for one in ("a & 1", "a & 2", "b & 1", "b & 2")}


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (Wishes(max_drop=0.0), "--max-drop must lie between 0 and 1"),
        (Wishes(max_drop=1.5), "got 1.5"),
        (Wishes(confidence=1.0), "--confidence"),
        (Wishes(disagreement=0.05, churn=0.01), "can't be below --disagreement"),
        (Wishes(disagreement=0.05, churn=0.0), "can't be below --disagreement"),
        (Wishes(disagreement=0.01, drop=0.02), "--drop .* can't be above --disagreement"),
        (Wishes(churn=0.01, drop=0.02), "--drop .* can't be above --churn"),
        (Wishes(groups=("sex",)), "counted in a file"),
        (Wishes(data="a.csv", certification="b.csv"), "exclude each other"),
        (Wishes(metric="nll"), "not 0 or 1 per row"),
    ],
)
def test_what_cannot_be_is_refused(wishes: Wishes, told: str) -> None:
    """Each mistake is one clear sentence."""
    with pytest.raises(UsageError, match=told):
        plans(None, wishes)


def test_the_plan_names_the_drop_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it goes with the usual disagreement; beside a run, with what its rows say."""
    (plan,) = plans(None, Wishes(drop=0.002))
    assert plan.parts[0].drop == 0.002
    assert "the true drop is 0.20%" in plan.basis
    seen = {OVERALL: Expected(0.01, 0.015, 0.0, rows=10**9)}
    monkeypatch.setattr(data_wishes, "expected_of", lambda rows, metric: seen)
    monkeypatch.setattr(data_wishes, "basis_of", lambda rows: "As seen.")
    rows = cast(SearchRows, object())
    plan = data_wishes._plan(ASKED, Held(), rows, Wishes(drop=0.002))
    assert plan.parts[0].drop == pytest.approx(0.002)
    assert plan.parts[0].disagreement == pytest.approx(0.01)
    assert plan.basis == "As seen. The true drop is 0.20%, as you said."


def test_a_source_that_is_neither_run_nor_configuration_is_refused(tmp_path: Path) -> None:
    """A folder without a run and a file of another kind are told apart."""
    with pytest.raises(UsageError, match="no finished run"):
        plans(tmp_path, Wishes())
    with pytest.raises(UsageError, match="neither"):
        plans(tmp_path / "x.csv", Wishes())


def test_word_errors_are_planned_by_their_own_floor(tmp_path: Path) -> None:
    """A configuration of `wer` is never planned as something else: 300 utterances, and more."""
    np.savez(tmp_path / "sealed.npz", x=np.zeros((60, 2)), speaker=np.repeat(["a", "b"], 30))
    (tmp_path / "jettison.toml").write_text(
        'model = { source = "m.onnx" }\n'
        'data = { certification = "sealed.npz", fitting = "f.npz", selection = "s.npz", '
        'groups = ["speaker"] }\n[[require]]\nmetric = "wer"\nmax_drop = 0.01\n'
    )
    (plan,) = plans(tmp_path / "jettison.toml", Wishes())
    whole, first, _ = plan.parts
    assert (plan.metric, plan.churn_metric) == ("wer", "")
    assert (whole.labelled.floor, whole.held, first.labelled.floor) == (643, 60, 300)
    assert whole.labelled.needed is not None
    assert whole.labelled.needed > 643
    assert {part.state for part in plan.parts} == {"too few"}
    assert "below the floor of 300" in " ".join(first.advice)


def test_a_drop_that_is_expected_is_planned_for() -> None:
    """Up to the margin more rows are needed; at it no number will do, for means as for 0 and 1."""
    needed = []
    for drop in (0.0, 0.005, 0.008, 0.01):
        (plan,) = plans(None, Wishes(metric="wer", max_drop=0.01, drop=drop))
        needed.append(plan.parts[0].labelled.needed)
    assert needed[-1] is None
    assert needed[0] < needed[1] < needed[2]
    assert plan.parts[0].state == "impossible"
    assert "leaves no room" in plan.parts[0].labelled.obstacle


def test_f1_needs_enough_of_both_classes() -> None:
    """Where classes are equally frequent, the floor is twice that of one class."""
    (plan,) = plans(None, Wishes(metric="f1", max_drop=0.02))
    assert plan.parts[0].labelled.floor == 400
    assert any("equally frequent" in note for note in plan.notes)


def test_a_configuration_that_asks_for_nothing_plannable_is_refused(tmp_path: Path) -> None:
    """Log-loss alone is not planned as accuracy."""
    (tmp_path / "jettison.toml").write_text(
        'model = { source = "m.onnx" }\n[[require]]\nmetric = "nll"\nmax_drop = 0.01\n'
    )
    with pytest.raises(UsageError, match="`nll` is not 0 or 1 per row"):
        plans(tmp_path / "jettison.toml", Wishes())
