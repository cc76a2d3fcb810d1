"""The file that a person labels is blind, and answers that can't be used are refused at once."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jettison.assessment.label_files import (
    read_answers,
    tasks_of,
    write_answers,
    write_tasks,
)
from jettison.assessment.pictures import picture_of
from jettison.cli import app
from jettison.domain.extension_points import Example
from jettison.errors import DataError, UsageError


def table() -> Example:
    """Two rows: a text with everything that CSV must quote, a picture, a number, a group."""
    return Example(
        {
            "text": np.array(['he said "no",\nthen left', "=1+1"], dtype=object),
            "label": np.array(["in", "put"], dtype=object),
            "pixels": np.arange(2 * 64, dtype=np.float32).reshape(2, 1, 8, 8),
            "few": np.array([[1, 2], [3, 4]]),
            "sex": np.array(["f", "m"], dtype=object),
        },
        2,
    )


def test_the_file_holds_the_rows_as_given_and_nothing_else(tmp_path: Path) -> None:
    """Row number, input columns, an empty label; no group, no answer of a model."""
    tasks = tasks_of(table(), [7, 3], ["text", "label", "pixels", "few"])
    write_tasks(tasks, tmp_path / "label" / "to_label.csv")
    with open(tmp_path / "label" / "to_label.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["row", "text", "label (input)", "pixels", "few", "label"]
    assert [line["row"] for line in lines] == ["7", "3"]
    assert lines[0]["text"] == 'he said "no",\nthen left'
    assert lines[1]["text"] == "'=1+1"
    assert lines[1]["few"] == "[3, 4]"
    assert [line["label"] for line in lines] == ["", ""]
    picture = tmp_path / "label" / lines[0]["pixels"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """Neither a value nor a name of a column; numbers stay as they are."""
    given = (
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "-1.5",
        "+2e3",
        "a=1",
    )
    columns = {f"={place}": np.array([text], dtype=object) for place, text in enumerate(given)}
    tasks = tasks_of(Example(columns, 1), [0], list(columns))
    write_tasks(tasks, tmp_path / "to_label.csv")
    with open(tmp_path / "to_label.csv", newline="") as file:
        names, values = csv.reader(file)
    assert all(name.startswith("'=") for name in names[1:-1])
    assert values[1:-1] == [*(f"'{text}" for text in given[:6]), *given[6:]]
    assert list(tasks[0].values.values()) == list(given)


def test_what_is_an_image(tmp_path: Path) -> None:
    """Bytes of an image file and arrays with two long sides are; vectors and texts are not."""
    assert picture_of(b"\xff\xd8\xff rest") == b"\xff\xd8\xff rest"
    assert picture_of(np.zeros((3, 16, 16), dtype=np.uint8)) is not None
    assert picture_of(np.zeros((16, 16, 3), dtype=np.float32)) is not None
    assert picture_of(b"text") is None
    assert picture_of(np.zeros(784)) is None
    assert picture_of(np.zeros((2, 300))) is None
    assert picture_of("a.png") is None


def test_answers_come_back(tmp_path: Path) -> None:
    """A spreadsheet's byte order mark, other columns and the order of rows do not matter."""
    path = tmp_path / "a.csv"
    path.write_text("﻿label,note,row\ncat,x,3\n dog ,,7\n", encoding="utf-8")
    assert read_answers(path, [7, 3], complete=True) == {3: "cat", 7: "dog"}
    write_answers({7: "dog"}, path)
    assert read_answers(path, [7, 3], complete=False) == {7: "dog"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("row,label\n3,cat\n", r"1 rows are without a label \(7\)"),
        ("row,label\n3,cat\n7,\n", "without a label"),
        ("row,label\n3,cat\n7,dog\n9,cat\n", r"were not asked for \(9\)"),
        ("row,label\n3,cat\n7,dog\n3,dog\n", r"stand there twice \(3\)"),
        ("row,label\n3,cat\n3,dog\nx,cat\n", "without a label.*not asked for.*twice"),
        ("id,label\n3,cat\n", "need the columns `row` and `label`"),
        ("", "2 rows are without a label"),
    ],
)
def test_bad_answers_are_one_clear_error(tmp_path: Path, text: str, told: str) -> None:
    """Everything that is wrong is said at once."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_answers(path, [7, 3], complete=True)


def test_answers_stand_beside_a_text_of_any_length(tmp_path: Path) -> None:
    """The file that was written for labelling is read back, and the limit of others stays."""
    usual = csv.field_size_limit()
    texts = Example({"text": np.array(["word " * 40_000], dtype=object)}, 1)
    path = tmp_path / "to_label.csv"
    write_tasks(tasks_of(texts, [7], ["text"]), path)
    path.write_text(path.read_text().rstrip("\r\n") + "cat\n")
    assert read_answers(path, [7], complete=True) == {7: "cat"}
    assert csv.field_size_limit() == usual


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(DataError, match=r"nowhere\.csv can't be read"):
        read_answers(tmp_path / "nowhere.csv", [1], complete=True)


def test_the_page_takes_no_file_of_answers(tmp_path: Path) -> None:
    """It would write over what somebody filled in by hand."""
    words = ["label", str(tmp_path), "--page", "--answers", str(tmp_path / "mine.csv")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert "--page and --answers don't go together" in str(done.exception)
