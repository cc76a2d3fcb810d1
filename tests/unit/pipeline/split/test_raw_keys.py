"""Digests of raw values: the same for the same values, however they are named, put or stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.pipeline.split.raw_keys import raw_digests

N = 40


def example(**columns: Any) -> Example:
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    return Example(arrays, len(next(iter(arrays.values()))))


def texts(*values: object) -> Array:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def all_of(table: Example, *columns: str) -> list[str]:
    return raw_digests(table, columns or tuple(table.columns), np.arange(table.n))


def numbers(seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(N, 4)).astype(np.float32)


def test_names_order_type_and_shape_do_not_matter() -> None:
    """Columns, renamed and reordered columns, 64-bit floats and one matrix give one digest."""
    x = numbers()
    expected = all_of(example(a=x[:, 0], b=x[:, 1], c=x[:, 2], d=x[:, 3]))
    assert len(set(expected)) == N
    assert all_of(example(q=x[:, 2], r=x[:, 0], s=x[:, 3], t=x[:, 1])) == expected
    assert all_of(example(x=x)) == expected
    assert all_of(example(x=x.astype(np.float64).reshape(N, 2, 2))) == expected
    printed = np.array([[float(f"{v:.9g}") for v in row] for row in x])
    assert all_of(example(x=printed)) == expected


def test_whole_numbers_and_booleans_count_by_value() -> None:
    """1, 1.0 and true are one value; -0.0 is 0."""
    base = [123456, 7654321, 5000, 1, 0]
    expected = all_of(example(x=np.array([base])))
    assert expected != [""]
    assert all_of(example(x=np.array([base], dtype=np.float64))) == expected
    assert all_of(
        example(x=np.array([[123456.0, 7654321.0, 5000.0, -0.0]]), flag=np.array([True]))
    ) == expected


@pytest.mark.parametrize("change", [1e-3, np.nan])
def test_another_value_is_another_row(change: float) -> None:
    """One changed or missing value changes the digest of its row only."""
    x = numbers().astype(np.float64)
    before = all_of(example(x=x))
    x[7, 2] = change
    after = all_of(example(x=x))
    assert [i for i in range(N) if before[i] != after[i]] == [7]


def test_text_counts_as_it_is() -> None:
    """Pairs are known in either order; a changed letter is another row; where text ends matters."""
    one, two = "the film was much too long", "nobody laughed at the end"
    expected = all_of(example(a=texts(one), b=texts(two)))
    assert expected != [""]
    assert all_of(example(second=texts(two), first=texts(one))) == expected
    assert all_of(example(a=texts(one), b=texts(two + "."))) != expected
    assert all_of(example(a=texts(one + two), b=texts(""))) != expected
    assert all_of(example(a=texts(one + two), b=texts(None))) != expected


def test_rows_of_little_content_have_no_key() -> None:
    """Zeros, ones, few small numbers and two words stand in many unrelated files."""
    assert all_of(example(x=np.zeros((2, 100)))) == ["", ""]
    assert all_of(example(x=np.eye(50))) == [""] * 50
    assert all_of(example(x=np.array([[1, 2, 3, 4]]))) == [""]
    assert all_of(example(x=np.array([0.123]))) == [""]
    assert all_of(example(text=texts("good film"))) == [""]
    assert all_of(example(x=np.array([[0.123, 0.456]]))) != [""]
    assert all_of(example(text=texts("a very good film"))) != [""]


def test_only_the_rows_and_columns_asked_for_count() -> None:
    """Chosen rows come in their order; other columns don't matter."""
    x = numbers()
    table = example(x=x, other=np.arange(N))
    every = all_of(table, "x")
    assert raw_digests(table, ["x"], np.array([5, 2])) == [every[5], every[2]]
    assert raw_digests(table, ["x"], np.array([], dtype=np.int64)) == []


@given(st.permutations(range(6)), st.integers(0, 1000))
def test_any_order_of_columns(order: list[int], seed: int) -> None:
    """Whatever the order, the digest is the same."""
    row = np.random.default_rng(seed).normal(size=(1, 6))
    assert all_of(example(x=row)) == all_of(example(x=row[:, order]))
