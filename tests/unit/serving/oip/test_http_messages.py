"""Calls as they stand in an HTTP body, and the answers to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from jettison.errors import RequestRefused
from jettison.serving.oip.call import InferCall
from jettison.serving.oip.http_messages import read_call, write_answer
from jettison.serving.oip.signature import ANY, Signature, Tensor, Wanted

SIGNATURE = Signature(
    inputs={"x": Tensor("x", "FP32", (ANY, 2)), "t": Tensor("t", "BYTES", (ANY, 1))},
    outputs={"y": Tensor("y", "FP32", (ANY, 4)), "z": Tensor("z", "INT64", (ANY, 1))},
)


def message(**changes: Any) -> dict[str, Any]:
    """A call that is right, but for the changes."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}
    t = {"name": "t", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
    return {"inputs": [x, t], **changes}


def read(told: Any) -> InferCall:
    """Reads a call that is all JSON."""
    return read_call(orjson.dumps(told), None, SIGNATURE)


def refusal(told: Any) -> RequestRefused:
    """Reads a call that is refused."""
    with pytest.raises(RequestRefused) as caught:
        read(told)
    assert caught.value.status == 400
    return caught.value


def test_a_plain_call_is_read() -> None:
    """Arrays, id, priority and timeout come out of the JSON; all outputs are wanted."""
    call = read(message(id="one", parameters={"priority": 1, "timeout": 2500, "unknown": {}}))
    assert call.arrays["x"].tolist() == [[1.0, 2.0]]
    assert call.arrays["t"].tolist() == [["a"]]
    assert (call.call_id, call.priority, call.timeout_seconds) == ("one", "high", 0.0025)
    assert call.outputs == (Wanted("y", binary=False), Wanted("z", binary=False))


@pytest.mark.parametrize("parameters", [{}, {"priority": 0}, {"priority": 2}, {"timeout": 0}])
def test_defaults_of_scheduling(parameters: dict[str, int]) -> None:
    """Priority 1 is high and nothing else is; no timeout means the server's own."""
    call = read(message(parameters=parameters))
    assert (call.priority, call.timeout_seconds) == ("normal", None)


def test_outputs_are_chosen_in_the_order_asked() -> None:
    """Each output says for itself how it comes; `binary_data_output` is for the others."""
    outputs = [{"name": "z"}, {"name": "y", "parameters": {"binary_data": False}}]
    call = read(message(outputs=outputs, parameters={"binary_data_output": True}))
    assert call.outputs == (Wanted("z", binary=True), Wanted("y", binary=False))


def test_raw_tensors_follow_the_json_in_order() -> None:
    """A body may mix raw and JSON tensors; its JSON ends where the header says."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    t = {"name": "t", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 5}}
    json = orjson.dumps({"inputs": [x, t]})
    raw = np.array([1.0, 2.0], dtype="<f4").tobytes() + b"\x01\x00\x00\x00a"
    call = read_call(json + raw, len(json), SIGNATURE)
    assert call.arrays["x"].tolist() == [[1.0, 2.0]]
    assert call.arrays["t"].tolist() == [["a"]]


@pytest.mark.parametrize(
    ("size", "raw", "told"),
    [
        (8, b"1234567", "`binary_data_size` is 8, but 7 bytes follow"),
        (8, b"123456789", "1 bytes follow that belong to no input"),
        (-1, b"", "`binary_data_size` is -1"),
        ("8", b"12345678", "`binary_data_size` is 8"),
        (True, b"1", "`binary_data_size` is True"),
    ],
)
def test_raw_sizes_must_add_up(size: object, raw: bytes, told: str) -> None:
    """Raw bytes that are missing, or that no input claims, are refused."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": size}}
    json = orjson.dumps({"inputs": [x]})
    with pytest.raises(RequestRefused) as caught:
        read_call(json + raw, len(json), SIGNATURE)
    assert told in str(caught.value)


def test_the_header_length_can_not_pass_the_body() -> None:
    """A header length beyond the body is refused."""
    with pytest.raises(RequestRefused, match="is 99, but the body has 2 bytes"):
        read_call(b"{}", 99, SIGNATURE)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b'{"inputs":[NaN]}', b"\xff\xfe", b"[" * 100_000],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    """Broken, cut, deep or other JSON is refused as malformed."""
    with pytest.raises(RequestRefused) as caught:
        read_call(body, None, SIGNATURE)
    assert caught.value.reason == "malformed"


