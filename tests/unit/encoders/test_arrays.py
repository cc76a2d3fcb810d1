"""The encoder `arrays`: which arrays feed which input, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.encoders.arrays import ArraysEncoder
from jettison.errors import DataError

KIND = ArraysEncoder()


def model(*inputs: TensorSpec, **settings: list[str]) -> Model:
    return Model(
        artifact=Artifact("onnx_file", "/nowhere", ("m",), "", 0),
        traits=frozenset({"onnx"}),
        inputs=inputs,
        outputs=(TensorSpec("y", "float32", ("batch", 2)),),
        prediction="y",
        task="classification",
        encoder=Encoder.of("arrays", settings),
    )


IMAGE = model(TensorSpec("x", "float32", ("batch", 3, 8, 8)))
TABLE = model(TensorSpec("x", "float32", ("batch", 3)))
TWO = model(TensorSpec("ids", "int32", ("batch", 4)), TensorSpec("mask", "bool", ("batch", 4)))


def encoded(subject: Model, **columns: np.ndarray) -> dict[str, np.ndarray]:
    bound = KIND.bind(subject.encoder, subject, tuple(columns))
    n = len(next(iter(columns.values())))
    return dict(KIND.encode(bound, subject, Example(columns, n)).arrays)


def test_inputs_by_name() -> None:
    """Arrays that are named like the inputs feed them, whatever else is there."""
    ids = np.arange(8).reshape(2, 4)
    found = encoded(TWO, other=np.zeros(2), mask=np.ones((2, 4), int), ids=ids)
    assert found["ids"].dtype == np.int32
    assert found["mask"].dtype == bool
    np.testing.assert_array_equal(found["ids"], ids)


def test_the_only_array_feeds_the_only_input() -> None:
    """One array of any name feeds one input."""
    assert encoded(IMAGE, pictures=np.zeros((2, 3, 8, 8)))["x"].shape == (2, 3, 8, 8)


def test_columns_of_a_table_are_stacked() -> None:
    """As many columns as the input is wide make a matrix, in their order."""
    found = encoded(TABLE, b=np.array([1, 2]), a=np.array([3.0, 4.0]), c=np.array([5, 6]))
    np.testing.assert_array_equal(found["x"], [[1, 3, 5], [2, 4, 6]])


def test_the_bound_columns_are_kept_with_the_encoder() -> None:
    """Binding writes the columns into the settings, so the bundle knows them."""
    bound = KIND.bind(TABLE.encoder, TABLE, ("b", "a", "c"))
    assert bound.settings["columns"] == ["b", "a", "c"]
    assert bound.digest != TABLE.encoder.digest


@pytest.mark.parametrize(
    ("subject", "columns"), [(TABLE, ("a", "b")), (TWO, ("ids",)), (IMAGE, ("a", "b"))]
)
def test_columns_that_cannot_feed_it(subject: Model, columns: tuple[str, ...]) -> None:
    """What is there, what the model takes and how to say which to use are told."""
    with pytest.raises(DataError) as caught:
        KIND.bind(subject.encoder, subject, columns)
    message = str(caught.value)
    assert f"`{subject.inputs[0].name}` {subject.inputs[0].dtype}" in message
    assert f"`{columns[0]}`" in message
    assert "data.inputs" in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3, 8)), r"column `p` has shape \(2, 3, 8\)"),
        (np.zeros((2, 3, 8, 9)), r"has shape \(2, 3, 8, 9\), but input `x` takes \(n, 3, 8, 8\)"),
        (np.full((2, 3, 8, 8), np.inf), r"input `x` has inf at row 0"),
        (np.full((2, 3, 8, 8), np.nan), r"input `x` has nan at row 0"),
        (np.full((2, 3, 8, 8), "a"), "holds text"),
    ],
)
def test_bad_values(values: np.ndarray, message: str) -> None:
    """Wrong shapes and values name the column or input and the row."""
    with pytest.raises(DataError, match=message):
        encoded(IMAGE, p=values)


def test_missing_values_where_the_model_takes_them() -> None:
    """An input that the model declares to take NaN gets it."""
    subject = model(TensorSpec("x", "float32", ("batch", 1)), missing=["x"])
    assert np.isnan(encoded(subject, x=np.array([1.0, np.nan]))["x"][1, 0])


def test_made_up_rows() -> None:
    """Made-up rows have the dtypes and fixed dimensions, and repeat with the seed."""
    one = KIND.made_up(TWO.encoder, TWO, 5, 1).arrays
    two = KIND.made_up(TWO.encoder, TWO, 5, 1).arrays
    assert one["ids"].dtype == np.int32
    assert one["ids"].shape == (5, 4)
    np.testing.assert_array_equal(one["ids"], two["ids"])
