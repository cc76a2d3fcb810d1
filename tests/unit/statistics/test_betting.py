"""Betting against a margin: what the money does, and what a caller may rely on."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from jettison.statistics.betting import ACCOUNTS, EPOCH, SHARES, BettingTest, shared_alpha


def losses(n: int, drop: float, both: float, seed: int) -> np.ndarray:
    """Paired 0/1 differences with a true drop and a share of rows that differ."""
    u = np.random.default_rng(seed).random(n)
    lost, won = (both + drop) / 2, (both - drop) / 2
    return (u < lost).astype(float) - (u > 1 - won)


def test_money_starts_at_one_and_nothing_is_broken() -> None:
    """Before the first outcome there is no evidence, and the interval is everything."""
    test = BettingTest(0.01, 0.05)
    assert test.evidence == pytest.approx(1.0)
    assert (test.p_value, test.broken, test.mean) == (1.0, False, None)
    assert (test.interval().low, test.interval().high) == (-1.0, 1.0)


def test_money_of_one_account_is_the_mean_of_constant_bets() -> None:
    """The money after some outcomes is what the formula of the paper gives, bet by bet; half is kept."""
    drops = losses(200, 0.05, 0.2, seed=1)
    test = BettingTest(0.02, 0.05)
    test.add(drops)
    by_hand = np.mean([np.prod(1 + c * ((1 + drops) / 1.02 - 1)) for c in SHARES])
    assert test.evidence == pytest.approx(0.5 * by_hand + 0.5)


def test_the_order_and_the_parcels_of_outcomes_do_not_matter_within_an_epoch() -> None:
    """Money depends on which outcomes came; only the moments of looking differ."""
    drops = losses(EPOCH - 1, 0.05, 0.2, seed=2)
    together, apart = BettingTest(0.01, 0.05), BettingTest(0.01, 0.05)
    together.add(drops)
    for drop in sorted(drops):
        apart.add([drop])
    assert together.evidence == pytest.approx(apart.evidence)
    assert apart.p_value <= together.p_value * (1 + 1e-9)


def test_an_alarm_stays() -> None:
    """Good outcomes after an alarm don't take it back."""
    test = BettingTest(0.01, 0.05)
    test.add([1.0] * 50)
    assert test.broken
    test.add([0.0] * 5000)
    assert test.broken
    assert test.evidence < 1.0 / 0.05


def test_a_drop_that_begins_late_is_found() -> None:
    """After 30,000 good outcomes a drop of three margins is found within 6,000 more.

    The account of the whole life alone would need more than 30,000: it has lost its money.
    """
    test = BettingTest(0.01, 0.05)
    test.add(losses(30_000, 0.0, 0.03, seed=3))
    assert not test.broken
    test.add(losses(6_000, 0.03, 0.05, seed=4))
    assert test.broken


def test_memory_does_not_grow() -> None:
    """Old accounts are closed; ages of those that stay spread evenly in their logarithm."""
    test = BettingTest(0.01, 0.05)
    test.add(np.zeros(EPOCH * 400))
    ages = sorted(test.n - start for start in test._starts[1:])
    assert len(ages) == ACCOUNTS
    assert ages[0] == 0
    steps = [later / earlier for earlier, later in itertools.pairwise(ages[1:])]
    assert max(steps) <= 3.0


def test_the_interval_holds_the_mean_and_shrinks() -> None:
    """The confidence sequence lies around the observed mean and gets narrower."""
    widths = []
    for n in (100, 1000, 10_000):
        test = BettingTest(0.01, 0.05)
        test.add(losses(n, 0.01, 0.05, seed=5))
        found = test.interval()
        assert found.low <= found.value <= found.high
        assert found.n == n
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.02


def test_the_interval_is_the_set_of_means_that_money_does_not_refute() -> None:
    """Just beyond an end the money reaches 2 / alpha; just inside it doesn't."""
    drops = losses(400, 0.1, 0.3, seed=6)
    test = BettingTest(0.01, 0.05)
    test.add(drops)
    found = test.interval(0.1)
    for m, refuted in ((found.low - 1e-6, True), (found.low + 1e-6, False)):
        money = np.mean([np.prod(1 + c * ((1 + drops) / (1 + m) - 1)) for c in SHARES])
        assert (money >= 20.0) == refuted


