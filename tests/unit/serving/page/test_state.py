"""What the page is told: numbers that are there, none that are not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.serving.page.state import latency
from jettison.serving.page.trying import LARGEST_ROW, example

MODEL = Model(
    artifact=Artifact("onnx_file", "/nowhere", ("model.onnx",), "d" * 64, 1),
    traits=frozenset({"onnx"}),
    inputs=(TensorSpec("x", "float32", ("batch", 3)),),
    outputs=(TensorSpec("scores", "float32", ("batch", 2)),),
    prediction="scores",
    task="classification",
    encoder=Encoder("arrays", {"columns": ["x"]}),
)


def row(model: Model) -> Any:
    """The example of a row, read as JSON."""
    told = example(model)
    assert told["kind"] == "row"
    return json.loads(told["example"])


@pytest.mark.parametrize(
    ("n", "known"), [(0, set()), (19, set()), (20, {"p50"}), (199, {"p50"}), (200, {"p50", "p95"})]
)
def test_a_percentile_needs_enough_answers(n: int, known: set[str]) -> None:
    """Too few give no number, not a wrong one; how many there are is told."""
    told = latency([0.001 * (number + 1) for number in range(n)])
    assert told["n"] == n
    assert {name for name in ("p50", "p95") if told[name] is not None} == known


def test_percentiles_do_not_need_order() -> None:
    """The last answers come as they came."""
    seconds = [0.001 * ((37 * number) % 500 + 1) for number in range(500)]
    told = latency(seconds)
    assert told["p50"] == pytest.approx(0.251)
    assert told["p95"] == pytest.approx(0.476)


def test_a_text_model_takes_a_text() -> None:
    """An encoder with a tokenizer and one column: just type."""
    encoder = Encoder("tokenizer", {"columns": ["text"]}, "/x", ("tokenizer.json",))
    assert example(replace(MODEL, encoder=encoder))["kind"] == "text"
    pair = replace(encoder, settings={"columns": ["premise", "claim"]})
    assert row(replace(MODEL, encoder=pair)) == {"premise": "a text", "claim": "a text"}


def test_a_row_has_zeros_in_the_shape_of_each_input() -> None:
    """Free dimensions are 1; a column of width 1 is one value."""
    assert row(MODEL) == {"x": [0, 0, 0]}
    inputs = (
        TensorSpec("a", "float32", ("n", 1)),
        TensorSpec("b", "str", ("n", 1)),
        TensorSpec("c", "int64", ("n", "t", 2)),
    )
    several = replace(MODEL, inputs=inputs, encoder=Encoder("tabular", {}))
    assert row(several) == {"a": 0, "b": "", "c": [[0, 0]]}


def test_a_table_of_many_columns_is_one_value_each() -> None:
    """A matrix that is fed by named columns, with a category that the model knows."""
    settings = {"columns": ["age", "town", "pay"], "categories.town": ["Bern", "Basel"]}
    assert row(replace(MODEL, encoder=Encoder("tabular", settings))) == {
        "age": 0,
        "town": "Bern",
        "pay": 0,
    }


def test_a_row_that_is_too_large_to_type_says_so() -> None:
    """A picture as numbers can't be typed; the page tells how many they are."""
    inputs = (TensorSpec("x", "float32", ("n", 3, 224, 224)),)
    told = example(replace(MODEL, inputs=inputs))
    assert told["kind"] == "none"
    assert "150,528 numbers" in told["label"]
    small = (TensorSpec("x", "float32", ("n", LARGEST_ROW)),)
    assert example(replace(MODEL, inputs=small))["kind"] == "row"
