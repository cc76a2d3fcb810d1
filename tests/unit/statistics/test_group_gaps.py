"""Joining the whole and the groups into one verdict."""

from __future__ import annotations

import pytest

from jettison.statistics import Grade, Judgement, Verdict, combine, individually_held


def judgement(verdict: Verdict, p_value: float = 0.5, grade: Grade = "A") -> Judgement:
    """Builds a judgement with only what the rule looks at."""
    return Judgement(verdict, 0.0, 0.1, p_value, grade, 100, "test", 0, "because")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["held", "held", "held"], "held"),
        (["held", "undecided", "held"], "undecided"),
        (["held", "undecided", "broken"], "broken"),
        (["broken", "held", "held"], "broken"),
    ],
)
def test_all_must_hold_and_any_can_break(parts: list[Verdict], expected: Verdict) -> None:
    """Held needs every part; one broken part breaks the claim; else it is undecided."""
    assert combine({str(i): judgement(v) for i, v in enumerate(parts)}).verdict == expected


def test_the_parts_not_held_are_named() -> None:
    """The names that keep the claim from holding are listed in order, with reasons."""
    combined = combine(
        {"overall": judgement("held"), "b": judgement("broken"), "a": judgement("undecided")}
    )
    assert (combined.not_held, combined.broken) == (("b", "a"), ("b",))
    assert combined.reason == "b: because; a: because"


@pytest.mark.parametrize(
    ("overall", "group", "listable"),
    [
        ("held", "undecided", True),
        ("held", "broken", False),
        ("undecided", "held", False),
        ("undecided", "undecided", False),
    ],
)
def test_only_undecided_groups_can_be_listed(
    overall: Verdict, group: Verdict, listable: bool
) -> None:
    """`ship_listed` covers an undecided group, never a broken one, never the whole."""
    combined = combine({"overall": judgement(overall), "g": judgement(group)})
    assert combined.listable() is listable


@pytest.mark.parametrize(
    ("required", "expected"), [("A", "undecided"), ("B", "held"), ("C", "held")]
)
def test_a_weaker_grade_than_required_does_not_count(required: Grade, expected: Verdict) -> None:
    """A part held at grade B holds the claim only where B is enough."""
    parts = {"overall": judgement("held"), "g": judgement("held", grade="B")}
    assert combine(parts, required).verdict == expected


def test_an_empty_claim_does_not_hold() -> None:
    """Nothing to combine raises `ValueError`."""
    with pytest.raises(ValueError, match="nothing to combine"):
        combine({})


def test_naming_single_groups_costs_alpha() -> None:
    """Holm's rule names fewer groups than are held each on its own."""
    parts = {f"g{i}": judgement("held", p) for i, p in enumerate((0.001, 0.02, 0.03, 0.04))}
    assert individually_held(parts) == ("g0",)
    assert individually_held({"g0": judgement("held", 0.04)}) == ("g0",)


def test_a_small_p_value_below_the_floor_names_nothing() -> None:
    """A group that is undecided is not named, whatever its p-value."""
    assert individually_held({"g": judgement("undecided", 0.0001)}) == ()
