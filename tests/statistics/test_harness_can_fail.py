"""Acceptance 2: the same harness convicts four procedures that are known to be faulty."""

from __future__ import annotations

from simulation import (
    adaptive_search,
    certify_whole_only,
    flat,
    naive_point,
    simulate,
    small_group_at_margin,
    unadjusted_interval,
)


def test_the_point_estimate_is_convicted() -> None:
    """Shipping the cheapest whose drop looks small ships a bad model nearly always."""
    assert simulate(flat("null", 2000), naive_point, 500, 21).false >= 0.9


def test_the_unadjusted_interval_is_convicted() -> None:
    """Shipping any of fifty whose own 95 % bound passes ships a bad model in 2 of 5 runs or more."""
    assert simulate(flat("null", 2000), unadjusted_interval, 500, 22).false >= 0.4


def test_testing_the_whole_only_is_convicted() -> None:
    """Without tests of groups, harm to the 5 % group goes unseen."""
    assert simulate(small_group_at_margin(10_000), certify_whole_only, 500, 23).false >= 0.9


def test_a_leaked_seal_is_convicted() -> None:
    """A search that scored itself on the sealed rows ships a bad model well beyond alpha."""
    assert adaptive_search(500, seed=24, leaked=True).false > 0.1
