"""Safe casts of data columns to model inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jettison.domain.model import TensorSpec
from jettison.errors import DataError
from jettison.numerics.casting import cast_column, check_finite, check_shape


def cast(values: Any, dtype: str) -> np.ndarray:
    return cast_column(values, TensorSpec("x", dtype, ("batch",)), "column `c`")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (np.array([1.5, 2.5]), "float32", np.array([1.5, 2.5], np.float32)),
        (np.array([1, 2], np.int64), "int32", np.array([1, 2], np.int32)),
        (np.array([1.0, 2.0]), "int64", np.array([1, 2])),
        (np.array([True, False]), "float32", np.array([1, 0], np.float32)),
        (np.array([0, 1]), "bool", np.array([False, True])),
        (np.array([200], np.uint8), "int32", np.array([200], np.int32)),
        (np.array(["a", "bc"], object), "str", np.array(["a", "bc"])),
        (np.array([1, 2.5], object), "float32", np.array([1, 2.5], np.float32)),
        (np.array([True, False], object), "bool", np.array([True, False])),
        (np.array([None, 2.0], object), "float64", np.array([np.nan, 2.0])),
    ],
)
def test_casts_that_lose_nothing(values: Any, dtype: str, expected: np.ndarray) -> None:
    """Values that fit are cast, and have exactly the input's dtype."""
    found = cast(values, dtype)
    np.testing.assert_array_equal(found, expected)
    assert dtype == "str" or found.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (np.array([1, 2**40]), "int32", r"`c` has 1099511627776 at row 1; input `x` \(int32\)"),
        (np.array([-1]), "uint8", r"has -1 at row 0; .* takes 0 to 255"),
        (np.array([0.0, 1.5]), "int64", r"has 1.5 at row 1, but input `x` takes whole numbers"),
        (np.array([np.nan]), "int64", r"has nan at row 0, .* fill missing values"),
        (np.array([1e300]), "float32", r"1e\+300 at row 0, which is beyond the range of float32"),
        (np.array([2**24 + 1]), "float32", r"a whole number that float32 can't hold exactly"),
        (
            np.array(["x", "?"]),
            "float32",
            r"holds text \(`x` at row 0\), but input `x` takes float",
        ),
        (np.array([1, "?"], object), "float32", r"\(`\?` at row 1\)"),
        (np.array([1, 2]), "str", "holds int64, but input `x` takes text"),
        (np.array(["a", None], object), "str", "has None at row 1, which is no text"),
        (np.array(["a", np.nan], object), "str", "has nan at row 1, which is no text"),
        (np.array([0, 2]), "bool", "has 2 at row 1, but input `x` takes true or false"),
        (np.array(["2020-01-01"], "datetime64[D]"), "float32", "holds dates"),
    ],
)
def test_casts_that_would_lose_something(values: Any, dtype: str, message: str) -> None:
    """The error names the column, the row, the input and what it takes."""
    with pytest.raises(DataError, match=message):
        cast(values, dtype)


def test_lists_in_cells() -> None:
    """Cells that hold lists of one length are a matrix; ragged ones name the odd row."""
    cells = np.empty(2, dtype=object)
    cells[0], cells[1] = [1, 2], [3, 4]
    assert cast(cells, "float32").shape == (2, 2)
    cells[1] = [3]
    with pytest.raises(DataError, match=r"row 0 has \(2,\), row 1 has \(1,\)"):
        cast(cells, "float32")


def test_shape() -> None:
    """A wrong shape is told beside the right one."""
    spec = TensorSpec("x", "float32", ("batch", 3, "time"))
    check_shape(np.zeros((5, 3, 9)), spec, 5, "input `x`")
    for shape in ((5, 4, 9), (4, 3, 9), (5, 3)):
        with pytest.raises(DataError, match=r"takes \(n, 3, time\) with n = 5"):
            check_shape(np.zeros(shape), spec, 5, "input `x`")


def test_missing_and_infinite_values() -> None:
    """NaN may be allowed, infinity never is; the row and the place in it are told."""
    values = np.zeros((3, 4))
    values[2, 1] = np.nan
    check_finite(values, "input `x`", missing_allowed=True)
    with pytest.raises(DataError, match=r"has nan at row 2 \(position \(1,\)\): fill missing"):
        check_finite(values, "input `x`")
    values[1, 3] = -np.inf
    with pytest.raises(DataError, match=r"has -inf at row 1 .*correct the value"):
        check_finite(values, "input `x`", missing_allowed=True)


def test_large_whole_numbers_stay_what_they_are() -> None:
    """What a column of Python's own numbers holds does not go through floats."""
    values = np.array([2**53 + 1, -(2**53) - 1], object)
    np.testing.assert_array_equal(cast(values, "int64"), [2**53 + 1, -(2**53) - 1])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1.0, 2.0**63]), "int64"),
        (np.array([1.0, 2.0**64]), "uint64"),
        (np.array([1, 10**400], object), "float64"),
        (np.array([1, 10**30], object), "int64"),
    ],
)
def test_whole_numbers_beyond_the_type_are_refused(values: np.ndarray, dtype: str) -> None:
    """The first number that is one too large is not wrapped around to the smallest."""
    with pytest.raises(DataError, match="column `c`"):
        cast(values, dtype)


def test_the_largest_float_below_the_limit_is_taken() -> None:
    """2^63 - 1024 is the largest 64-bit float that fits 64-bit whole numbers."""
    below = np.nextafter(2.0**63, 0)
    assert cast(np.array([below]), "int64")[0] == 2**63 - 1024
    assert cast(np.array([7], np.float16), "int64")[0] == 7
