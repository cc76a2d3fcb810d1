"""Exemplars and slices: a planted slice is named in plain words, and chance is not."""

from __future__ import annotations

import dataclasses
import tomllib
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from jettison.assessment import finding
from jettison.assessment.conditions import conditions_of, holds
from jettison.assessment.exemplars import exemplars_of
from jettison.assessment.finding import add_slices, config_lines
from jettison.assessment.search_rows import SearchRows
from jettison.assessment.slices import find
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Evidence, Example
from jettison.domain.found import Condition, Found
from jettison.domain.record import from_json, to_json
from jettison.domain.splits import Labels
from jettison.errors import DataError, UsageError
from jettison.pipeline.split.places import RawRows
from jettison.reporting.found import found_parts


def rows(n: int = 1200, harm: float = 0.5, seed: int = 0) -> SearchRows:
    """Selection rows whose long texts from the north lose answers; elsewhere 1 % change."""
    rng = np.random.default_rng(seed)
    site = rng.choice(["north", "south"], n).astype(object)
    words = rng.integers(1, 40, n)
    text = np.array([" ".join(["word"] * int(k)) for k in words], dtype=object)
    targets = rng.integers(0, 2, n)
    before = np.where(rng.random(n) < 0.95, targets, 1 - targets)
    hurt = (site == "north") & (words >= 30) & (rng.random(n) < harm)
    after = np.where(hurt | (rng.random(n) < 0.01), 1 - before, before)
    scores = np.where(np.arange(2) == before[:, None], 0.9, 0.1).astype(np.float32)
    table = Example({"text": text, "site": site, "y": targets, "words": words}, n)
    section = DataSection(source="d.parquet", target="y", groups=("site",))
    raw = RawRows("d.parquet", np.arange(n) * 2, table, Labels(targets, {"site": site}))
    record = SimpleNamespace(
        configuration=SimpleNamespace(data=section), model=SimpleNamespace(prediction="s")
    )
    evidence = Evidence(targets, {"s": scores}, {"s": scores}, "s", ("no", "yes"))
    trial = SimpleNamespace(recipe="int8")
    return SearchRows(cast(Any, record), cast(Any, trial), raw, evidence, before, after)


def test_a_planted_slice_is_named() -> None:
    """Both its conditions are found, and its harm is counted on rows that did not propose it."""
    found = find(rows())
    best = found.slices[0]
    told = str(best)
    assert "site is north" in told
    assert "at least" in told
    assert best.name == "slice_1"
    assert best.p_value < 1e-6
    assert best.low <= best.share <= best.high
    assert best.share > 5 * best.elsewhere
    assert best.certifiable
    assert from_json(Found, to_json(found)) == found


def test_chance_is_not_called_a_slice() -> None:
    """Without a harmed slice, few seeds give a corrected p-value below .05."""
    low = [find(rows(600, harm=0.0, seed=seed)) for seed in range(12)]
    hits = sum(any(one.p_value < 0.05 for one in found.slices) for found in low)
    assert hits <= 2


def test_exemplars_are_the_rows_that_changed() -> None:
    """Each with its number in the user's file, the answers by name, and the right one."""
    given = rows()
    exemplars = exemplars_of(given)
    changed = np.flatnonzero(given.before != given.after)
    assert sorted(one.row for one in exemplars) == sorted(int(2 * i) for i in changed)
    assert all(one.before != one.after for one in exemplars)
    assert {one.truth for one in exemplars} <= {"no", "yes"}
    found = find(given)
    assert found.lost is not None
    assert found.gained is not None
    assert found.lost + found.gained == len(exemplars)


def test_without_targets_change_is_what_counts() -> None:
    """Nothing is called lost where nobody knows who is right."""
    given = rows()
    bare = dataclasses.replace(given.raw, labels=Labels(None, given.raw.labels.groups))
    found = find(dataclasses.replace(given, raw=bare))
    assert (found.lost, found.gained) == (None, None)
    assert "changed" in found.harm


def test_too_few_rows_are_refused() -> None:
    """A slice of a handful of rows is no finding."""
    with pytest.raises(DataError, match="at least 80"):
        find(rows(60))


def test_slices_become_columns_of_the_next_data(tmp_path: Path) -> None:
    """The new file has a yes/no column that means what the slice says; lines name it as a group."""
    found = find(rows())
    next_rows = rows(500, seed=1).raw.table
    frame = pd.DataFrame({name: list(values) for name, values in next_rows.columns.items()})
    frame.to_parquet(tmp_path / "next.parquet")
    added = add_slices(found, tmp_path / "next.parquet", tmp_path / "out.parquet")
    made = pd.read_parquet(tmp_path / "out.parquet")
    first = next(one for one in found.slices if one.certifiable)
    inside = np.logical_and.reduce([holds(c, next_rows) for c in first.conditions])
    assert ((made[first.name] == "yes") == inside).all()
    assert inside.any()
    lines = config_lines(found, ("site",))
    assert all(f'"{name}"' in lines for name in added)
    with pytest.raises(UsageError, match="new file"):
        add_slices(found, tmp_path / "next.parquet", tmp_path / "out.parquet")


