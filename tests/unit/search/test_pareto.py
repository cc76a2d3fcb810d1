"""The Pareto front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jettison.search.pareto import dominates, pareto_front

points = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    max_size=8,
)


@given(points)
def test_the_front_dominates_everything_else(values: dict[str, tuple[int, int]]) -> None:
    """No member is dominated; every other point is dominated by a member."""
    front = pareto_front(values)
    assert bool(front) == bool(values)
    for name, value in values.items():
        beaten = any(dominates(values[member], value) for member in front)
        assert beaten != (name in front)
