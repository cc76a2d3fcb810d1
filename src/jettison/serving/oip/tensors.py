"""Tensors of the Open Inference Protocol: JSON lists or raw bytes on one side, NumPy on the other.

Raw bytes are little-endian, row-major, without padding; an element of type BYTES is its length in
four bytes, then its content (binary tensor data extension of the protocol). Text is UTF-8.
"""

from __future__ import annotations

import itertools
import math
import reprlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.oip.datatypes import BYTES, NUMPY_TYPES

_LENGTH = struct.Struct("<I")
PACKED = 4096
"""Longest list of numbers that is packed in one call."""

_ALLOWED: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
    "O": frozenset({str}),
}
"""Kind of NumPy dtype -> what JSON may hold for it. JSON has no NaN: `null` stands for a missing
number, which later checks let through only where the model takes it."""

_WORDS = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}


def from_values(name: str, datatype: str, shape: Sequence[int], data: object) -> Array:
    """Makes an array of JSON values, which are flat or nested as the shape says.

    Args:
        name: of the tensor, for errors.
        datatype: a key of `NUMPY_TYPES`.
        shape: sizes, none negative.
        data: what stands under `data`.

    Raises:
        RequestRefused: `shape` if values are missing, too many, of another type or out of range.
    """
    if not isinstance(data, list):
        raise RequestRefused("shape", f"input `{name}`: `data` must be a list of values")
    dtype = NUMPY_TYPES[datatype]
    flat = _flattened(name, data, shape)
    types = set(map(type, flat))
    if not types <= _ALLOWED[dtype.kind]:
        odd = next(value for value in flat if type(value) not in _ALLOWED[dtype.kind])
        raise RequestRefused(
            "shape",
            f"input `{name}` is {datatype}, which takes {_WORDS.get(dtype.kind, 'texts')}; got "
            f"{_shown(odd)}",
        )
    if dtype.kind == "f":
        return _floats(datatype, flat, types).reshape(shape)
    if dtype.kind in "iu":
        return _integers(name, datatype, flat).reshape(shape)
    return _filled(flat, dtype).reshape(shape)


def _floats(datatype: str, flat: list[Any], types: set[type]) -> Array:
    dtype = NUMPY_TYPES[datatype]
    if types == {float} and len(flat) <= PACKED:
        # Half the time of `np.array`; it refuses what is beyond the range.
        try:
            return np.frombuffer(struct.pack(f"{len(flat)}{dtype.char}", *flat), dtype)
        except OverflowError:
            pass
    # A number beyond the range becomes infinite here, and is refused as such.
    with np.errstate(over="ignore"):
        return np.array(flat, dtype=dtype)


def from_bytes(name: str, datatype: str, shape: Sequence[int], raw: memoryview) -> Array:
    """Makes an array of raw bytes; it may be a read-only view of them.

    Raises:
        RequestRefused: `shape` if the number of bytes is not that of the shape, `malformed` if
            they can't be values of this type.
    """
    dtype = NUMPY_TYPES[datatype]
    count = math.prod(shape)
    if datatype == BYTES:
        return _filled(_texts(name, raw, count), dtype).reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise RequestRefused(
            "shape",
            f"input `{name}` {datatype} {list(shape)} takes {count * dtype.itemsize} bytes; got "
            f"{len(raw)}",
        )
    if dtype.kind == "b" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise RequestRefused("malformed", f"input `{name}`: a BOOL is one byte, 0 or 1")
    view: Array = np.frombuffer(raw, dtype.newbyteorder("<"))
    # The JSON before it may have any length, so the bytes may lie across the words of memory.
    whole = view if view.flags.aligned and view.dtype == dtype else view.astype(dtype)
    return whole.reshape(shape)


def to_values(array: Array) -> Array | list[Any]:
    """Gives the flat values of an output, ready for `orjson` with its NumPy option."""
    flat = array.reshape(-1)
    if flat.dtype.kind in "OUS":
        return [_text(value) for value in flat.tolist()]
    return np.ascontiguousarray(flat)


