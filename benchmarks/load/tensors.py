"""Open Inference Protocol v2 as a client writes and reads it; written apart from the server's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.load.connection import Reply, post

Array = npt.NDArray[Any]

DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "bool": "BOOL",
}
"""NumPy names and those of the protocol."""
NUMPY = {name: np.dtype(kind) for kind, name in DATATYPES.items()}
HEADER_LENGTH = "inference-header-content-length"


def infer_path(model: str) -> str:
    """The path that answers tensors."""
    return f"/v2/models/{model}/infer"


def json_request(
    path: str, arrays: Mapping[str, Array], more: Mapping[str, str] | None = None
) -> bytes:
    """A request whose tensors are JSON numbers."""
    inputs = [_described(n, a) | {"data": a.ravel().tolist()} for n, a in arrays.items()]
    body = json.dumps({"inputs": inputs}, separators=(",", ":")).encode()
    return post(path, body, {"Content-Type": "application/json", **(more or {})})


def binary_request(
    path: str, arrays: Mapping[str, Array], more: Mapping[str, str] | None = None
) -> bytes:
    """A request of the binary tensor extension: a JSON header, then the raw bytes."""
    pieces = [np.ascontiguousarray(a).tobytes() for a in arrays.values()]
    inputs = [
        _described(name, array) | {"parameters": {"binary_data_size": len(piece)}}
        for (name, array), piece in zip(arrays.items(), pieces, strict=True)
    ]
    header = json.dumps(
        {"inputs": inputs, "parameters": {"binary_data_output": True}}, separators=(",", ":")
    ).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
        **(more or {}),
    }
    return post(path, header + b"".join(pieces), headers)


def grpc_request(model: str, arrays: Mapping[str, Array]) -> bytes:
    """A serialised `ModelInferRequest` with raw contents."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        tensor = message.inputs.add()
        tensor.name, tensor.datatype = name, DATATYPES[array.dtype.name]
        tensor.shape.extend(array.shape)
        message.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
    return bytes(message.SerializeToString())


def grpc_arrays(data: bytes) -> dict[str, Array]:
    """Reads a `ModelInferResponse` with raw contents."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferResponse.FromString(data)
    raw = message.raw_output_contents
    return {
        tensor.name: np.frombuffer(piece, NUMPY[tensor.datatype]).reshape(tuple(tensor.shape))
        for tensor, piece in zip(message.outputs, raw, strict=True)
    }


def arrays_of(reply: Reply) -> dict[str, Array]:
    """Reads the outputs of an answer, JSON or binary.

    Raises:
        ValueError: if the body is not an answer of the protocol.
    """
    length = int(reply.headers.get(HEADER_LENGTH, len(reply.body)))
    header = json.loads(reply.body[:length])
    found: dict[str, Array] = {}
    at = length
    for tensor in header["outputs"]:
        kind, shape = NUMPY[tensor["datatype"]], tuple(tensor["shape"])
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is None:
            found[tensor["name"]] = np.array(tensor["data"], dtype=kind).reshape(shape)
            continue
        found[tensor["name"]] = np.frombuffer(reply.body[at : at + size], kind).reshape(shape)
        at += size
    return found


def _described(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[array.dtype.name]}
