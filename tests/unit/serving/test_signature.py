"""What a request must be before it may wait with others."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.signature import cast_inputs, checked

PAD = {"ids": 0.0, "mask": 0.0}


def model(*inputs: TensorSpec, **settings: object) -> Model:
    return Model(
        Artifact("onnx_file", "/nowhere", ("model.onnx",), "0" * 64, 1),
        frozenset({"onnx"}),
        inputs,
        (TensorSpec("scores", "float32", ("batch", 2)),),
        "scores",
        "classification",
        Encoder("arrays", settings),  # type: ignore[arg-type]
    )


MATRIX = model(TensorSpec("x", "float32", ("batch", 3)))
TEXT = model(
    TensorSpec("ids", "int64", ("batch", "tokens")),
    TensorSpec("mask", "int64", ("batch", "tokens")),
    max_length=8,
)
TABLE = model(
    TensorSpec("age", "float32", ("batch", 1)),
    TensorSpec("city", "str", ("batch", 1)),
    missing=["age"],
)
IMAGE = model(TensorSpec("image", "uint8", ("batch", 3, "height", "width")))


def ids(*shape: int) -> Array:
    return np.ones(shape, dtype=np.int64)


def floats(*shape: int) -> Array:
    return np.ones(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("taken", "arrays", "rows"),
    [
        (MATRIX, {"x": floats(5, 3)}, 5),
        (TEXT, {"ids": ids(2, 7), "mask": ids(2, 7)}, 2),
        (TEXT, {"mask": ids(1, 1), "ids": ids(1, 1)}, 1),
        (TABLE, {"age": floats(2, 1), "city": np.array([["Ulm"], ["Aachen"]])}, 2),
        (TABLE, {"age": floats(1, 1), "city": np.array([["Ulm"]], dtype=object)}, 1),
        (IMAGE, {"image": np.zeros((4, 3, 5, 9), dtype=np.uint8)}, 4),
    ],
)
def test_what_the_model_takes_is_let_in(
    taken: Model, arrays: Mapping[str, Array], rows: int
) -> None:
    """Names in any order, free dimensions of any size; the rows are counted."""
    assert checked(taken, arrays, pad=PAD) == rows


@pytest.mark.parametrize(
    ("taken", "arrays", "message"),
    [
        (MATRIX, {}, "lacks `x`; the inputs are `x` float32 (rows, 3)"),
        (MATRIX, {"X": floats(1, 3)}, "lacks `x` and has the unknown `X`"),
        (MATRIX, {"x": floats(1, 3), "y": floats(1, 3)}, "has the unknown `y`"),
        (TEXT, {"ids": ids(1, 2)}, "lacks `mask`"),
        (MATRIX, {"x": floats(1, 4)}, "has shape (1, 4); wanted is `x` float32 (rows, 3)"),
        (MATRIX, {"x": floats(3)}, "has shape (3,)"),
        (MATRIX, {"x": floats(0, 3)}, "at least 1 row"),
        (MATRIX, {"x": np.float32(1)[...]}, "has shape ()"),
        (MATRIX, {"x": floats(1, 3).astype("f8")}, "holds float64, but float32 is wanted"),
        (MATRIX, {"x": floats(1, 3).astype(">f4")}, "float32 is wanted"),
        (MATRIX, {"x": np.array([["a", "b", "c"]])}, "but float32 is wanted"),
        (TEXT, {"ids": ids(2, 3), "mask": ids(1, 3)}, "`ids` 2, `mask` 1"),
        (TEXT, {"ids": ids(1, 3), "mask": ids(1, 4)}, "has size 4 on axis 1 (`tokens`)"),
        (TEXT, {"ids": ids(1, 0), "mask": ids(1, 0)}, "holds no value"),
        (TEXT, {"ids": ids(1, 9), "mask": ids(1, 9)}, "is 9 long, but at most 8 is allowed"),
        (MATRIX, {"x": np.array([[1, np.nan, 1]], "f4")}, "has nan at row 0 (position (1,))"),
        (MATRIX, {"x": np.array([[1, 1, 1], [1, 1, -np.inf]], "f4")}, "has -inf at row 1"),
        (TABLE, {"age": np.array([[np.inf]], "f4"), "city": np.array([["Ulm"]])}, "has inf at row"),
        (TABLE, {"age": floats(1, 1), "city": floats(1, 1)}, "holds float32, but str is wanted"),
        (
            TABLE,
            {"age": floats(1, 1), "city": np.array([[None]], dtype=object)},
            "holds values that are not all text",
        ),
        (IMAGE, {"image": np.zeros((1, 3, 0, 9), dtype=np.uint8)}, "holds no value"),
    ],
)
def test_what_it_does_not_take_is_refused_with_what_is_allowed(
    taken: Model, arrays: Mapping[str, Array], message: str
) -> None:
    """Every refusal is a 400 that names the input, what came and what is wanted."""
    with pytest.raises(RequestRefused, match=re.escape(message)) as caught:
        checked(taken, arrays, pad=PAD)
    assert (caught.value.reason, caught.value.status) == ("shape", 400)


def test_a_missing_number_is_let_in_where_the_encoder_says_so() -> None:
    """NaN is a value for an imputer, and only for the inputs that it stands in."""
    arrays = {"age": np.array([[np.nan]], "f4"), "city": np.array([["Ulm"]])}
    assert checked(TABLE, arrays, pad={}) == 1


def test_a_large_sum_of_finite_numbers_is_finite() -> None:
    """Values near the end of the range are taken, though their sum would be infinite."""
    assert checked(MATRIX, {"x": np.full((2, 3), 3e38, "f4")}, pad={}) == 2


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (np.array([[1, 2, 3]], "i4"), "int64"),
        (np.array([[1, 2, 3]], "u1"), "int64"),
        (np.array([[1, 0, 1]], "?"), "int64"),
        (np.array([[1, -2, 127]], "i8"), "int8"),
        (np.array([[1, 2, 2**24]], "i8"), "float32"),
        (np.array([[1.5, 0.25, np.nan]], "f8"), "float32"),
        (np.array([[1.5, -0.25, 3]], ">f4"), "float32"),
        (np.array([[2**63, 1, 2]], "u8"), "uint64"),
    ],
)
def test_a_cast_that_changes_no_value_is_made(source: Array, wanted: str) -> None:
    """Values come out in the dtype of the model, each as it was."""
    taken = model(TensorSpec("x", wanted, ("batch", 3)))
    cast = cast_inputs(taken, {"x": source})["x"]
    assert cast.dtype == np.dtype(wanted)
    np.testing.assert_array_equal(cast, source)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (np.array([[0.1, 1, 2]], "f8"), "float32"),
        (np.array([[1e300, 1, 2]], "f8"), "float32"),
        (np.array([[1, 2, 2**24 + 1]], "i8"), "float32"),
        (np.array([[1, 2, 300]], "i8"), "int8"),
        (np.array([[-1, 2, 3]], "i8"), "uint8"),
        (np.array([[-1, 2, 3]], "i8"), "uint64"),
        (np.array([[2**63, 2, 3]], "u8"), "int64"),
        (np.array([[1, 2, 3]], "f4"), "int64"),
        (np.array([[1, 0, 1]], "i8"), "bool"),
        (np.array([["1", "2", "3"]]), "float32"),
    ],
)
def test_a_cast_that_would_change_a_value_is_not_made(source: Array, wanted: str) -> None:
    """The array is left as it is, and refused by the check."""
    taken = model(TensorSpec("x", wanted, ("batch", 3)))
    arrays = {"x": source}
    assert cast_inputs(taken, arrays)["x"] is source
    with pytest.raises(RequestRefused, match=f"{wanted} is wanted"):
        checked(taken, arrays, pad={})


def test_nothing_is_copied_where_nothing_differs() -> None:
    """The usual request goes through as it is; unknown names are left for the check."""
    arrays = {"x": floats(1, 3), "unknown": floats(1)}
    assert cast_inputs(MATRIX, arrays) is arrays
    assert cast_inputs(MATRIX, {}) == {}
