"""Verdicts from outcomes: what may ship, what may be said, and that it can be computed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from jettison.domain.certificate import Requirement
from jettison.errors import CheckFailed
from jettison.trust.judging import conclude, judge_candidate
from jettison.trust.outcomes import (
    GroupColumn,
    Member,
    MetricFacts,
    Outcomes,
    Rules,
    load_outcomes,
    save_outcomes,
)

N = 3000
ACCURACY = MetricFacts("binary", "higher", 0.0, 1.0, against_reference=False)
AGREEMENT = MetricFacts("binary", "higher", 0.0, 1.0, against_reference=True)


def answers(wrong: int, start: int = 0, n: int = N) -> np.ndarray:
    """Contributions with some rows wrong, from `start` on."""
    right = np.ones(n)
    right[start : start + wrong] = 0.0
    return right


def member(recipe: str) -> Member:
    return Member(recipe, "a", "e", "onnx_runtime", one_by_one=False)


def outcomes_of(
    candidates: Mapping[str, np.ndarray],
    gating: tuple[str, ...] = (),
    sizes: Mapping[str, int] | None = None,
    on_undecided: Literal["fail", "ship_listed"] = "fail",
    **changes: Any,
) -> Outcomes:
    """Outcomes of 0/1 rows with groups of the sizes given, in order of rows."""
    requirement = changes.pop("requirement", Requirement("accuracy", 0.01, 0.05))
    facts = changes.pop("facts", ACCURACY)
    listed = changes.pop("listed", ())
    sizes = sizes or {}
    names = tuple(sizes)
    codes = np.repeat(np.arange(len(names)), list(sizes.values())).astype(np.int32)
    rules = Rules(
        requirements=(requirement,),
        metrics={"accuracy": facts},
        gating={"accuracy": gating},
        listed={"accuracy": listed},
        on_undecided=on_undecided,
        baseline=member(""),
        members=tuple(member(name) for name in changes.pop("order", tuple(candidates))),
    )
    return Outcomes(
        rules,
        N,
        {"accuracy": changes.pop("baseline", answers(0))},
        {name: {"accuracy": values} for name, values in candidates.items()},
        groups=(GroupColumn(names, codes),) if names else (),
        **changes,
    )


def test_the_last_of_the_passed_prefix_ships() -> None:
    """Testing stops at the first that is not held; what stands behind it is not tested."""
    outcomes = outcomes_of(
        {"safe": answers(0), "bold": answers(8), "wild": answers(300)},
        order=("safe", "bold", "wild", "mad"),
    )
    conclusion = conclude(outcomes, {"safe": "Safe"})
    assert conclusion.shipped == "bold"
    assert [(t.recipe, t.verdict) for t in conclusion.tested] == [
        ("safe", "held"),
        ("bold", "held"),
        ("wild", "broken"),
        ("mad", "not tested"),
    ]
    assert conclusion.tested[0].title == "Safe"
    assert conclusion.reason == ""


def test_nothing_ships_when_the_first_is_not_held() -> None:
    """A failure says which part and why."""
    conclusion = conclude(outcomes_of({"wild": answers(300)}), {})
    assert conclusion.shipped is None
    assert "accuracy of overall" in conclusion.reason
    assert "above the margin of 0.01" in conclusion.reason


def test_every_gating_group_must_be_held() -> None:
    """A candidate that is fine overall but loses one group is broken (intersection-union)."""
    sizes = {"sex=f": 300, "sex=m": 2700}
    outcomes = outcomes_of({"one": answers(30)}, ("sex=f", "sex=m"), sizes)
    # All 30 wrong rows lie in the group of 300: 10 % there, 1 % overall.
    judged = judge_candidate(outcomes, "one")
    assert judged.verdict == "broken"
    assert {c.group: c.verdict for c in judged.claims}["sex=f"] == "broken"


def test_a_group_of_three_rows_is_never_held() -> None:
    """Three rows without any loss are undecided, and say how many rows it would take."""
    sizes = {"age=old": 3, "age=young": 2997}
    outcomes = outcomes_of({"one": answers(0)}, ("age=old", "age=young"), sizes)
    judged = judge_candidate(outcomes, "one")
    claim = next(c for c in judged.claims if c.group == "age=old")
    assert judged.verdict == "undecided"
    assert (claim.verdict, claim.n, claim.gates) == ("undecided", 3, True)
    assert claim.rows_needed >= 59
    assert "below the floor of 59" in claim.reason
    assert conclude(outcomes, {}).shipped is None


@pytest.mark.parametrize("n", [1, 2, 10, 58])
def test_below_the_floor_nothing_is_held(n: int) -> None:
    """No group below the floor is held, even with zero disagreement."""
    sizes = {"g=small": n, "g=large": N - n}
    outcomes = outcomes_of({"one": answers(0)}, ("g=small", "g=large"), sizes)
    assert judge_candidate(outcomes, "one").verdict == "undecided"


def test_a_gating_group_without_rows_stops_the_release() -> None:
    """A group that was named but has no sealed row is undecided, never passed by default."""
    outcomes = outcomes_of({"one": answers(0)}, ("g=absent",), {"g=here": N})
    judged = judge_candidate(outcomes, "one")
    claim = next(c for c in judged.claims if c.group == "g=absent")
    assert (claim.n, claim.verdict) == (0, "undecided")
    assert judged.verdict == "undecided"


def test_a_group_that_does_not_gate_is_never_called_held() -> None:
    """Its bound is reported, for that group alone; certifying it was not the claim."""
    outcomes = outcomes_of({"one": answers(0)}, (), {"g=a": N})
    judged = judge_candidate(outcomes, "one")
    claim = next(c for c in judged.claims if c.group == "g=a")
    assert judged.verdict == "held"
    assert (claim.gates, claim.verdict) == (False, "undecided")
    assert "does not gate" in claim.reason
    assert claim.bound is not None
    assert claim.bound < 0.05


def test_ship_listed_ships_undecided_groups_by_name() -> None:
    """With `ship_listed` an undecided group is listed; without it nothing ships."""
    sizes = {"g=small": 40, "g=large": N - 40}
    for on_undecided, shipped in (("fail", None), ("ship_listed", "one")):
        outcomes = outcomes_of(
            {"one": answers(0)},
            ("g=small", "g=large"),
            sizes,
            on_undecided,  # type: ignore[arg-type]
        )
        conclusion = conclude(outcomes, {})
        assert conclusion.shipped == shipped
    assert conclusion.listed == ("accuracy: g=small",)


def test_ship_listed_names_groups_only_by_holm() -> None:
    """After "all groups" failed, a group that is held at full alpha only is listed too."""
    sizes = {"g=small": 40, "g=just": 66, "g=large": N - 106}
    outcomes = outcomes_of({"one": answers(0)}, tuple(sizes), sizes, "ship_listed")
    alone = {c.group: c for c in judge_candidate(outcomes, "one").claims}
    assert alone["g=just"].verdict == "held"
    assert 0.025 < (alone["g=just"].p_value or 0.0) < 0.05
    conclusion = conclude(outcomes, {})
    claims = {c.group: c for c in conclusion.tested[0].claims}
    assert (claims["g=just"].verdict, claims["g=large"].verdict) == ("undecided", "held")
    assert claims["g=just"].reason.startswith("held alone, not among all groups")
    assert set(conclusion.listed) == {"accuracy: g=small", "accuracy: g=just"}
    assert claims["overall"].verdict == "held"


def test_ship_listed_makes_tests_of_grade_b_at_their_part_of_alpha() -> None:
    """397 lossless units pass at 5 %; at a third of it their t-test is not to be trusted alone."""
    sizes = {"g=few": 4, "g=just": 794, "g=large": N - 798}
    outcomes = outcomes_of(
        {"one": answers(0)},
        tuple(sizes),
        sizes,
        "ship_listed",
        requirement=Requirement("accuracy", 0.01, 0.01),
        units=np.arange(N) // 2,
    )
    alone = {c.group: c for c in judge_candidate(outcomes, "one").claims}
    assert (alone["g=just"].verdict, alone["g=just"].grade) == ("held", "B")
    assert (alone["g=just"].p_value or 1.0) < 0.05 / 3
    claims = {c.group: c for c in conclude(outcomes, {}).tested[0].claims}
    assert (claims["g=just"].verdict, claims["g=large"].verdict) == ("undecided", "held")


def test_ship_listed_never_ships_harm() -> None:
    """A broken group, or an undecided whole, is not something to list."""
    sizes = {"g=small": 100, "g=large": N - 100}
    broken = outcomes_of({"one": answers(30)}, tuple(sizes), sizes, "ship_listed")
    assert conclude(broken, {}).shipped is None
    undecided = outcomes_of({"one": answers(35, start=200)}, tuple(sizes), sizes, "ship_listed")
    assert judge_candidate(undecided, "one").verdict == "undecided"
    assert conclude(undecided, {}).shipped is None


def test_groups_listed_before_opening_are_named() -> None:
    """A group that could not pass is listed, does not gate, and says so."""
    outcomes = outcomes_of(
        {"one": answers(0)}, ("g=b",), {"g=a": 3, "g=b": N - 3}, "ship_listed", listed=("g=a",)
    )
    conclusion = conclude(outcomes, {})
    assert (conclusion.shipped, conclusion.listed) == ("one", ("accuracy: g=a",))
    claim = next(c for c in conclusion.tested[0].claims if c.group == "g=a")
    assert (claim.verdict, claim.gates) == ("undecided", False)
    assert claim.reason.startswith("listed before the seal opened as not certified")


def test_the_grade_that_is_required_counts() -> None:
    """Units of several rows are tested at grade B; a user who requires A gets no certificate."""
    units = np.repeat(np.arange(N // 3), 3)
    for grade, verdict in (("B", "held"), ("A", "undecided")):
        outcomes = outcomes_of(
            {"one": answers(0)},
            units=units,
            requirement=Requirement("accuracy", 0.01, 0.05, require_grade=grade),  # type: ignore[arg-type]
        )
        judged = judge_candidate(outcomes, "one")
        assert judged.verdict == verdict
        assert judged.claims[0].verdict == verdict
        assert judged.claims[0].grade == "B"
        assert judged.claims[0].n == N // 3
    assert "grade B is weaker" in judged.claims[0].reason


def test_weights_move_the_estimate() -> None:
    """A weighted drop is judged as a mean, and the values on the card are weighted too."""
    weights = np.ones(N)
    weights[:5] = 60.0
    plain = judge_candidate(outcomes_of({"one": answers(5)}), "one").claims[0]
    weighted = judge_candidate(outcomes_of({"one": answers(5)}, weights=weights), "one").claims[0]
    assert plain.estimate == pytest.approx(5 / N)
    assert weighted.estimate == pytest.approx(300 / (300 + N - 5))
    assert weighted.candidate == pytest.approx(1 - 300 / (300 + N - 5))
    assert weighted.grade == "B"


def test_agreement_needs_no_labels() -> None:
    """Disagreement with the original is bounded exactly: 8 of 3,000 rows hold 1 %."""
    held = judge_candidate(outcomes_of({"one": answers(8)}, facts=AGREEMENT), "one")
    assert held.verdict == "held"
    assert held.claims[0].grade == "A"
    assert "exact binomial" in held.claims[0].method


def test_a_candidate_that_failed_is_not_held() -> None:
    """A candidate that could not be run is undecided with its reason, and stops the sequence."""
    outcomes = outcomes_of(
        {"one": answers(0)}, order=("one", "two", "three"), failures={"two": "it crashed"}
    )
    conclusion = conclude(outcomes, {})
    assert conclusion.shipped == "one"
    assert [t.verdict for t in conclusion.tested] == ["held", "undecided", "not tested"]


def test_a_baseline_that_failed_certifies_nothing() -> None:
    """Without the original's answers there is nothing to compare with."""
    outcomes = outcomes_of(
        {}, order=("one",), failures={"baseline": "no memory", "one": "no memory"}
    )
    conclusion = conclude(outcomes, {})
    assert (conclusion.shipped, conclusion.reason) == (None, "no memory")


