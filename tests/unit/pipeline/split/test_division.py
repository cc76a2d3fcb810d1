"""Where rows stand: by seed and unit alone, whatever the cap of fitting is and whatever is added."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.pipeline.split.division import SPARE, divide, settle

UNITS = [f"unit {number}" for number in range(400)]


def digests(n: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(n)]


@given(seed=st.integers(0, 50), caps=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_lower_cap_seals_no_row_that_was_fitted_on(seed: int, caps: tuple[int, int]) -> None:
    """Two runs that differ in `fitting_rows` alone seal and select the same rows."""
    low, high = (divide(UNITS, seed, cap) for cap in sorted(caps))
    assert ((low == 2) == (high == 2)).all()
    assert ((low == 1) == (high == 1)).all()
    assert set(np.flatnonzero(low == 0)) <= set(np.flatnonzero(high == 0))
    assert set(np.unique(low[high == 0])) <= {0, SPARE}


@given(seed=st.integers(0, 50), first=st.integers(200, 400), cap=st.integers(1, 12))
def test_rows_that_are_added_seal_none_that_was_read(seed: int, first: int, cap: int) -> None:
    """A file that grows pushes fitting rows beyond the cap, and not into the seal."""
    before = divide(UNITS[:first], seed, cap)
    after = divide(UNITS, seed, cap)[:first]
    assert not ((after == 2) & (before != 2)).any()


def test_the_surplus_is_counted_and_serves_nothing() -> None:
    """Fitting rows beyond the cap are in no use, and the division says how many."""
    sides = divide(UNITS, 7, 5)
    known = digests(len(UNITS))
    found = settle(sides, known, None, known, 5)
    used = np.concatenate([found.fitting, found.selection, found.certification])
    assert len(found.fitting) == 5
    assert found.cut == len(UNITS) - len(used) > 0
    assert len(np.unique(used)) == len(used)
    assert abs(len(found.certification) / len(UNITS) - 0.8) < 0.06


@pytest.mark.parametrize("own_files", [False, True])
def test_a_copy_of_a_surplus_row_is_not_sealed(own_files: bool) -> None:
    """A higher cap would have fitted on the surplus, so the seal has none of it under a lower one."""
    spare = 0 if own_files else SPARE
    sides = np.array([0, spare, 1, 2, 2])
    known = ["a", "b", "s", "b", "c"]
    few, many = (
        settle(
            sides if most == 1 else np.where(sides == SPARE, 0, sides), known, None, "01234", most
        )
        for most in (1, 2)
    )
    assert few.certification.tolist() == many.certification.tolist() == [4]
    assert few.fitting.tolist() == [0]
    assert few.selection.tolist() == [2]
    assert (few.cut, many.cut) == (1, 0)
