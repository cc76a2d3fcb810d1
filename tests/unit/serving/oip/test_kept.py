"""What is kept of calls and answers changes nothing about them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import RequestRefused
from jettison.serving.oip.answers import AnswerWriter
from jettison.serving.oip.call import InferCall
from jettison.serving.oip.http_messages import CallReader, read_call, write_answer
from jettison.serving.oip.layout import KEPT
from jettison.serving.oip.signature import Signature, Tensor
from jettison.serving.requests import Answer

SIGNATURE = Signature(
    {"x": Tensor("x", "FP32", (-1, 4)), "n": Tensor("n", "INT64", (-1,))},
    {"y": Tensor("y", "FP32", (-1, 2)), "z": Tensor("z", "INT64", (-1,))},
)
VALUES = [0.5, -1.25, 3.0, 1e30]


def numbers(data: str = json.dumps(VALUES), **more: Any) -> bytes:
    """A call that is all JSON, with these numbers."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": "HERE"} | more
    return json.dumps({"inputs": [tensor]}).replace('"HERE"', data).encode()


def raw(values: np.ndarray[Any, Any], **more: Any) -> tuple[bytes, int]:
    """A call with raw tensors."""
    size = {"binary_data_size": values.nbytes}
    tensor = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "parameters": size}
    header = json.dumps({"inputs": [tensor]} | more).encode()
    return header + values.tobytes(), len(header)


def outcome(read: Any, *arguments: Any) -> Any:
    """What reading gives, or why it is refused, in a form that can be compared."""
    try:
        call: InferCall = read(*arguments)
    except RequestRefused as refused:
        return str(refused)
    arrays = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in call.arrays.items()}
    return arrays, call.outputs, call.call_id, call.priority, call.timeout_seconds


@given(
    st.lists(
        st.sampled_from(
            [
                json.dumps(VALUES),
                "[1.5,2.5,3.5,4.5]",
                "[1,2,3,4]",
                "[1.5,2.5,3.5]",
                "[1.5,2.5,3.5,null]",
                "[1.5,2.5,3.5,true]",
                '[1.5,2.5,3.5,"]"]',
                "[1.5,2.5,3.5,1e300]",
                "[[1.5,2.5,3.5,4.5]]",
                "[1.5,2.5,3.5,4.5],1]",
                '[1.5,2.5,3.5,4.5],"shape":[4,1]',
                "[1.5,2.5,3.5,NaN]",
                "[]",
                "7",
                '{"data":[1.5,2.5,3.5,4.5]}',
            ]
        ),
        min_size=1,
        max_size=8,
    )
)
def test_calls_in_json_read_the_same_whatever_came_before(texts: list[str]) -> None:
    """Right ones, wrong ones and those that only look alike, in any order."""
    reader = CallReader(SIGNATURE)
    for text in texts:
        body = numbers(text)
        assert outcome(reader.read, body, None) == outcome(read_call, body, None, SIGNATURE)


@pytest.mark.parametrize(
    "more",
    [
        {"name": '"data"'},
        {"parameters": {"note": '"data": [1.0]'}},
        {"shape": [4, 1]},
        {"datatype": "FP64"},
        {"datatype": "INT64"},
    ],
)
def test_a_form_is_kept_only_where_the_numbers_lie(more: dict[str, Any]) -> None:
    """Text that looks like the list of numbers misleads nobody, the second time as the first."""
    reader = CallReader(SIGNATURE)
    for text in ("[1.5,2.5,3.5,4.5]", "[5.5,6.5,7.5,8.5]", "[1.0]"):
        for place in ("before", "behind"):
            tensor: dict[str, Any] = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
            tensor = tensor | more if place == "before" else tensor
            tensor["data"] = "HERE"
            tensor = tensor | more
            body = json.dumps({"inputs": [tensor]}).replace('"HERE"', text).encode()
            assert outcome(reader.read, body, None) == outcome(read_call, body, None, SIGNATURE)


def test_raw_tensors_read_the_same_again() -> None:
    """Other values, other sizes and broken bodies behind a header that is known."""
    reader = CallReader(SIGNATURE)
    rng = np.random.default_rng(0)
    for rows in (1, 1, 3, 1, 3):
        body, length = raw(rng.normal(size=(rows, 4)).astype(np.float32))
        for sent in (body, body[:-1], body + b"x", body[:length]):
            told = outcome(read_call, sent, length, SIGNATURE)
            assert outcome(reader.read, sent, length) == told
        for wrong in (0, length - 1, length + 1, len(body) + 1):
            told = outcome(read_call, body, wrong, SIGNATURE)
            assert outcome(reader.read, body, wrong) == told


def test_an_id_is_never_kept() -> None:
    """The next caller gets its own id, or none."""
    reader = CallReader(SIGNATURE)
    values = np.ones((1, 4), np.float32)
    for name in ("a", "b", ""):
        body, length = raw(values, **({"id": name} if name else {}))
        assert reader.read(body, length).call_id == name
    for name in ("a", "b"):
        body = json.dumps({"id": name} | json.loads(numbers())).encode()
        assert reader.read(body, None).call_id == name


def test_what_is_kept_is_bounded() -> None:
    """A client that sends another header each time does not fill the memory."""
    reader = CallReader(SIGNATURE)
    for number in range(2 * KEPT):
        body, length = raw(np.ones((1, 4), np.float32), parameters={"more": number})
        reader.read(body, length)
        reader.read(numbers(parameters={"more": number}), None)
    assert len(reader._layouts) == KEPT
    assert len(reader._forms) == KEPT


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", ["json", "binary", "one", "id"])
def test_answers_are_written_the_same_again(kind: str, rows: int) -> None:
    """The kept form gives byte for byte what the writing in full gives."""
    every = SIGNATURE.all_binary if kind == "binary" else SIGNATURE.all_json
    call = InferCall({}, every[:1] if kind == "one" else every, "me" if kind == "id" else "")
    writer = AnswerWriter("m", SIGNATURE)
    rng = np.random.default_rng(1)
    for _ in range(3):
        whole = rng.normal(size=(rows, 4)).astype(np.float32)
        arrays = {"y": whole[:, ::2], "z": np.arange(rows), "more": whole}
        head = {"model_name": "m", "model_version": "v"} | ({"id": "me"} if kind == "id" else {})
        told = write_answer(head, call.outputs, arrays)
        assert writer.write(call, Answer(arrays, "v", 0.0, 0.0, rows)) == told


def test_a_canary_without_an_output_is_refused_as_before() -> None:
    """The form of one version is not that of another."""
    writer = AnswerWriter("m", SIGNATURE)
    call = InferCall({}, SIGNATURE.all_json)
    arrays = {"y": np.ones((1, 2), np.float32), "z": np.ones(1, np.int64)}
    writer.write(call, Answer(arrays, "v", 0.0, 0.0, 1))
    with pytest.raises(RequestRefused, match="version w, which answered, has no output `z`"):
        writer.write(call, Answer({"y": arrays["y"]}, "w", 0.0, 0.0, 1))
