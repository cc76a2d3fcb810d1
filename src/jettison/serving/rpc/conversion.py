"""Messages of the service <-> calls and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.oip.call import (
    InferCall,
    are_sizes,
    check_id,
    check_input,
    check_output,
    scheduling,
    shown,
)
from jettison.serving.oip.datatypes import BYTES, NUMPY_TYPES, datatype_of_array
from jettison.serving.oip.signature import Signature, Wanted
from jettison.serving.oip.tensors import from_bytes, from_flat, to_bytes
from jettison.serving.requests import Answer
from jettison.serving.rpc.messages import messages

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Data type -> field of its typed contents. There is none for FP16, which comes as raw bytes."""


def read_call(message: Any, signature: Signature) -> InferCall:
    """Reads a `ModelInferRequest`.

    Args:
        message: whose tensors are raw or typed, one way for all.
        signature: of the model.

    Raises:
        RequestRefused: `malformed` or `shape`, with what was given and what is allowed.
    """
    priority, timeout = scheduling(plain_parameters(message.parameters))
    outputs = tuple(
        Wanted(check_output(output.name, signature), binary=True) for output in message.outputs
    )
    return InferCall(
        arrays=_inputs(message, signature),
        outputs=outputs or signature.all_binary,
        call_id=check_id(message.id),
        priority=priority,
        timeout_seconds=timeout,
    )


def _inputs(message: Any, signature: Signature) -> dict[str, Array]:
    tensors, raw = message.inputs, message.raw_input_contents
    if not tensors:
        raise RequestRefused("malformed", "the request needs `inputs`, at least one tensor")
    if raw and len(raw) != len(tensors):
        raise RequestRefused(
            "malformed",
            f"`raw_input_contents` has {len(raw)} entries for {len(tensors)} inputs; it needs one "
            "for each, or none",
        )
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(tensors):
        name = check_input(tensor.name, signature)
        if name in arrays:
            raise RequestRefused("shape", f"input `{name}` is there twice")
        shape = _described(tensor, signature)
        if not raw:
            arrays[name] = _typed(tensor, shape)
        elif tensor.HasField("contents"):
            raise RequestRefused(
                "malformed", f"input `{name}` has `contents` beside `raw_input_contents`"
            )
        else:
            arrays[name] = from_bytes(name, tensor.datatype, shape, memoryview(raw[place]))
    return arrays


def _described(tensor: Any, signature: Signature) -> list[int]:
    if tensor.datatype not in NUMPY_TYPES:
        raise RequestRefused(
            "shape",
            f"input `{tensor.name}`: there is no datatype `{tensor.datatype[:60]}`; the model takes "
            f"{signature.inputs[tensor.name].datatype}",
        )
    if "shared_memory_region" in tensor.parameters:
        raise RequestRefused(
            "malformed", f"input `{tensor.name}`: this server has no shared memory"
        )
    shape = list(tensor.shape)
    if not are_sizes(shape):
        raise RequestRefused("shape", f"input `{tensor.name}`: there is no shape {shown(shape)}")
    return shape


def _typed(tensor: Any, shape: list[int]) -> Array:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise RequestRefused(
            "malformed",
            f"input `{tensor.name}`: {tensor.datatype} comes in `raw_input_contents` only",
        )
    return from_flat(tensor.name, tensor.datatype, shape, list(getattr(tensor.contents, field)))


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, object]:
    """The values of a map of parameters, without the message around each."""
    plain: dict[str, object] = {}
    for name, value in parameters.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            plain[name] = getattr(value, choice)
    return plain


def write_answer(name: str, call: InferCall, answer: Answer) -> Any:
    """Makes a `ModelInferResponse` with raw contents.

    Raises:
        RequestRefused: `shape`, if a canary answered that lacks an output.
    """
    response = messages()["ModelInferResponse"](
        model_name=name, model_version=answer.version, id=call.call_id
    )
    for wanted in call.outputs:
        array = answer.arrays.get(wanted.name)
        if array is None:
            raise RequestRefused(
                "shape",
                f"version {answer.version}, which answered, has no output `{wanted.name}`",
            )
        response.outputs.add(name=wanted.name, datatype=datatype_of_array(array), shape=array.shape)
        response.raw_output_contents.append(to_bytes(array))
    return response