def test_bounded_differences_are_rounded_without_bias() -> None:
    """Counts of multiples of 1 / 256 keep the mean of what was given."""
    drops = np.random.default_rng(7).uniform(-0.02, 0.021, 20_000)
    test = BettingTest(0.01, 0.05, resolution=256)
    test.add(drops)
    kept = float((test._life * test._values).sum() / test.n)
    assert kept == pytest.approx(float(drops.mean()), abs=3e-5)
    assert test.mean == pytest.approx(float(drops.mean()))


@pytest.mark.parametrize("n", [0, 1, EPOCH - 1, EPOCH, 7 * EPOCH + 3, 40 * EPOCH])
def test_who_goes_on_from_a_state_comes_to_the_same(n: int) -> None:
    """A test that is stopped and resumed holds the same money as one that never stopped."""
    drops = losses(n + 2 * EPOCH, 0.015, 0.05, seed=4)
    whole, first, second = (BettingTest(0.01, 0.05) for _ in range(3))
    whole.add(drops[:n])
    first.add(drops[:n])
    second.resume(first.state())
    for test in (whole, second):
        test.add(drops[n:])
    assert second.n == whole.n
    assert second.evidence == whole.evidence
    assert second.p_value == whole.p_value
    assert second.interval() == whole.interval()


def test_an_alarm_survives_its_state() -> None:
    """What was broken is broken after a resume, also when better outcomes followed."""
    first, second = BettingTest(0.01, 0.05, 4), BettingTest(0.01, 0.05, 4)
    first.add([1.0] * 60)
    first.add([-1.0] * 900)
    second.resume(first.state())
    assert first.broken
    assert second.broken
    assert second.evidence < 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"margin": 0.02}, "margin 0.02"),
        ({"alpha": 0.01}, "alpha"),
        ({"resolution": 2}, "resolution"),
        ({"total": np.nan}, "sum"),
        ({"total": 1e9}, "sum"),
        ({"log_most": -1.0}, "money"),
        ({"log_most": np.inf}, "money"),
        ({"counts": np.array([0, 5, 0])}, "fall"),
        ({"counts": np.array([0, 5, 0, 0])}, "shapes"),
        ({"starts": np.array([0, 400])}, "accounts"),
        ({"starts": np.array([0, EPOCH, EPOCH])}, "shapes"),
        ({"before": np.zeros((2, 3), np.int64)}, "accounts"),
        ({"before": np.full((2, 3), -1)}, "fall"),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(change: dict[str, object], told: str) -> None:
    """Of another test, or damaged: it says what is wrong, and the test stays as it was."""
    first, second = BettingTest(0.01, 0.05), BettingTest(0.01, 0.05)
    first.add(losses(EPOCH + 20, 0.01, 0.05, seed=5))
    second.add([1.0, 0.0])
    before = second.evidence
    with pytest.raises(ValueError, match=told):
        second.resume(dataclasses.replace(first.state(), **change))
    assert (second.n, second.evidence) == (2, before)


@pytest.mark.parametrize("bad", [1.1, float("nan"), float("inf")])
def test_what_is_no_difference_is_refused(bad: float) -> None:
    """A value beyond -1 to 1 is an error, and nothing of that parcel is counted."""
    test = BettingTest(0.01, 0.05)
    with pytest.raises(ValueError, match="from -1 to 1"):
        test.add([0.0, bad])
    assert test.n == 0


@pytest.mark.parametrize(("margin", "alpha"), [(1.0, 0.05), (-1.0, 0.05), (0.01, 0.0), (0.01, 1.0)])
def test_settings_out_of_range_are_refused(margin: float, alpha: float) -> None:
    """Margin and error rate must leave something to test."""
    with pytest.raises(ValueError, match="must lie"):
        BettingTest(margin, alpha)


def test_shared_error_rates_add_up() -> None:
    """No part gets anything that another one has."""
    shares = shared_alpha(0.05, {"overall": 3.0, "a": 1.0, "b": 1.0, "c": 1.0})
    assert sum(shares.values()) == pytest.approx(0.05)
    assert shares["overall"] == pytest.approx(0.025)
