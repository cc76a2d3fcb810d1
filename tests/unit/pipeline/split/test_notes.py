"""Warnings about data: a column that says whom rows come from, and was not declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from split_tables import SECTION, load, table, text_model

from jettison.domain.configuration import DataSection

N = 300


def noted(folder: Path, name: str, values: Any, **section: Any) -> list[str]:
    """The notes about a column that stands beside those of the small table."""
    asked = dataclasses.replace(SECTION, unit="", **section)
    given = {key: column for key, column in table().items() if key != "author"}
    made = load({**given, name: np.asarray(values)}, folder, asked)
    return [note for note in made.notes if "whom a row comes from" in note]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("document", [row // 10 for row in range(N)]),
        ("patient_id", [row // 2 for row in range(N)]),
        ("source", [f"doc-{row // 10:04d}" for row in range(N)]),
        ("origin", [f"{row // 5:08x}-9f" for row in range(N)]),
    ],
)
def test_many_rows_of_one_value_are_warned_about(tmp_path: Path, name: str, values: Any) -> None:
    """By its name or by its values, the column is named, and what to declare."""
    (note,) = noted(tmp_path, name, values)
    assert f'declare unit = "{name}"' in note
    assert "rows repeat an earlier value" in note


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("row_id", list(range(N))),
        ("city", [f"town {row % 30}" for row in range(N)]),
        ("checking", [f"A1{row % 5}x" for row in range(N)]),
        ("length", [row // 10 for row in range(N)]),
    ],
)
def test_what_names_no_unit_is_left_alone(tmp_path: Path, name: str, values: Any) -> None:
    """A value a row, plain words, a few codes and numbers are no units."""
    assert noted(tmp_path, name, values) == []


def test_a_declared_unit_is_not_warned_about(tmp_path: Path) -> None:
    """Once declared, there is nothing left to say, whatever else looks alike."""
    given = {**table(), "document": np.arange(N) // 10}
    made = load(given, tmp_path, dataclasses.replace(SECTION, unit="document"))
    assert not any("whom a row comes from" in note for note in made.notes)


def test_texts_that_are_cut_are_counted(
    tmp_path: Path, write_wordpiece: Callable[[Path], list[str]]
) -> None:
    """Neither model reads what comes after `max_length` tokens, so how many texts go on is told."""
    write_wordpiece(tmp_path / "tokenizer")
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [" ".join("".join(rng.choice(letters, 6)) for _ in range(8)) for _ in range(N)]
    given = {"text": np.array(texts), "y": rng.choice(["no", "yes"], N)}
    section = DataSection(inputs=("text",), target="y")
    told = {}
    for longest in (8, 200):
        like = text_model(tmp_path / "tokenizer", longest)
        notes = load(given, tmp_path / str(longest), section, like).notes
        told[longest] = [note for note in notes if "tokens or more" in note]
    assert told[200] == []
    (note,) = told[8]
    assert note.startswith("300 of 300 texts have 8 tokens or more")
    assert "`max_length` in `model`" in note
