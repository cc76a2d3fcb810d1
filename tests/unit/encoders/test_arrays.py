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


SOUND = model(TensorSpec("x", "float32", ("batch", "time")))
MASKED = model(
    TensorSpec("ids", "int64", ("batch", "sequence")),
    TensorSpec("attention_mask", "int64", ("batch", "sequence")),
    TensorSpec("lengths", "int32", ("batch",)),
)


def column(*rows: object) -> np.ndarray:
    made = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        made[place] = row
    return made


def test_rows_of_different_lengths_are_padded() -> None:
    """They are filled on the right with the padding, and their lengths are told."""
    bound = KIND.bind(Encoder.of("arrays", {"padding": -1.0}), SOUND, ("sound",))
    held = {"sound": column(np.array([1.0, 2.0]), [3.0], b"\x04\x05\x06")}
    found = KIND.encode(bound, SOUND, Example(held, 3))
    assert found.arrays["x"].tolist() == [[1, 2, -1], [3, -1, -1], [4, 5, 6]]
    assert found.lengths is not None
    assert found.lengths.tolist() == [2, 1, 3]
    assert found.pad == {"x": -1.0}


def test_masks_and_lengths_are_made() -> None:
    """A model that takes them gets them, unless the data has them."""
    bound = KIND.bind(MASKED.encoder, MASKED, ("ids",))
    held = {"ids": column(np.array([5, 6]), np.array([7]))}
    found = KIND.encode(bound, MASKED, Example(held, 2))
    assert found.arrays["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert found.arrays["lengths"].tolist() == [2, 1]
    assert found.pad == {"ids": 0.0, "attention_mask": 0.0}
    whole = KIND.encode(bound, MASKED, Example({"ids": np.ones((2, 3), int)}, 2))
    assert whole.arrays["attention_mask"].tolist() == [[1, 1, 1]] * 2
    assert whole.lengths is None
    own = KIND.bind(MASKED.encoder, MASKED, ("ids", "attention_mask", "lengths"))
    assert "mask" not in own.settings


def test_a_mask_is_padded_with_zeros() -> None:
    """What fills other inputs is never attended to; an input that can't hold it is refused."""
    encoder = Encoder.of("arrays", {"padding": -1.0})
    bound = KIND.bind(encoder, MASKED, ("ids", "attention_mask", "lengths"))
    held = {
        "ids": column([5, 6], [7]),
        "attention_mask": column([1, 1], [1]),
        "lengths": np.array([2, 1]),
    }
    found = KIND.encode(bound, MASKED, Example(held, 2))
    assert found.arrays["ids"].tolist() == [[5, 6], [7, -1]]
    assert found.arrays["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert found.pad == {"ids": -1.0, "attention_mask": 0.0}
    small = model(TensorSpec("x", "uint8", ("batch", "time")))
    with pytest.raises(DataError, match=r"`arrays.padding` is -1, which input `x` \(uint8\)"):
        KIND.encode(
            KIND.bind(encoder, small, ("x",)), small, Example({"x": column([5, 6], [7])}, 2)
        )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((np.array([1.0]), np.array([])), "no entry at row 1 .length 0."),
        ((np.array([1.0]), np.array([[1.0]])), r"shape \(1, 1\) at row 1"),
        ((np.array([1.0]), np.array([np.nan])), "nan at row 1"),
    ],
)
def test_ragged_rows_that_are_refused(rows: tuple[np.ndarray, ...], said: str) -> None:
    """The row is named."""
    with pytest.raises(DataError, match=said):
        encoded(SOUND, sound=column(*rows))


def test_arrays_without_entries() -> None:
    """Rows that hold nothing are one message too where all are alike."""
    with pytest.raises(DataError, match="length 0"):
        encoded(SOUND, sound=np.ones((3, 0), np.float32))


def test_inputs_that_are_padded_together() -> None:
    """Each row has as many entries for both."""
    subject = model(
        TensorSpec("a", "float32", ("batch", "time")), TensorSpec("b", "float32", ("batch", "time"))
    )
    with pytest.raises(DataError, match="row 1 has 2 entries for input `b` and 1 for `a`"):
        encoded(subject, a=column([1.0], [1.0]), b=column([1.0], [1.0, 2.0]))
