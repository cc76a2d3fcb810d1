"""The identity of Chouldechova holds for every classifier, and says what can't be equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.statistics.group_rates import (
    BASE,
    FALSE_POSITIVE,
    PREDICTIVE,
    TRUE_POSITIVE,
    Answers,
    class_rates,
    tally,
)
from jettison.statistics.incompatibility import (
    conflict,
    false_positive_rate,
    least_false_positive_gap,
)


def rates_of(seed, n, bases, accuracy=0.75):
    r = np.random.default_rng(seed)
    codes = r.integers(0, len(bases), n)
    targets = (r.random(n) < np.array(bases)[codes]).astype(np.int64)
    decisions = np.where(r.random(n) < accuracy, targets, 1 - targets)
    return class_rates(tally(Answers(decisions, targets, 2), codes, len(bases)), 1)


@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.floats(0.2, 0.95))
@settings(max_examples=40, deadline=None)
def test_the_identity_is_exact(seed, base, accuracy):
    """Base rate, PPV and TPR of any data give its FPR to the last digits."""
    rates = rates_of(seed, 300, [base, 0.5], accuracy)
    for group in range(2):
        p, v, t = (float(rates[n].value[group]) for n in (BASE, PREDICTIVE, TRUE_POSITIVE))
        if 0 < p < 1 and v > 0:
            assert false_positive_rate(p, v, t) == pytest.approx(rates[FALSE_POSITIVE].value[group])


def test_unequal_base_rates_force_unequal_false_positive_rates():
    """At base rates of 50 % and 25 %, equal PPV and TPR triple the odds, so the FPR."""
    found = conflict(rates_of(1, 20_000, [0.5, 0.25]))
    assert found is not None
    assert found.shown
    assert found.forced_fpr[0] / found.forced_fpr[1] == pytest.approx(3.0, rel=0.1)
    assert found.forced_gap > 0.1


def test_wider_gaps_make_room():
    """Gaps of 0 leave the whole forced gap; wide ones leave none."""
    found = conflict(rates_of(1, 20_000, [0.5, 0.25]))
    assert least_false_positive_gap(found, 0.0, 0.0) == pytest.approx(found.forced_gap)
    assert 0.0 < least_false_positive_gap(found, 0.02, 0.02) < found.forced_gap
    assert least_false_positive_gap(found, 0.6, 0.2) == 0.0


def test_equal_base_rates_conflict_with_nothing_that_is_shown():
    """Where base rates differ by chance only, no conflict is claimed."""
    assert not conflict(rates_of(2, 1000, [0.5, 0.5])).shown


def test_nothing_to_compare_is_no_conflict():
    """One group, or a classifier that selects nobody, has none."""
    assert conflict(rates_of(0, 100, [0.5])) is None
    targets = np.tile([0, 1], 100)
    nobody = Answers(np.zeros(200, np.int64), targets, 2)
    assert conflict(class_rates(tally(nobody, np.repeat([0, 1], 100), 2), 1)) is None


def test_impossible_rates_are_refused():
    """A PPV of 0 has no false positive rate."""
    with pytest.raises(ValueError, match="PPV"):
        false_positive_rate(0.5, 0.0, 0.5)
