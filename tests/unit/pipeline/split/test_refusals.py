"""Bad data: each fault is one clear error that names the place and the way out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from split_tables import SECTION, N, load, model, refused, table, text_model

from jettison.domain.configuration import DataSection
from jettison.errors import DataError


def holed(name: str, value: Any, *, row: int = 5) -> dict[str, Any]:
    given = table()
    column = given[name].astype(object)
    column[row] = value
    return dict(given, **{name: column})


REFUSED: list[tuple[str, dict[str, Any], DataSection, str]] = [
    ("target", {}, dataclasses.replace(SECTION, target="label"), "has no column `label`"),
    ("near", {}, dataclasses.replace(SECTION, target="yy"), "did you mean `y`"),
    ("group", {}, dataclasses.replace(SECTION, groups=("race",)), "has no column `race`"),
    ("unit", {}, dataclasses.replace(SECTION, unit="who"), "has no column `who`"),
    ("weight", {}, dataclasses.replace(SECTION, weight="ww"), "has no column `ww`"),
    ("input", {}, dataclasses.replace(SECTION, inputs=("a", "c")), "has no column `c`"),
    ("leak", {}, dataclasses.replace(SECTION, inputs=("a", "y")), "`y` is also an input"),
    ("hole in target", holed("y", None), SECTION, "target column `y`.*no value in 1 of 300"),
    ("hole in group", holed("sex", ""), SECTION, "group column `sex`.*row 5"),
    ("hole in unit", holed("author", None), SECTION, "unit column `author`"),
    ("hole in weight", holed("w", np.nan), SECTION, "weight column `w`"),
    ("negative weight", holed("w", -1.0), SECTION, "numbers from 0 up; row 5 holds -1"),
    ("infinite weight", holed("w", np.inf), SECTION, "finite numbers"),
    ("no weight", {"w": np.zeros(N)}, SECTION, "all 0"),
    ("weight is text", {"w": np.array(["a"] * N)}, SECTION, "must hold numbers"),
    ("one class", {"y": np.array(["no"] * N)}, SECTION, "one class only"),
    ("new label", holed("y", "maybe"), SECTION, "'maybe'.*its labels: 'no', 'yes'"),
    ("fraction", {"y": np.linspace(0, 1, N)}, SECTION, "class names or whole numbers"),
    ("class 2", {"y": np.arange(N) % 3}, SECTION, "from 0 to 2.*has 2 classes"),
    ("class -1", {"y": np.arange(N) % 2 - 1}, SECTION, "from -1 to 0"),
    ("matrix", {"y": np.zeros((N, 2))}, SECTION, "one value a row"),
    ("NaN", holed("a", np.nan), SECTION, "NaN|not finite|missing"),
    ("infinite", holed("a", np.inf), SECTION, "infinite|not finite|inf"),
    ("text feature", {"a": np.array(["one"] * N)}, SECTION, "`a`"),
    ("wrong shape", {"a": np.zeros((N, 3))}, SECTION, "shape"),
    ("mixed", holed("sex", 3), SECTION, "mixes text and other values.*row"),
    ("object", holed("a", object()), SECTION, "row 5"),
    ("lengths", {"a": np.zeros(N - 1)}, SECTION, "differ in their number of rows"),
    ("ragged", {"a": [[1], [1, 2]] * (N // 2)}, SECTION, "different shapes"),
    ("scalar", {"a": 3.0}, SECTION, "single value"),
    ("dates", {"a": np.array(["2020-01-01"] * N, dtype="datetime64[D]")}, SECTION, "dtype"),
]


@pytest.mark.parametrize(
    ("columns", "section", "words"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_bad_data_is_one_clear_error(
    tmp_path: Path, columns: dict[str, Any], section: DataSection, words: str
) -> None:
    """Each fault of the data names the column and what is allowed."""
    with pytest.raises(DataError, match=words):
        load({**table(), **columns}, tmp_path, section)


def test_names_without_labels_say_how_to_give_them(tmp_path: Path) -> None:
    """Text targets of a model without class names: the message says where to put them."""
    assert "labels.json" in refused(table(), tmp_path, like=model(labels=()))


def test_a_target_that_the_model_asks_for_is_refused(tmp_path: Path) -> None:
    """A column that is an input by name can't be the right answer."""
    given = dict(table(), x=np.zeros((N, 2), dtype=np.float32))
    assert "also an input" in refused(given, tmp_path, DataSection(target="x"))


def test_an_embedding_takes_no_target(tmp_path: Path) -> None:
    """Cosine needs no labels; naming a target is a mistake."""
    words = refused(table(), tmp_path, like=model(task="embedding"))
    assert "leave `target`" in words


@pytest.mark.parametrize("value", ["high", np.inf, None])
def test_a_regression_needs_finite_numbers(tmp_path: Path, value: Any) -> None:
    """Text, infinity and holes are no values to regress on."""
    given = table()
    given["y"] = np.linspace(0, 1, N).astype(object)
    given["y"][9] = value
    like = model(classes=1, labels=(), task="regression")
    assert "`y`" in refused(given, tmp_path, like=like)


def test_too_few_units_are_refused(tmp_path: Path) -> None:
    """Ten authors can't be divided in three, nor can ten rows."""
    few = dict(table(), author=np.arange(N) % 10)
    assert "10 units, too few" in refused(few, tmp_path)
    alone = {k: v[:10] for k, v in table().items()}
    assert "10 different rows" in refused(alone, tmp_path, dataclasses.replace(SECTION, unit=""))


def test_a_column_beside_the_text_is_not_guessed_to_be_its_pair(
    tmp_path: Path, write_wordpiece: Callable[[Path], list[str]]
) -> None:
    """An id beside the text is refused with the way to say which; named, one or two are taken."""
    write_wordpiece(tmp_path / "tokenizer")
    like = text_model(tmp_path / "tokenizer", 32)
    given = {
        "id": np.array([f"row-{i}" for i in range(N)], dtype=object),
        "text": np.array(
            [f"a good film {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(N)], dtype=object
        ),
        "y": table()["y"],
    }
    told = refused(given, tmp_path / "run", DataSection(target="y"), like)
    assert "2 columns that may be the text" in told
    assert '["text"]' in told
    assert '["id", "text"]' in told
    one = load(given, tmp_path / "one", DataSection(inputs=("text",), target="y"), like)
    two = load(given, tmp_path / "two", DataSection(inputs=("id", "text"), target="y"), like)
    assert one.encoder is not None
    assert two.encoder is not None
    assert one.encoder.settings["columns"] == ["text"]
    assert two.encoder.settings["columns"] == ["id", "text"]
    del given["id"]
    alone = load(given, tmp_path / "alone", DataSection(target="y"), like)
    assert alone.encoder is not None
    assert alone.encoder.settings["columns"] == ["text"]