def test_missing_numbers_are_never_good_numbers() -> None:
    """A NaN contribution leaves the verdict undecided."""
    values = answers(0)
    values[7] = np.nan
    assert judge_candidate(outcomes_of({"one": values}), "one").verdict == "undecided"


def test_outcomes_come_back_whole(tmp_path: Path) -> None:
    """Saved and loaded outcomes give the same conclusion to the last digit."""
    outcomes = outcomes_of(
        {"one": answers(4), "two": answers(20)},
        ("g=a", "g=b"),
        {"g=a": 1000, "g=b": 2000},
        units=np.repeat(np.arange(N // 2), 2),
        weights=np.linspace(1.0, 2.0, N),
        failures={"three": "crashed"},
    )
    save_outcomes(outcomes, tmp_path / "outcomes.npz")
    loaded = load_outcomes(tmp_path / "outcomes.npz")
    assert conclude(loaded, {}) == conclude(outcomes, {})
    assert loaded.rules == outcomes.rules
    assert loaded.failures == {"three": "crashed"}


@pytest.mark.parametrize("damage", ["empty", "truncated", "pickle", "text"])
def test_damaged_outcomes_are_a_failed_check(tmp_path: Path, damage: str) -> None:
    """A file that is no outcomes file is one clear error; pickles are not opened."""
    path = tmp_path / "outcomes.npz"
    save_outcomes(outcomes_of({"one": answers(4)}), path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "truncated": whole[:100], "text": b"hello"}.get(damage, whole))
    if damage == "pickle":
        np.savez(path, index=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckFailed, match="can't be read"):
        load_outcomes(path)


def test_renaming_groups_changes_no_number() -> None:
    """Verdicts depend on which rows a group has, not on its name or place."""
    first = outcomes_of({"one": answers(9)}, ("g=a", "g=b"), {"g=a": 500, "g=b": 2500})
    second = outcomes_of({"one": answers(9)}, ("h=z", "h=y"), {"h=z": 500, "h=y": 2500})
    numbers = [
        sorted((c.n, c.p_value, c.bound, c.verdict) for c in judge_candidate(o, "one").claims)
        for o in (first, second)
    ]
    assert numbers[0] == numbers[1]


def test_a_group_margin_of_everything_is_no_fault_of_the_whole() -> None:
    """A wide margin of the whole makes that of its groups 1 or more: nothing to test, no crash."""
    outcomes = outcomes_of(
        {"one": answers(9)},
        (),
        {"g=a": N},
        "ship_listed",
        listed=("g=a",),
        requirement=Requirement("accuracy", 0.35, 1.05),
    )
    conclusion = conclude(outcomes, {})
    assert (conclusion.shipped, conclusion.listed) == ("one", ("accuracy: g=a",))
    claim = next(c for c in conclusion.tested[0].claims if c.group == "g=a")
    assert (claim.verdict, claim.gates) == ("undecided", False)
    assert "a margin of 1.05 leaves nothing to show" in claim.reason


def test_what_was_not_reached_is_not_jumped_over() -> None:
    """Outcomes that lack the first of the order can't let the second ship."""
    conclusion = conclude(outcomes_of({"bold": answers(0)}, order=("safe", "bold")), {})
    assert conclusion.shipped is None
    assert [t.verdict for t in conclusion.tested] == ["not tested", "not tested"]


def test_ship_listed_names_groups_at_the_error_rate_of_their_own_requirement() -> None:
    """A p-value of .008 is little at 5 %; a requirement of 1 % among six tests asks for less."""
    sizes = {"g=small": 40, "g=just": 110, "g=large": N - 150}
    made = outcomes_of({"one": answers(0)}, tuple(sizes), sizes, "ship_listed")
    lax = made.rules.requirements[0]
    strict = dataclasses.replace(lax, metric="strict", confidence=0.99)
    rules = dataclasses.replace(
        made.rules,
        requirements=(lax, strict),
        metrics={"accuracy": ACCURACY, "strict": ACCURACY},
        gating=dict.fromkeys(("accuracy", "strict"), tuple(sizes)),
        listed={"accuracy": (), "strict": ()},
    )
    both = dict.fromkeys(("accuracy", "strict"), answers(0))
    outcomes = dataclasses.replace(made, rules=rules, baseline=both, candidates={"one": both})
    alone = {(c.metric, c.group): c for c in judge_candidate(outcomes, "one").claims}
    assert alone["strict", "g=just"].verdict == "held"
    claims = {(c.metric, c.group): c.verdict for c in conclude(outcomes, {}).tested[0].claims}
    assert claims["accuracy", "g=just"] == "held"
    assert claims["strict", "g=just"] == "undecided"
    assert claims["strict", "g=large"] == "held"
