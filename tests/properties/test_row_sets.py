"""Sets of row digests behave as sets, whatever bytes the digests end with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jettison.trust.row_sets import common_rows, pack, row_set, row_set_digest, unpack

# Few different bytes, zero among them, so that sets overlap and prefixes end in zeros.
digests = st.lists(
    st.lists(st.sampled_from([0, 1, 255]), min_size=2, max_size=2).map(
        lambda ends: bytes([ends[0], *[0] * 14, ends[1], *[7] * 15, 0][:32]).ljust(32, b"\0").hex()
    ),
    max_size=12,
)


@given(digests, digests)
def test_overlap_is_that_of_sets(some: list[str], others: list[str]) -> None:
    """The overlap counts each shared row once, in any order and with repeats."""
    expected = len({d[:32] for d in some} & {d[:32] for d in others})
    assert common_rows(row_set(some), row_set(others)) == expected
    assert common_rows(row_set(others), row_set(some)) == expected


@given(digests)
def test_order_and_repeats_do_not_matter(some: list[str]) -> None:
    """Equal sets have equal bytes, and come back whole."""
    first, second = row_set(some), row_set([*reversed(some), *some])
    assert row_set_digest(first) == row_set_digest(second)
    assert (unpack(pack(first)) == first).all()
