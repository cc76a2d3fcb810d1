"""JSON rows become columns without losing values."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.errors import RequestRefused
from jettison.serving.http.raw_rows import columns_of

TABLE = Encoder("tabular", {"columns": ["age", "town"]})


def test_records_become_columns() -> None:
    """Columns that the model doesn't read are passed over; null is a missing value."""
    rows = [{"age": 41, "town": "Bern", "id": 7}, {"town": None, "age": None}]
    example = columns_of(rows, TABLE)
    assert example.n == 2
    np.testing.assert_array_equal(example.columns["age"], [41.0, np.nan])
    assert example.columns["town"].tolist() == ["Bern", None]


def test_lists_become_columns() -> None:
    """A list has the values of the columns in their order."""
    example = columns_of([[41, "Bern"], [12, "Thun"]], TABLE)
    assert example.columns["age"].tolist() == [41, 12]
    assert example.columns["town"].tolist() == ["Bern", "Thun"]


def test_large_whole_numbers_stay_whole() -> None:
    """A number beyond what a float holds is not rounded before it is checked."""
    example = columns_of([{"age": 2**60 + 1, "town": "a"}], TABLE)
    assert example.columns["age"].dtype == np.int64
    assert example.columns["age"].tolist() == [2**60 + 1]


def test_without_settled_columns_the_keys_count() -> None:
    """An encoder that names no columns gets those of the first row."""
    example = columns_of([{"a": True}, {"a": False}], Encoder("other"))
    assert example.columns["a"].dtype == np.bool_
    with pytest.raises(RequestRefused, match="must be an object"):
        columns_of([1.0], Encoder("other"))


def test_one_long_text_does_not_widen_a_column_without_end() -> None:
    """Texts that would make an array of hundreds of megabytes are refused."""
    rows = [{"age": 1, "town": "x" * 2_000_000}, *([{"age": 1, "town": "a"}] * 100)]
    with pytest.raises(RequestRefused) as caught:
        columns_of(rows, TABLE)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"age": 1}], "row 0 has no `town`"),
        ([{"age": 1, "town": "a"}, {"age": 1}], "row 1 has no `town`"),
        ([[1]], "row 0 must be an object with, or a list of, the 2 columns"),
        ([1], "row 0 must be an object"),
        ([{"age": {"a": 1}, "town": "a"}], "`age` mixes"),
        ([{"age": [1, "a"], "town": "a"}], "`age` holds lists of something but numbers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: list[object], told: str) -> None:
    """The message names the row, the column and what is allowed."""
    with pytest.raises(RequestRefused) as caught:
        columns_of(rows, TABLE)
    assert caught.value.reason == "shape"
    assert told in str(caught.value)
