"""Which requests share a batch, and the way of rows in and out of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.serving.grouping import SHORTEST, Grouping, length_bucket


def model(*outputs: TensorSpec) -> Model:
    return Model(
        Artifact("onnx_file", "/nowhere", ("model.onnx",), "0" * 64, 1),
        frozenset({"onnx"}),
        (
            TensorSpec("ids", "int64", ("batch", "tokens")),
            TensorSpec("image", "float32", ("batch", "height", 2)),
        ),
        outputs,
        outputs[0].name,
        "embedding",
        Encoder("arrays"),
    )


SQUARE = TensorSpec("square", "float32", ("batch", "tokens", "tokens"))
MODEL = model(SQUARE)
PAD = {"ids": 7.0}


def arrays(rows: int, tokens: int, height: int = 3) -> dict[str, Array]:
    ids = np.arange(rows * tokens, dtype=np.int64).reshape(rows, tokens)
    return {"ids": ids, "image": np.full((rows, height, 2), rows, dtype=np.float32)}


@given(st.integers(1, 100_000))
def test_a_bucket_holds_its_length_and_wastes_little(length: int) -> None:
    """Lengths of a bucket are at most a third shorter than its end, but for the short ones."""
    end = length_bucket(length)
    assert length <= end
    assert end == SHORTEST or length > end * 2 // 3
    assert length_bucket(end) == end


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_buckets_keep_the_order_of_lengths(one: int, other: int) -> None:
    """A longer text is never in a bucket before that of a shorter one."""
    assert (length_bucket(one) <= length_bucket(other)) or one > other


def test_groups_differ_by_shape_and_dtype_and_bucket() -> None:
    """Ragged inputs need the same bucket; everything else must be equal, rows apart."""
    grouping = Grouping(MODEL, PAD)
    group = grouping.group(arrays(1, 5))
    assert grouping.group(arrays(9, 12)) == group
    assert grouping.group(arrays(1, 17)) != group
    assert grouping.group(arrays(1, 5, height=4)) != group
    other = arrays(1, 5)
    other["image"] = other["image"].astype("f8")
    assert grouping.group(other) != group
    assert Grouping(MODEL, {}).group(arrays(1, 5)) != Grouping(MODEL, {}).group(arrays(1, 6))


def test_rows_are_joined_with_the_pad_value_and_parted_without_it() -> None:
    """Both axes of an output that are as long as the text are cut back to it."""
    grouping = Grouping(MODEL, PAD)
    parts = [arrays(2, 3), arrays(1, 5)]
    joined = grouping.join(parts)
    assert joined["ids"].dtype == np.int64
    np.testing.assert_array_equal(joined["ids"][:, 3:], [[7, 7], [7, 7], [3, 4]])
    np.testing.assert_array_equal(joined["ids"][:2, :3], parts[0]["ids"])
    np.testing.assert_array_equal(joined["image"][:, 0, 0], [2, 2, 1])
    square = np.arange(75, dtype=np.float32).reshape(3, 5, 5)
    first, second = grouping.split({"square": square}, parts, [2, 1])
    np.testing.assert_array_equal(first["square"], square[:2, :3, :3])
    np.testing.assert_array_equal(second["square"], square[2:])


def test_no_row_is_copied_where_it_need_not_be() -> None:
    """A request alone is passed through; answers are views of the batch's outputs."""
    grouping = Grouping(MODEL, PAD)
    part = arrays(2, 3)
    assert grouping.join([part]) is part
    square = np.zeros((4, 3, 3), dtype=np.float32)
    (alone,) = grouping.split({"square": square}, [arrays(4, 3)], [4])
    assert alone["square"] is square
    for answer in grouping.split({"square": square}, [part, part], [2, 2]):
        assert answer["square"].base is square


@pytest.mark.parametrize("outputs", [{}, {"square": np.zeros((2, 3, 3))}, {"square": np.zeros(())}])
def test_outputs_that_lack_rows_are_an_error(outputs: dict[str, Array]) -> None:
    """Rows are never shared out by guessing."""
    with pytest.raises(CandidateFailed, match="square"):
        Grouping(MODEL, PAD).split(outputs, [arrays(2, 3), arrays(1, 3)], [2, 1])


def test_a_fixed_width_that_grows_with_the_padding_is_an_error() -> None:
    """What was described as a fixed width can't be cut back, so it is not handed out."""
    wide = dataclasses.replace(SQUARE, name="wide", shape=("batch", 4))
    grouping = Grouping(model(wide), PAD)
    parts = [arrays(1, 3), arrays(1, 5)]
    with pytest.raises(CandidateFailed, match="changes with the padding"):
        grouping.split({"wide": np.zeros((2, 5))}, parts, [1, 1])
    assert grouping.split({"wide": np.zeros((2, 4))}, parts, [1, 1])[0]["wide"].shape == (1, 4)
