"""Rows are used only as declared: uses, consent row by row, columns that nothing keeps."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.splits import Labels
from jettison.errors import DataError
from jettison.pipeline.split.governance import (
    check_uses,
    consenting,
    unused_columns,
    without_names,
)


def table(**columns: list[object]) -> Example:
    arrays = {name: np.array(values) for name, values in columns.items()}
    return Example(arrays, len(next(iter(arrays.values()))))


TABLES = {"source": table(x=[1, 2, 3, 4], may=[True, False, True, False], age=[3, 4, 5, 6])}


@pytest.mark.parametrize(
    ("uses", "tables", "lacking"),
    [
        ((), ("source",), ""),
        (("calibration", "selection", "certification"), ("source",), ""),
        (("training", "selection", "certification"), ("source",), ""),
        (("calibration", "selection"), ("source",), "certification"),
        (("calibration", "selection"), ("fitting", "selection"), ""),
        (
            ("selection",),
            ("fitting", "selection", "certification"),
            "calibration and certification",
        ),
    ],
)
def test_each_use_must_be_allowed(
    uses: tuple[str, ...], tables: tuple[str, ...], lacking: str
) -> None:
    """A use that is left out is refused by name; without a declaration all are allowed."""
    section = DataSection(allowed_uses=uses)
    given = dict.fromkeys(tables, TABLES["source"])
    if not lacking:
        check_uses(section, given)
        return
    with pytest.raises(DataError, match=f"use the rows for {lacking} too"):
        check_uses(section, given)


@pytest.mark.parametrize(
    "told",
    [
        [True, False, True, False],
        [1, 0, 1, 0],
        [1.0, np.nan, 1.0, 0.0],
        ["yes", "No", "TRUE", ""],
        np.array(["yes", None, "1", "false"], dtype=object),
    ],
)
def test_rows_without_consent_are_left_out_and_counted(told: list[object]) -> None:
    """A missing value is no consent, and the column goes with the rows."""
    source = Example({"x": np.arange(4), "may": np.asarray(told)}, 4)
    kept, notes = consenting(DataSection(consent="may"), {"source": source})
    assert kept["source"].columns["x"].tolist() == [0, 2]
    assert set(kept["source"].columns) == {"x"}
    assert "2 of 4 rows" in notes[0]


@pytest.mark.parametrize(
    ("told", "word"),
    [([True, True], "no column"), (["yes", "maybe"], "maybe"), ([False, False], "nobody")],
)
def test_a_consent_that_can_t_be_read_is_refused(told: list[object], word: str) -> None:
    """Another name, another word than yes and no, nobody at all."""
    name = "other" if word == "no column" else "may"
    with pytest.raises(DataError, match=word):
        consenting(DataSection(consent="may"), {"source": table(**{name: told})})


def test_without_a_column_all_rows_stay() -> None:
    """Nothing is said where nothing was declared."""
    kept, notes = consenting(DataSection(), TABLES)
    assert kept == TABLES
    assert notes == ()


def test_columns_that_nothing_keeps_are_listed() -> None:
    """What feeds the model or has a role is used; the others are named."""
    section = DataSection(target="age")
    assert list(unused_columns(section, TABLES, ["x", "may"])) == []
    (note,) = unused_columns(section, TABLES, ["x"])
    assert "1 column is not used" in note
    assert "`may`" in note


def test_names_of_units_become_numbers() -> None:
    """Who stands behind a row is not kept, only which rows belong together."""
    units = np.array(["eve", "ada", "eve", "bob"])
    told = without_names(Labels(None, units=units)).units
    assert told is not None
    assert told.tolist() == ["0", "1", "0", "2"]
    assert without_names(Labels(None)).units is None
