"""The client's own writing and reading of OIP v2."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("httptools", reason="NO HTTPTOOLS: pip install 'jettison[serve]'")

from benchmarks.load import tensors
from benchmarks.load.connection import Reply

ROW = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([[1], [2]], np.int64)}


def body_of(request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return headers, body


def test_json_tensors_carry_name_shape_datatype_and_values() -> None:
    """The body says what each array is."""
    _, body = body_of(tensors.json_request("/v2/models/m/infer", ROW))
    first, second = json.loads(body)["inputs"]
    assert first == {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}
    assert (second["datatype"], second["data"]) == ("INT64", [1, 2])


def test_binary_tensors_follow_the_header() -> None:
    """The header is as long as it says, and the bytes are those of the arrays in order."""
    headers, body = body_of(tensors.binary_request("/v2/models/m/infer", ROW))
    length = int(headers["inference-header-content-length"])
    inputs = json.loads(body[:length])["inputs"]
    assert [i["parameters"]["binary_data_size"] for i in inputs] == [24, 16]
    assert body[length:] == ROW["x"].tobytes() + ROW["n"].tobytes()


def test_answers_are_read_in_both_forms() -> None:
    """JSON numbers and raw bytes in one answer."""
    values = np.array([[0.5, 0.25]], dtype=np.float32)
    header = json.dumps(
        {
            "outputs": [
                {"name": "a", "shape": [2], "datatype": "INT32", "data": [3, 4]},
                {
                    "name": "b",
                    "shape": [1, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 8},
                },
            ]
        }
    ).encode()
    headers = {tensors.HEADER_LENGTH: str(len(header))}
    found = tensors.arrays_of(Reply(200, header + values.tobytes(), 0.0, headers))
    assert found["a"].tolist() == [3, 4]
    assert np.array_equal(found["b"], values)


def test_grpc_messages_carry_raw_contents() -> None:
    """What we write, the protocol's own classes read, and the reverse."""
    service_pb2 = pytest.importorskip("tritonclient.grpc").service_pb2
    message = service_pb2.ModelInferRequest.FromString(tensors.grpc_request("m", ROW))
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("x", "FP32", [2, 3]),
        ("n", "INT64", [2, 1]),
    ]
    assert message.raw_input_contents[0] == ROW["x"].tobytes()
    answer = service_pb2.ModelInferResponse(model_name="m")
    output = answer.outputs.add()
    output.name, output.datatype = "y", "FP32"
    output.shape.extend([2, 3])
    answer.raw_output_contents.append(ROW["x"].tobytes())
    assert np.array_equal(tensors.grpc_arrays(answer.SerializeToString())["y"], ROW["x"])
