"""Values that are no tensor are refused with what was given and what is allowed."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from jettison.errors import ModelError, RequestRefused
from jettison.serving.oip.datatypes import datatype_of
from jettison.serving.oip.tensors import from_bytes, from_flat, from_values, to_bytes, to_values


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "told"),
    [
        ("FP32", [2], ["1.0", "2.0"], "takes numbers; got '1.0'"),
        ("FP32", [2], [True, 1.0], "takes numbers; got True"),
        ("FP32", [2], [1.0], "takes 2 values; got 1"),
        ("FP32", [1, 2], [[1.0], [2.0]], "takes 1 values in dimension 0; got 2"),
        ("FP32", [2, 2], [[1.0, 2.0], [3.0]], "not nested as the shape"),
        ("FP32", [2, 1], [[[1.0]], [[2.0]]], "takes numbers; got [1.0]"),
        ("FP32", [1], 1.0, "must be a list"),
        ("FP32", [1], None, "must be a list"),
        ("FP32", [1], [{}], "takes numbers; got {}"),
        ("INT64", [1], [1.0], "takes whole numbers; got 1.0"),
        ("INT64", [1], [None], "takes whole numbers; got null"),
        ("INT64", [1], [2**63], "got 9223372036854775808"),
        ("INT8", [2], [1, -129], "from -128 to 127; got -129"),
        ("UINT8", [1], [-1], "from 0 to 255; got -1"),
        ("UINT64", [2], [-1, 2**64 - 1], "got -1"),
        ("BOOL", [1], [1], "takes true or false; got 1"),
        ("BYTES", [2], ["a", 1], "takes texts; got 1"),
    ],
)
def test_wrong_json_is_refused(datatype: str, shape: list[int], data: object, told: str) -> None:
    """Types, numbers of values and ranges are checked, and nothing is cast by guess."""
    with pytest.raises(RequestRefused) as caught:
        from_values("x", datatype, shape, data)
    assert caught.value.status == 400
    assert "input `x`" in str(caught.value)
    assert told in str(caught.value)


def test_whole_numbers_may_stand_for_floats() -> None:
    """JSON writes 1.0 as 1; a number beyond a type becomes infinite without a warning."""
    found = from_values("x", "FP32", [3], [1, 2.5, 1e300])
    assert found.tolist() == [1.0, 2.5, np.inf]


def test_null_is_a_missing_number() -> None:
    """`null` becomes NaN, which is refused later where the model takes none."""
    assert np.isnan(from_values("x", "FP64", [2], [None, 1.0])).tolist() == [True, False]


def test_a_long_text_among_numbers_costs_no_memory() -> None:
    """A list that NumPy would turn into an array of a million letters a cell is refused first."""
    with pytest.raises(RequestRefused, match="takes numbers"):
        from_values("x", "FP32", [100_001], ["y" * 1_000_000, *([1.0] * 100_000)])


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "told"),
    [
        ("FP32", [2], b"1234567", "takes 8 bytes; got 7"),
        ("FP32", [2], b"123456789", "takes 8 bytes; got 9"),
        ("BOOL", [2], b"\x00\x02", "one byte, 0 or 1"),
        ("BYTES", [1], b"", "can't hold 1 texts"),
        ("BYTES", [1], struct.pack("<I", 5) + b"abc", "says 5 bytes, 3 follow"),
        ("BYTES", [1], struct.pack("<I", 2**32 - 1), "says 4294967295 bytes, 0 follow"),
        ("BYTES", [1], struct.pack("<I", 1) + b"ab", "1 bytes follow after the 1 texts"),
        ("BYTES", [2], struct.pack("<I", 4) + b"abcd", "ends after 1 of 2 texts"),
        ("BYTES", [1], struct.pack("<I", 2) + b"\xff\xfe", "no UTF-8"),
        ("BYTES", [2**39], b"1234", "can't hold 549755813888 texts"),
    ],
)
def test_wrong_bytes_are_refused(datatype: str, shape: list[int], raw: bytes, told: str) -> None:
    """Raw tensors must have exactly the bytes of their shape."""
    with pytest.raises(RequestRefused) as caught:
        from_bytes("x", datatype, shape, memoryview(raw))
    assert caught.value.status == 400
    assert told in str(caught.value)


def test_raw_bytes_are_little_endian() -> None:
    """Whatever the machine, the first byte is the lowest."""
    assert from_bytes("x", "UINT16", [1], memoryview(b"\x01\x00")).tolist() == [1]
    assert to_bytes(np.array([1], dtype=">u2")) == b"\x01\x00"
    assert to_bytes(np.array([1], dtype="<u2")) == b"\x01\x00"


def test_outputs_need_not_lie_in_one_piece() -> None:
    """A slice of a wider array goes out as its own values."""
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)[:, :2]
    assert list(to_values(wide)) == [0.0, 1.0, 4.0, 5.0, 8.0, 9.0]
    assert to_bytes(wide) == np.ascontiguousarray(wide).tobytes()


def test_too_many_typed_values_are_refused() -> None:
    """A gRPC message with more values than its shape says is refused."""
    with pytest.raises(RequestRefused, match="takes 1 values; got 2"):
        from_flat("x", "FP32", [1], [1.0, 2.0])
    with pytest.raises(RequestRefused, match="from -128 to 127"):
        from_flat("x", "INT8", [1], [300])


def test_a_dtype_without_a_word_is_named() -> None:
    """A model in bfloat16 can't be spoken to; the message says so."""
    with pytest.raises(ModelError, match="no word for the dtype bfloat16"):
        datatype_of("bfloat16")