def test_confidence_can_not_be_a_group() -> None:
    """Data alone does not tell how sure the original is."""
    with pytest.raises(DataError, match="data alone"):
        holds(Condition("", "sure below", 0.8), rows(100).raw.table)
    with pytest.raises(DataError, match="no column `gone`"):
        holds(Condition("gone", "is", "x"), rows(100).raw.table)


def test_words_of_the_data_are_no_markup_in_the_terminal() -> None:
    """Classes, values and files with square brackets are shown as they are, and never raise."""
    found = find(rows())
    first = dataclasses.replace(found.exemplars[0], before="[/INST]", after="[red]no")
    best = dataclasses.replace(found.slices[0], conditions=(Condition("t", "is", "[/b]"),))
    found = dataclasses.replace(found, exemplars=(first,), slices=(best,), location="[/d].parquet")
    told = Console(width=200)
    with told.capture() as caught:
        told.print(*found_parts(found, ""))
    assert all(word in caught.get() for word in ("[/INST]", "[red]no", "t is [/b]", "[/d].parquet"))


def test_rows_without_a_value_are_on_neither_side() -> None:
    """A missing number is neither below a value nor at least as large."""
    table = Example({"x": np.array([1.0, np.nan, 3.0])}, 3)
    assert holds(Condition("x", "below", 2.0), table).tolist() == [True, False, False]
    assert holds(Condition("x", "at least", 2.0), table).tolist() == [False, False, True]
    texts = Example({"t": np.array(["one two", None, "one"], dtype=object)}, 3)
    assert holds(Condition("t", "words below", 2.0), texts).tolist() == [False, False, True]


def test_a_file_with_slices_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    """Writing that breaks off leaves neither the file nor a part of it."""
    found, data = find(rows()), tmp_path / "rows.csv"
    pd.DataFrame({"text": ["a b"], "site": ["north"], "y": [1], "words": [2]}).to_csv(
        data, index=False
    )

    def broken(self: pd.DataFrame, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", broken)
    with pytest.raises(OSError, match="full"):
        add_slices(found, data, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_classes_are_no_formulas_in_the_file(tmp_path: Path, monkeypatch: Any) -> None:
    """A class that a spreadsheet would run gets an apostrophe; a negative number stays one."""
    found = find(rows())
    first = dataclasses.replace(found.exemplars[0], before="=1+1", after="-1")
    monkeypatch.setattr(finding, "search_rows", lambda run, recipe: None)
    monkeypatch.setattr(
        finding, "find", lambda given: dataclasses.replace(found, exemplars=(first,))
    )
    finding.find_in(tmp_path)
    line = (tmp_path / "find/exemplars.csv").read_text().splitlines()[1]
    assert line.split(",")[1:3] == ["'=1+1", "-1"]


def test_one_long_text_makes_no_other_wider() -> None:
    """Memory is that of the texts; a first row without a text hides no other; pictures are no slice."""
    given = rows(400)
    texts = given.raw.table.columns["text"].copy()
    texts[0], texts[1] = None, "long " * 50_000
    pictures = np.empty(400, dtype=object)
    pictures[:] = [bytes([place % 256]) * 1000 for place in range(400)]
    table = Example({"text": texts, "picture": pictures}, 400)
    raw = dataclasses.replace(given.raw, table=table)
    tracemalloc.start()
    made = conditions_of(raw, DataSection(), np.ones(400, dtype=bool), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {(one.column, one.test) for one in made} == {
        ("text", "words at least"),
        ("text", "words below"),
    }
    assert peak < 50e6


def test_slices_go_beside_pictures(tmp_path: Path) -> None:
    """Arrays of several axes come back from the new file as they were."""
    from jettison.pipeline.split.reading import read_file

    found = find(rows())
    one = dataclasses.replace(found.slices[0], conditions=(Condition("site", "is", "a\nb"),))
    found = dataclasses.replace(found, slices=(one,))
    pixels = np.arange(3 * 2 * 4 * 5, dtype=np.float32).reshape(3, 2, 4, 5)
    np.savez(tmp_path / "next.npz", pixels=pixels, site=np.array(["a\nb", "b", "c"]))
    add_slices(found, tmp_path / "next.npz", tmp_path / "out.parquet")
    made = read_file(str(tmp_path / "out.parquet"), "source")
    np.testing.assert_array_equal(made.columns["pixels"], pixels)
    assert made.columns[one.name].tolist() == ["yes", "no", "no"]
    lines = config_lines(found, ('the "site"',)).splitlines()
    assert [line.startswith("#") for line in lines] == [True, True, False]
    assert tomllib.loads(lines[-1])["groups"] == ['the "site"', one.name]