def to_bytes(array: Array) -> bytes:
    """Gives the raw bytes of an output."""
    if array.dtype.kind not in "OUS":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    pieces: list[bytes] = []
    for value in array.reshape(-1).tolist():
        content = value if isinstance(value, bytes) else str(value).encode()
        pieces += (_LENGTH.pack(len(content)), content)
    return b"".join(pieces)


def from_flat(name: str, datatype: str, shape: Sequence[int], flat: Sequence[Any]) -> Array:
    """Makes an array of the typed contents of a gRPC message.

    Raises:
        RequestRefused: `shape` if there are too few or too many, or one is out of range.
    """
    dtype = NUMPY_TYPES[datatype]
    if len(flat) != math.prod(shape):
        raise _count_differs(name, shape, len(flat))
    if datatype == BYTES:
        return _filled([_utf8(name, value) for value in flat], dtype).reshape(shape)
    if dtype.kind in "iu":
        return _integers(name, datatype, flat).reshape(shape)
    return np.array(flat, dtype=dtype).reshape(shape)


def _flattened(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    flat = data
    if data and type(data[0]) is list:
        for place in range(len(shape)):
            if len(flat) != math.prod(shape[: place + 1]):
                raise _count_differs(name, shape, len(flat), place)
            if place + 1 == len(shape):
                break
            width = shape[place + 1]
            if not all(type(part) is list and len(part) == width for part in flat):
                raise RequestRefused(
                    "shape",
                    f"input `{name}`: the lists in `data` are not nested as the shape "
                    f"{list(shape)} says (dimension {place + 1} should have {width} everywhere)",
                )
            flat = list(itertools.chain.from_iterable(flat))
    elif len(flat) != math.prod(shape):
        raise _count_differs(name, shape, len(flat))
    return flat


def _count_differs(
    name: str, shape: Sequence[int], found: int, place: int | None = None
) -> RequestRefused:
    where = "" if place is None else f" in dimension {place}"
    wanted = math.prod(shape) if place is None else math.prod(shape[: place + 1])
    return RequestRefused(
        "shape",
        f"input `{name}` of shape {list(shape)} takes {wanted} values{where}; got {found}",
    )


def _integers(name: str, datatype: str, flat: Sequence[int]) -> Array:
    dtype = NUMPY_TYPES[datatype]
    limits = np.iinfo(dtype)
    if flat and not limits.min <= min(flat) <= max(flat) <= limits.max:
        odd = next(value for value in flat if not limits.min <= value <= limits.max)
        raise RequestRefused(
            "shape",
            f"input `{name}` is {datatype}, from {limits.min} to {limits.max}; got {odd}",
        )
    return np.array(flat, dtype=dtype)


def _filled(values: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    # Assigned into place: NumPy must not look into the values for more dimensions.
    made = np.empty(len(values), dtype=dtype)
    made[:] = values
    return made


def _texts(name: str, raw: memoryview, count: int) -> list[str]:
    if len(raw) < count * _LENGTH.size:
        raise RequestRefused(
            "shape", f"input `{name}`: {len(raw)} bytes can't hold {count} texts with their lengths"
        )
    texts: list[str] = []
    place = 0
    for _ in range(count):
        if place + _LENGTH.size > len(raw):
            raise RequestRefused(
                "malformed", f"input `{name}` ends after {len(texts)} of {count} texts"
            )
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        if length > len(raw) - place:
            raise RequestRefused(
                "malformed",
                f"input `{name}`: text {len(texts)} says {length} bytes, {len(raw) - place} follow",
            )
        texts.append(_utf8(name, bytes(raw[place : place + length])))
        place += length
    if place != len(raw):
        raise RequestRefused(
            "shape", f"input `{name}`: {len(raw) - place} bytes follow after the {count} texts"
        )
    return texts


def _utf8(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RequestRefused(
            "malformed", f"input `{name}` holds bytes that are no UTF-8 text: {error}"
        ) from error


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _shown(value: object) -> str:
    text = "null" if value is None else reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
