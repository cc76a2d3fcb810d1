"""Rows are taken apart by what their inputs are, and parts are replaced without loss."""

from __future__ import annotations

import base64
import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.attribution import _Case, _method, _replaced, _with_pad, _written
from jettison.assessment.attribution_parts import Part, Parted, layout_of, take_apart
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Rows
from jettison.errors import MissingDependency


def model(*inputs: TensorSpec, encoder: Encoder | None = None) -> Model:
    return Model(
        Artifact("onnx_file", "/m", ("model.onnx",), "0" * 64, 1),
        frozenset(),
        inputs,
        (TensorSpec("scores", "float32", ("batch", 2)),),
        "scores",
        "classification",
        encoder or Encoder("arrays"),
    )


COLUMNS = model(
    TensorSpec("age", "float32", ("batch", 1)),
    TensorSpec("job", "str", ("batch", 1)),
    encoder=Encoder("tabular", {"columns": ["age", "job title"]}),
)
IMAGE = model(TensorSpec("image", "float32", ("batch", 3, 20, 10)))


def test_a_table_has_one_part_a_column() -> None:
    """Each column is shown with its value, under the name that the user knows."""
    row = {"age": np.array([41.5], np.float32), "job": np.array(["clerk"])}
    assert layout_of(COLUMNS, ()) == "table"
    assert [p.label for p in take_apart(COLUMNS, "table", row).parts] == [
        "age = 41.5",
        "job title = clerk",
    ]


def test_a_matrix_has_one_part_a_column_too() -> None:
    """Columns of a matrix are named by the encoder."""
    matrix = model(
        TensorSpec("X", "float32", ("batch", 2)),
        encoder=Encoder("tabular", {"columns": ["a", "b"], "layout": "matrix"}),
    )
    parts = take_apart(matrix, layout_of(matrix, ()), {"X": np.array([1.0, 2.0])}).parts
    assert [(p.label, p.place) for p in parts] == [("a = 1", 0), ("b = 2", 1)]


def test_a_longer_text_is_not_cut() -> None:
    """A short text of one row may be replaced by a longer one of another row."""
    row = {"age": np.array([1.0]), "job": np.array(["a"])}
    other = {"age": np.array([2.0]), "job": np.array(["electrician"])}
    part = take_apart(COLUMNS, "table", row).parts[1]
    changed = _replaced(row, (part,), other, None)
    assert changed["job"].tolist() == ["electrician"]
    assert changed["age"] is row["age"]
    assert row["job"].tolist() == ["a"]


def test_an_image_is_cut_into_patches_that_cover_it() -> None:
    """Patches cover every pixel once, and the picture opens as a PNG of the image's size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    row = {"image": rng.random((3, 20, 10), dtype=np.float32)}
    parted = take_apart(IMAGE, layout_of(IMAGE, ()), row)
    seen = np.zeros((3, 20, 10))
    for part in parted.parts:
        seen[part.place] += 1
    assert (seen == 1).all()
    assert parted.grid == (8, 8)
    assert Image.open(io.BytesIO(base64.b64decode(parted.picture))).size == (10, 20)
    filled = _replaced(row, parted.parts, row, parted.fill)["image"]
    np.testing.assert_allclose(filled[0], row["image"][0].mean(), rtol=1e-5)


def test_an_image_needs_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependency, match=r"jettison\[data\]"):
        take_apart(IMAGE, "image", {"image": np.zeros((3, 20, 10), np.float32)})


def test_channels_may_come_last() -> None:
    """An image of TensorFlow's layout is cut along its height and width."""
    last = model(TensorSpec("image", "float32", ("batch", 4, 6, 1)))
    parted = take_apart(last, "image", {"image": np.zeros((4, 6, 1), np.float32)})
    assert parted.grid == (4, 6)


def test_anything_else_is_cut_into_stretches() -> None:
    """2,048 bytes become 32 stretches in order, without a hole."""
    long = model(TensorSpec("bytes", "int32", ("batch", 2048)))
    assert layout_of(long, ()) == "sequence"
    parts = take_apart(long, "sequence", {"bytes": np.zeros(2048, np.int32)}).parts
    assert len(parts) == 32
    assert [p.place.start for p in parts[1:]] == [p.place.stop for p in parts[:-1]]
    assert parts[-1].label == "bytes 1984 to 2047"


def test_text_has_one_part_a_token_but_for_special_ones(tmp_path: Path) -> None:
    """Tokens stand as the tokenizer writes them; [CLS] and [SEP] stay, [MASK] takes a place."""
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    made.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    made.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder("tokenizer", {"pad_id": 0}, str(tmp_path), ("tokenizer.json",))
    text = model(TensorSpec("input_ids", "int64", ("batch", "sequence")), encoder=encoder)
    assert layout_of(text, ("input_ids",)) == "text"
    row = {"input_ids": np.array([1, 4, 5, 2])}
    parted = take_apart(text, "text", row)
    assert [p.label for p in parted.parts] == ["good", "film"]
    changed = _replaced(row, parted.parts[:1], row, parted.fill)
    assert changed["input_ids"].tolist() == [1, 3, 5, 2]


def test_rows_of_many_lengths_are_padded_with_their_lengths(tmp_path: Path) -> None:
    """Variants of ragged rows are written as the data stage writes rows."""
    like = Rows("/none", ("ids",), 0, {"ids": 9.0})
    written = _written([{"ids": np.array([1, 2])}, {"ids": np.array([3])}], like, tmp_path / "rows")
    assert written.column("ids").tolist() == [[1, 2], [3, 9]]
    lengths = written.lengths()
    assert lengths is not None
    assert lengths.tolist() == [2, 1]


def test_a_table_of_one_matrix_without_names_is_a_sequence() -> None:
    """Bare arrays have no columns to name, whatever their width."""
    bare = model(TensorSpec("X", "float32", ("batch", 5)))
    assert layout_of(bare, ()) == "sequence"
    assert dataclasses.is_dataclass(take_apart(bare, "sequence", {"X": np.zeros(5)}))


def test_the_method_says_what_stood_in_for_a_part() -> None:
    """Padded rows are filled with padding, so the page doesn't speak of values of other rows."""
    part = Part("0-9", "x", slice(0, 10))
    padded = Rows("/r", ("x",), 4, {"x": 0})
    filled = _Case(0, _with_pad(Parted((part,)), padded), 0, 1)
    drawn = _Case(0, Parted((part,)), 0, 3)
    assert "padding" in _method("sequence", [filled])
    assert "other selection rows" not in _method("sequence", [filled])
    assert "values of 3 other selection rows" in _method("sequence", [drawn])
