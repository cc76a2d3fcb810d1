"""The messages of the protocol over HTTP: JSON, with raw tensors behind it where asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.oip.call import (
    MOST_SIZES,
    InferCall,
    are_sizes,
    check_id,
    check_input,
    check_output,
    scheduling,
    shown,
)
from jettison.serving.oip.datatypes import NUMPY_TYPES, datatype_of_array
from jettison.serving.oip.layout import KEPT, LONGEST_HEADER, Layout, NumberForm, Piece
from jettison.serving.oip.signature import Signature, Wanted
from jettison.serving.oip.tensors import from_bytes, from_values, to_bytes, to_values

_DATA, _PROBE = b'"data"', b'"jettison looks where this goes"'
_NO_PARAMETERS: Mapping[str, object] = {}
K = TypeVar("K")
V = TypeVar("V")


def read_json(body: bytes | memoryview) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        RequestRefused: `malformed`, for anything else (NaN and Infinity are no JSON).
    """
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused("malformed", f"the body is no JSON: {error}") from error
    if type(read) is not dict:
        raise RequestRefused("malformed", "the body must be a JSON object")
    return read


class CallReader:
    """Reads calls for inference of one version of a model, and keeps what repeats itself.

    Args:
        signature: of the model.
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._layouts: dict[bytes, Layout] = {}
        self._forms: dict[tuple[bytes, bytes], NumberForm] = {}

    def read(self, body: bytes, header_length: int | None) -> InferCall:
        """Reads a call.

        Args:
            body: the JSON, and raw tensors behind it.
            header_length: bytes of the JSON, from the header `Inference-Header-Content-Length`;
                `None` if it is the whole body.

        Raises:
            RequestRefused: `malformed` or `shape`, with what was given and what is allowed.
        """
        if header_length is None:
            return self._read_numbers(body)
        if not 0 < header_length <= LONGEST_HEADER:
            return read_call(body, header_length, self.signature)
        header = body[:header_length]
        layout = self._layouts.get(header)
        if layout is None:
            call = read_call(body, header_length, self.signature)
            layout = _layout_of(call, header)
            if layout is None:
                return call
            _keep(self._layouts, header, layout)
        elif len(body) - header_length != layout.size_bytes:
            # Read in full, to be refused with what is wrong.
            return read_call(body, header_length, self.signature)
        return InferCall(
            layout.arrays(body, header_length),
            layout.outputs,
            "",
            layout.priority,
            layout.timeout_seconds,
            layout,
        )

    def _read_numbers(self, body: bytes) -> InferCall:
        """Reads a call that is all JSON."""
        first = body.find(b"[", body.find(_DATA))
        last = body.find(b"]", first)
        if first < 0 or last < 0:
            return read_call(body, None, self.signature)
        around = body[:first], body[last + 1 :]
        form = self._forms.get(around)
        if form is None:
            call = read_call(body, None, self.signature)
            form = _form_of(call, body, around)
            if form is not None:
                _keep(self._forms, around, form)
                call = call._replace(layout=form.layout)
            return call
        arrays = form.arrays(_loaded(body[first : last + 1]))
        if arrays is None:
            return read_call(body, None, self.signature)
        told = form.layout
        return InferCall(arrays, told.outputs, "", told.priority, told.timeout_seconds, told)


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= KEPT:
        known.pop(next(iter(known)), None)
    known[key] = value


def _loaded(text: bytes) -> object:
    """What a piece of JSON says; `None` for what is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _form_of(call: InferCall, body: bytes, around: tuple[bytes, bytes]) -> NumberForm | None:
    """What lies around the numbers of a call, if another may bring it again: one tensor, no id.

    Whether the numbers lie where they seem to is found out by putting something else there.
    """
    before, after = around
    if call.call_id or len(call.arrays) != 1 or len(before) + len(after) > LONGEST_HEADER:
        return None
    [(name, array)] = call.arrays.items()
    message, changed = _loaded(body), _loaded(before + _PROBE + after)
    if array.dtype.char not in "fd" or type(message) is not dict or type(changed) is not dict:
        return None
    message["inputs"][0]["data"] = orjson.loads(_PROBE)
    try:
        if message != changed:
            return None
    except RecursionError:
        # Something that is passed over is nested as deep as JSON may be, deeper than Python looks.
        return None
    piece = Piece(name, array.dtype, array.shape, 0, array.nbytes)
    layout = Layout((piece,), call.outputs, call.priority, call.timeout_seconds)
    return NumberForm(piece, layout)


def _layout_of(call: InferCall, header: bytes) -> Layout | None:
    """What the header of a call says, if another may bring it again: all raw numbers, no id."""
    inputs = orjson.loads(header)["inputs"]
    plain = all(
        "data" not in entry and call.arrays[entry["name"]].dtype.kind in "iuf" for entry in inputs
    )
    if call.call_id or not plain or sys.byteorder != "little":
        return None
    pieces: list[Piece] = []
    place = 0
    for entry in inputs:
        array = call.arrays[entry["name"]]
        end = place + array.nbytes
        pieces.append(Piece(entry["name"], array.dtype, array.shape, place, end))
        place = end
    return Layout(pieces, call.outputs, call.priority, call.timeout_seconds)


