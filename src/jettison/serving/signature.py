"""Is a request what the model takes? Asked before the queue, so that no bad row meets good ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array, Batch
from jettison.errors import RequestRefused

TEXT = "str"
_FALSE = b"\0"


def checked(model: Model, arrays: Mapping[str, Array], *, pad: Mapping[str, float]) -> int:
    """Checks names, dtypes, shapes and values of one request.

    Every input must be there under its name and no other, in the dtype of the model; fixed
    dimensions as they are, free dimensions of one name equal in all inputs; the same number of
    rows, at least 1, everywhere; no NaN (but where the encoder says that it stands for a missing
    value) and nothing infinite.

    Args:
        model: whose inputs they are for.
        arrays: input name -> array of shape (rows, ...).
        pad: inputs whose second axis is ragged; no longer than the encoder's `max_length`, which is
            the longest that the model was certified on.

    Returns:
        The number of rows.

    Raises:
        RequestRefused: `shape`, with what was given and what is allowed.
    """
    if len(arrays) != len(model.inputs):
        raise _names(model, arrays)
    rows = 0
    free: dict[str, int] = {}
    for spec in model.inputs:
        array = arrays.get(spec.name)
        if array is None:
            raise _names(model, arrays)
        if not _has_dtype(array, spec):
            raise _dtype(array, spec)
        shape = array.shape
        if len(shape) != len(spec.shape) or not shape[0]:
            raise _shape(array, spec)
        rows = rows or shape[0]
        if shape[0] != rows:
            raise _rows(model, arrays)
        for axis in range(1, len(shape)):
            wanted = spec.shape[axis]
            if isinstance(wanted, int):
                if shape[axis] != wanted:
                    raise _shape(array, spec)
            elif free.setdefault(wanted, shape[axis]) != shape[axis]:
                raise _uneven(array, spec, axis, free[wanted])
    check_values(model, arrays)
    if free:
        _check_lengths(model, arrays, pad)
    return rows


def check_values(model: Model, arrays: Mapping[str, Array]) -> None:
    """Checks values alone, where names, dtypes and shapes are known to be right.

    Raises:
        RequestRefused: `shape`, for NaN (but where it stands for a missing value) and infinity.
    """
    for spec in model.inputs:
        array = arrays[spec.name]
        # `.all()` would say the same, and take three times as long on a row of a few numbers.
        if array.dtype.kind == "f" and _FALSE in np.isfinite(array).tobytes():
            _check_missing(model, array, spec)


def cast_inputs(model: Model, arrays: Mapping[str, Array]) -> Batch:
    """Gives the arrays in the dtypes of the model, where that changes no value.

    Whole numbers may become other whole numbers or floats, floats other floats, as long as each
    value comes back unchanged. What can't be cast is left as it is; `checked` refuses it.

    Args:
        model: whose inputs they are for.
        arrays: input name -> array; the same mapping is given back when nothing differs.
    """
    changed: dict[str, Array] = {}
    for spec in model.inputs:
        array = arrays.get(spec.name)
        if array is None or spec.dtype == TEXT or _has_dtype(array, spec):
            continue
        cast = _without_loss(array, _numpy_dtype(spec.dtype))
        if cast is not None:
            changed[spec.name] = cast
    return {**arrays, **changed} if changed else arrays


def _without_loss(array: Array, target: np.dtype[Any]) -> Array | None:
    source = array.dtype.kind
    if source not in "buif" or (source == "f" and target.kind != "f") or target.kind == "b":
        # Byte order is the one thing about a boolean or a text that may differ, and it doesn't.
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        cast: Array = array.astype(target)
        back = cast.astype(array.dtype)
    same = np.array_equal(back, array, equal_nan=source == "f")
    # 2**63 goes through int64 and back unchanged, with the other sign in between.
    if source in "iu" and target.kind in "iu":
        same = same and bool(((cast < 0) == (array < 0)).all())
    return cast if same else None


@functools.cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _has_dtype(array: Array, spec: TensorSpec) -> bool:
    if spec.dtype != TEXT:
        return array.dtype == _numpy_dtype(spec.dtype)
    if array.dtype.kind == "O":
        return all(type(value) is str for value in array.flat)
    return array.dtype.kind == "U"


def _check_missing(model: Model, array: Array, spec: TensorSpec) -> None:
    """Lets NaN through where it stands for a missing value; refuses the rest."""
    takes_missing = model.encoder.settings.get("missing")
    allowed = isinstance(takes_missing, list) and spec.name in takes_missing
    bad = np.isinf(array) if allowed else ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        rest = f" (position {place[1:]})" if len(place) > 1 else ""
        raise _refused(
            f"input `{spec.name}` has {array[place]} at row {place[0]}{rest}; send finite numbers"
            + (", or NaN for a missing value" if allowed else "")
        )


def _check_lengths(model: Model, arrays: Mapping[str, Array], pad: Mapping[str, float]) -> None:
    longest = model.encoder.settings.get("max_length")
    for spec in model.inputs:
        shape = arrays[spec.name].shape
        if 0 in shape:
            raise _refused(
                f"input `{spec.name}` has shape {shape}, which holds no value; every dimension "
                "must be at least 1"
            )
        if spec.name in pad and isinstance(longest, int) and shape[1] > longest:
            raise _refused(
                f"input `{spec.name}` is {shape[1]} long, but at most {longest} is allowed (the "
                "longest that the model was certified on); cut it"
            )


def _refused(message: str) -> RequestRefused:
    return RequestRefused("shape", message)


def _told(spec: TensorSpec) -> str:
    sizes = ("rows", *spec.shape[1:])
    return f"`{spec.name}` {spec.dtype} ({', '.join(str(size) for size in sizes)})"


def _names(model: Model, arrays: Mapping[str, Array]) -> RequestRefused:
    wanted = [spec.name for spec in model.inputs]
    missing = [f"`{name}`" for name in wanted if name not in arrays]
    unknown = [f"`{name}`" for name in arrays if name not in wanted]
    problems = [f"lacks {', '.join(missing)}"] if missing else []
    problems += [f"has the unknown {', '.join(unknown)}"] if unknown else []
    allowed = "; ".join(_told(spec) for spec in model.inputs)
    return _refused(f"the request {' and '.join(problems)}; the inputs are {allowed}")


def _dtype(array: Array, spec: TensorSpec) -> RequestRefused:
    words = {"O": "values that are not all text", "U": "text", "S": "bytes"}
    given = words.get(array.dtype.kind, str(array.dtype))
    return _refused(
        f"input `{spec.name}` holds {given}, but {spec.dtype} is wanted, and it can't be turned into "
        f"that without changing a value; send {_told(spec)}"
    )


def _shape(array: Array, spec: TensorSpec) -> RequestRefused:
    return _refused(
        f"input `{spec.name}` has shape {array.shape}; wanted is {_told(spec)}, with at least 1 row"
    )


def _rows(model: Model, arrays: Mapping[str, Array]) -> RequestRefused:
    given = ", ".join(f"`{spec.name}` {len(arrays[spec.name])}" for spec in model.inputs)
    return _refused(f"the inputs have different numbers of rows: {given}; send one number of rows")


def _uneven(array: Array, spec: TensorSpec, axis: int, other: int) -> RequestRefused:
    return _refused(
        f"input `{spec.name}` has size {array.shape[axis]} on axis {axis} (`{spec.shape[axis]}`), "
        f"where another axis of that name has {other}; all must be equal"
    )
