"""Limits of requests: what passes, what is refused and how, and settings that don't fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ConfigError
from jettison.guardrails.input_limits import InputLimits

MODEL = Model(
    artifact=Artifact("onnx_file", "/nowhere", ("model.onnx",), "d" * 64, 1),
    traits=frozenset({"onnx"}),
    inputs=(
        TensorSpec("x", "float32", ("batch", 2)),
        TensorSpec("ids", "int64", ("batch", "tokens")),
        TensorSpec("text", "str", ("batch",)),
        TensorSpec("on", "bool", ("batch", 1)),
        TensorSpec("age", "int64", ("batch",)),
    ),
    outputs=(),
    prediction="",
    task="classification",
    encoder=Encoder("arrays", {}),
)


def request(**changed: object) -> dict[str, np.ndarray]:
    """Two rows, with other arrays in place of some."""
    arrays: dict[str, object] = {
        "x": np.array([[0.5, 1.0], [0.0, 0.25]], np.float32),
        "ids": np.array([[3, 4, 5], [6, 0, 0]]),
        "text": np.array(["good", "bad"], object),
        "on": np.array([[True], [False]]),
        "age": np.array([30, 40]),
        **changed,
    }
    return {name: np.asarray(array) for name, array in arrays.items()}


def told(settings: Mapping[str, object], **changed: object) -> str | None:
    """Why a request is refused; `None` where it passes."""
    refusal = InputLimits().prepare(MODEL, settings)(request(**changed))
    return None if refusal is None else refusal.reason


def test_without_settings_everything_passes() -> None:
    """Nothing is limited that nobody limited."""
    assert told({}) is None


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_rows(rows: int) -> None:
    """As many as allowed pass, one more does not."""
    found = told({"rows": rows})
    assert (found is None) == (rows >= 2)
    assert found is None or "at most 1" in found


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0, 1)])
def test_values_at_the_ends_of_a_range_pass(low: float, high: float) -> None:
    """The range is closed, whole numbers in the settings or not."""
    assert told({"range": {"x": [low, high]}}) is None


def test_a_value_beyond_its_range() -> None:
    """Value, row and range are told, for floats and whole numbers, with one dimension or two."""
    found = told({"range": {"x": [0, 1]}}, x=np.array([[0, 1], [0, 1.5]], np.float32))
    assert found == "input `x` has 1.5 at row 1; allowed is 0 to 1"
    assert told({"range": {"age": [18, 39]}}) == (
        "input `age` has 40 at row 1; allowed is 18 to 39"
    )
    assert told({"range": {"x": [0.1, 1]}}) == "input `x` has 0.0 at row 1; allowed is 0.1 to 1"


def test_a_missing_value_is_beyond_no_range() -> None:
    """Whether NaN may be there is decided before; a range says nothing about it."""
    assert told({"range": {"x": [0, 1]}}, x=np.full((2, 2), np.nan, np.float32)) is None


def test_lengths() -> None:
    """Of rows along their first axis, and of texts in characters; both ends count as allowed."""
    assert told({"longest": {"ids": 3, "text": 4}, "shortest": {"ids": 3, "text": 3}}) is None
    assert told({"longest": {"ids": 2}}) == "input `ids` has rows of length 3; allowed are 0 to 2"
    assert told({"shortest": {"ids": 4}}) == (
        "input `ids` has rows of length 3; allowed are at least 4"
    )
    assert told({"longest": {"text": 3}}) == (
        "input `text` has a text of 4 characters at row 0; allowed are 0 to 3"
    )
    assert told({"shortest": {"text": 4}}) == (
        "input `text` has a text of 3 characters at row 1; allowed are at least 4"
    )


def test_empty_rows() -> None:
    """Blank texts and rows of zeros are empty; a row with one number that is not 0 is not."""
    settings = {"not_empty": ["text", "ids"]}
    assert told(settings) is None
    assert (
        told(settings, text=np.array(["good", " \n"], object)) == "input `text` is empty at row 1"
    )
    assert told(settings, ids=np.zeros((2, 3), np.int64)) == "input `ids` is empty at row 0"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"most": 1}, "no setting `most`"),
        ({"rows": 0}, "`rows`"),
        ({"rows": True}, "`rows`"),
        ({"rows": 1.5}, "`rows`"),
        ({"range": [0, 1]}, "`range` must name inputs"),
        ({"range": {"y": [0, 1]}}, "no input `y`; there are x, ids, text, on, age"),
        ({"range": {"x": [1, 0]}}, "`range.x` must be"),
        ({"range": {"x": [0]}}, "`range.x` must be"),
        ({"range": {"x": ["a", "b"]}}, "`range.x` must be"),
        ({"range": {"x": [0, float("nan")]}}, "`range.x` must be"),
        ({"range": {"text": [0, 1]}}, "holds str, not numbers"),
        ({"range": {"on": [0, 1]}}, "holds bool, not numbers"),
        ({"longest": {"ids": -1}}, "`longest.ids`"),
        ({"longest": {"age": 3}}, "has no length"),
        ({"shortest": {"ids": "3"}}, "`shortest.ids`"),
        ({"not_empty": "text"}, "`not_empty` must be a list"),
        ({"not_empty": ["txt"]}, "no input `txt`"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], said: str) -> None:
    """Each is told when the check is made, before any request."""
    with pytest.raises(ConfigError) as caught:
        InputLimits().prepare(MODEL, settings)
    assert said in str(caught.value)


def test_all_mistakes_at_once() -> None:
    """Whoever writes the settings sees everything that is wrong with them."""
    with pytest.raises(ConfigError) as caught:
        InputLimits().prepare(MODEL, {"rows": 0, "most": 1, "range": {"y": [0, 1], "x": []}})
    assert len(caught.value.problems) == 4
