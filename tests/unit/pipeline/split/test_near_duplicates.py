"""Sealed rows that nearly repeat what the search sees: found by likeness, told by row number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison.domain.extension_points import Example
from jettison.domain.model import TensorSpec
from jettison.errors import DataError
from jettison.numerics import similarity
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.encoding import Pool
from jettison.pipeline.split.near_duplicates import find_near, notes_on, without_near

N = 60
DIVISION = Division(np.arange(10), np.arange(10, 20), np.arange(20, N))


def pool_of(values: np.ndarray, folder: Path, lengths: np.ndarray | None = None) -> Pool:
    """Two pieces, as a long table has."""
    folder.mkdir()
    half = N // 2
    np.save(folder / "0.x.npy", values[:half])
    np.save(folder / f"{half}.x.npy", values[half:])
    pad = {"x": 0.0} if lengths is not None else {}
    return Pool(folder, ("x",), (0, half), pad, ("",) * N, lengths)


def texts(folder: Path) -> Pool:
    rng = np.random.default_rng(0)
    values = rng.integers(2, 30_000, (N, 40))
    values[45] = values[3]
    values[45, 20] = 7  # One token of forty differs.
    values[50, :20] = values[4, :20]  # Half of a text is not the text.
    return pool_of(values, folder, np.full(N, 40))


def images(folder: Path) -> Pool:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 3, 16, 16)).astype(np.float32) + 5.0
    values[45] = 0.9 * values[3] + 0.05 * rng.normal(size=(3, 16, 16))
    values[50] = values[4] + rng.normal(size=(3, 16, 16))
    return pool_of(values, folder)


@pytest.mark.parametrize("make", [texts, images])
def test_pairs_across_the_seal(make: object, tmp_path: Path) -> None:
    """A text with one token changed, and a darker noisy copy of an image, are found; no other."""
    near = find_near(make(tmp_path / "pool"), DIVISION)  # type: ignore[operator]
    assert near.pairs == ((45, 3),)
    tables = {"fitting": Example({}, 10), "source": Example({}, N - 10)}
    told = list(notes_on(near, tables, 1))
    assert "1 sealed rows nearly repeat" in told[0]
    assert "row 35 of `source` and row 3 of `fitting`" in told[0]
    assert without_near(DIVISION, near).fitting.tolist() == [0, 1, 2, *range(4, 10)]


def test_no_likeness_is_defined_for_a_few_numbers(tmp_path: Path) -> None:
    """Short rows are left alone, and nothing is said."""
    near = find_near(pool_of(np.ones((N, 4), np.float32), tmp_path / "pool"), DIVISION)
    assert near.measure == ""
    assert list(notes_on(near, {}, 0)) == []


def test_tables_of_columns_have_no_likeness(tmp_path: Path) -> None:
    """One large column would make all rows of a table alike."""
    values = np.random.default_rng(0).normal(size=(N, 20)).astype(np.float32)
    values[:, 3] += 1000.0
    pool = pool_of(values, tmp_path / "pool")
    assert len(find_near(pool, DIVISION).pairs) >= 40
    columns = [f"column {place}" for place in range(20)]
    assert find_near(pool, DIVISION, (), columns).measure == ""


def test_many_rows_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of comparisons every so many sealed rows are looked at, and that is said."""
    monkeypatch.setattr("jettison.pipeline.split.near_duplicates.MOST_COMPARISONS", 400)
    pool = texts(tmp_path / "pool")
    near = find_near(pool, DIVISION)
    assert (near.looked_at, near.sealed) == (20, 40)


def test_sketches_keep_products() -> None:
    """A copy with little noise stays close; other rows do not."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 3000))
    copy = rows[:1] + 0.05 * rng.normal(size=(1, 3000))
    short = [similarity.sketches(similarity.directions(x)) for x in (copy, rows)]
    assert list(similarity.close_sketches(*short)) == [(0, 0)]


def test_copies_of_one_text(tmp_path: Path) -> None:
    """Every row that nearly repeats another is found, without looking at every pair of them."""
    values = np.tile(np.arange(40), (N, 1))
    values[:, 39] = np.arange(N) + 100
    near = find_near(pool_of(values, tmp_path / "pool", np.full(N, 40)), DIVISION)
    assert {row for row, _ in near.pairs} == set(range(20, N))
    with pytest.raises(DataError, match="every one of 10 fitting rows nearly repeats a sealed row"):
        without_near(DIVISION, near)
    assert len(near.pairs) < 40 * 20
    assert near.looked_at == near.sealed == 40


def test_tokens_of_one_length(tmp_path: Path) -> None:
    """A model of a free length tells that whole numbers are tokens, also beside a mask."""
    folder = tmp_path / "pool"
    ragged = texts(folder)
    for start in ragged.starts:
        np.save(folder / f"{start}.mask.npy", np.ones((N // 2, 40), np.int64))
    pool = Pool(folder, ("mask", "x"), ragged.starts, {}, ragged.digests, None)
    assert find_near(pool, DIVISION).measure == ""
    inputs = [TensorSpec(name, "int64", ("batch", "time")) for name in ("mask", "x")]
    assert find_near(pool, DIVISION, inputs).pairs == ((45, 3),)


def test_what_was_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked to drop near-duplicates is told where they could not be looked for."""
    pool = pool_of(np.ones((N, 4), np.float32), tmp_path / "short")
    told = list(notes_on(find_near(pool, DIVISION), {}, 0, asked=True))
    assert "among none of the sealed rows: likeness is not defined" in told[0]
    monkeypatch.setattr("jettison.pipeline.split.near_duplicates.MOST_CHECKS", 30)
    values = np.tile(np.arange(40), (N, 1))
    values[:, 39] = np.arange(N) + 100
    near = find_near(pool_of(values, tmp_path / "same", np.full(N, 40)), DIVISION)
    assert 0 < near.looked_at < near.sealed
    tables = {"source": Example({}, N)}
    told = list(notes_on(near, tables, 0, asked=True))
    assert f"among {near.looked_at} of 40 sealed rows" in told[0]