def changed(place: int, **changes: Any) -> dict[str, Any]:
    """A right call with one tensor changed."""
    told = message()
    told["inputs"][place] |= changes
    return told


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"inputs": []}, "at least one tensor"),
        ({"inputs": {}}, "at least one tensor"),
        ({}, "at least one tensor"),
        ({"inputs": [1]}, "must be an object"),
        (changed(0, name="w"), "no input `w`; it has `x`, `t`"),
        (changed(0, name=["x"]), "no input"),
        (changed(1, name="x"), "is there twice"),
        (changed(0, datatype="FP99"), "no datatype `FP99`; the model takes FP32"),
        (changed(0, datatype=3), "no datatype `3`"),
        (changed(0, shape="1"), "must be a list of sizes"),
        (changed(0, shape=[1.0, 2]), "must be a list of sizes"),
        (changed(0, shape=[True, 2]), "must be a list of sizes"),
        (changed(0, shape=[-1, 2]), "must be a list of sizes"),
        (changed(0, shape=[2**62, 2**62]), "must be a list of sizes"),
        (changed(0, shape=[1] * 65, data=[1.0]), "at most 32"),
        (changed(0, shape=[2**39, 2**39, 0], data=[]), "must be a list of sizes"),
        (changed(0, shape=[2**39] * 1000, data=[]), "must be a list of sizes"),
        (changed(0, parameters=[]), "must be an object"),
        (changed(0, parameters={"shared_memory_region": "r"}), "no shared memory"),
        (message(id=3), "`id` must be a text"),
        (message(id="i" * 129), "at most 128"),
        (message(outputs=[{"name": "q"}]), "no output `q`; it has `y`, `z`"),
        (message(outputs=["y"]), "list of objects"),
        (message(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]), "true or false"),
        (message(outputs=[{"name": "y", "parameters": {"classification": 2}}]), "`predict`"),
        (message(parameters={"binary_data_output": "yes"}), "true or false"),
        (message(parameters={"priority": -1}), "`priority` must be a whole number"),
        (message(parameters={"timeout": 1.5}), "(microseconds); got 1.5"),
        (message(parameters={"sequence_id": 7}), "no support for the parameter `sequence_id`"),
        (message(parameters=3), "must be an object"),
    ],
)
def test_wrong_calls_are_refused(told: dict[str, Any], what: str) -> None:
    """Each mistake is named with what is allowed."""
    assert what in str(refusal(told))


def test_an_answer_is_json_where_nothing_is_raw() -> None:
    """Values are flat, shapes beside them; NaN, which JSON has not, becomes null."""
    arrays = {"y": np.array([[0.1, np.nan]], dtype=np.float32), "z": np.array([[7]])}
    wanted = (Wanted("z", binary=False), Wanted("y", binary=False))
    body, json_length = write_answer({"model_name": "m", "model_version": "v"}, wanted, arrays)
    assert json_length is None
    assert orjson.loads(body) == {
        "model_name": "m",
        "model_version": "v",
        "outputs": [
            {"name": "z", "datatype": "INT64", "shape": [1, 1], "data": [7]},
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, None]},
        ],
    }


def test_raw_outputs_follow_the_json() -> None:
    """The JSON says how many bytes of each output follow, in order."""
    arrays = {"y": np.array([[1.5, 2.5]], dtype=np.float32), "z": np.array([[7]])}
    wanted = (Wanted("y", binary=True), Wanted("z", binary=False))
    body, json_length = write_answer({"model_version": "v"}, wanted, arrays)
    assert json_length is not None
    outputs = orjson.loads(body[:json_length])["outputs"]
    assert outputs[0]["parameters"] == {"binary_data_size": 8}
    assert "data" not in outputs[0]
    assert outputs[1]["data"] == [7]
    assert np.frombuffer(body[json_length:], "<f4").tolist() == [1.5, 2.5]


def test_a_canary_without_an_output_is_refused() -> None:
    """An output that the version which answered lacks is refused, not a crash."""
    with pytest.raises(RequestRefused, match="version v, which answered, has no output `y`"):
        write_answer({"model_version": "v"}, (Wanted("y", binary=False),), {})