def read_call(body: bytes, header_length: int | None, signature: Signature) -> InferCall:
    """Reads a call for inference, from its first byte.

    Args:
        body, header_length: as in `CallReader.read`.
        signature: of the model.

    Raises:
        RequestRefused: `malformed` or `shape`, with what was given and what is allowed.
    """
    raw = memoryview(b"")
    if header_length is None:
        message = read_json(body)
    else:
        whole = memoryview(body)
        if header_length > len(whole):
            raise RequestRefused(
                "malformed",
                f"Inference-Header-Content-Length is {header_length}, but the body has "
                f"{len(whole)} bytes",
            )
        message, raw = read_json(whole[:header_length]), whole[header_length:]
    parameters = _parameters(message, "the request")
    priority, timeout = scheduling(parameters)
    return InferCall(
        arrays=_inputs(message, raw, signature),
        outputs=_outputs(message, parameters, signature),
        call_id=check_id(message.get("id", "")),
        priority=priority,
        timeout_seconds=timeout,
    )


def _inputs(message: dict[str, Any], raw: memoryview, signature: Signature) -> dict[str, Array]:
    inputs = message.get("inputs")
    if type(inputs) is not list or not inputs:
        raise RequestRefused(
            "malformed", "the request needs `inputs`, a list with at least one tensor"
        )
    arrays: dict[str, Array] = {}
    place = 0
    for entry in inputs:
        name, datatype, shape = _described(entry, signature)
        if name in arrays:
            raise RequestRefused("shape", f"input `{name}` is there twice")
        size = _parameters(entry, f"input `{name}`").get("binary_data_size")
        if size is None:
            arrays[name] = from_values(name, datatype, shape, entry.get("data"))
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - place:
            raise RequestRefused(
                "malformed",
                f"input `{name}`: `binary_data_size` is {shown(size)}, but {len(raw) - place} bytes "
                "follow (is the header Inference-Header-Content-Length right?)",
            )
        arrays[name] = from_bytes(name, datatype, shape, raw[place : place + size])
        place += size
    if place != len(raw):
        raise RequestRefused(
            "malformed", f"{len(raw) - place} bytes follow that belong to no input"
        )
    return arrays


def _described(entry: object, signature: Signature) -> tuple[str, str, list[int]]:
    if type(entry) is not dict:
        raise RequestRefused("malformed", "each of `inputs` must be an object")
    name = check_input(entry.get("name"), signature)
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in NUMPY_TYPES:
        raise RequestRefused(
            "shape",
            f"input `{name}`: there is no datatype `{shown(datatype)}`; the model takes "
            f"{signature.inputs[name].datatype}",
        )
    shape = entry.get("shape")
    if type(shape) is not list or not are_sizes(shape):
        raise RequestRefused(
            "shape",
            f"input `{name}`: `shape` must be a list of sizes, at most {MOST_SIZES}; got "
            f"`{shown(shape)}`",
        )
    return name, datatype, shape


def _outputs(
    message: dict[str, Any], parameters: Mapping[str, object], signature: Signature
) -> tuple[Wanted, ...]:
    binary = bool(parameters) and _flag(parameters, "binary_data_output", default=False)
    outputs = message.get("outputs")
    if not outputs:
        return signature.all_binary if binary else signature.all_json
    if type(outputs) is not list or not all(type(entry) is dict for entry in outputs):
        raise RequestRefused("malformed", "`outputs` must be a list of objects with a `name`")
    wanted: list[Wanted] = []
    for entry in outputs:
        name = check_output(entry.get("name"), signature)
        given = _parameters(entry, f"output `{name}`")
        if "classification" in given:
            raise RequestRefused(
                "malformed",
                f"output `{name}`: there is no classification extension here; POST to `predict` "
                "for labels with scores",
            )
        wanted.append(Wanted(name, _flag(given, "binary_data", default=binary)))
    return tuple(wanted)


def _parameters(entry: dict[str, Any], where: str) -> Mapping[str, object]:
    parameters = entry.get("parameters")
    if parameters is None:
        return _NO_PARAMETERS
    if not isinstance(parameters, dict):
        raise RequestRefused("malformed", f"`parameters` of {where} must be an object")
    if "shared_memory_region" in parameters:
        raise RequestRefused("malformed", f"{where}: this server has no shared memory")
    return parameters


def _flag(parameters: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise RequestRefused("malformed", f"`{name}` must be true or false; got `{shown(value)}`")
    return value


def write_answer(
    head: dict[str, Any], outputs: tuple[Wanted, ...], arrays: Mapping[str, Array]
) -> tuple[bytes, int | None]:
    """Writes an answer.

    Args:
        head: `model_name`, `model_version`, and `id` where the caller gave one.
        outputs: what was asked for.
        arrays: of the answer.

    Returns:
        The body, and the bytes of its JSON where raw tensors follow, else `None`.

    Raises:
        RequestRefused: `shape`, if a canary answered that lacks an output.
    """
    told: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for wanted in outputs:
        array = arrays.get(wanted.name)
        if array is None:
            raise RequestRefused(
                "shape",
                f"version {head['model_version']}, which answered, has no output `{wanted.name}`",
            )
        entry: dict[str, Any] = {
            "name": wanted.name,
            "datatype": datatype_of_array(array),
            "shape": array.shape,
        }
        if wanted.binary:
            content = to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(content)}
            raw.append(content)
        else:
            entry["data"] = to_values(array)
        told.append(entry)
    head["outputs"] = told
    json = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return json, None
    return b"".join((json, *raw)), len(json)
