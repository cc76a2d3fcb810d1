"""Turning the columns of a data file into the arrays that a model takes, without losing values."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError


def cast_column(values: npt.ArrayLike, spec: TensorSpec, where: str) -> Array:
    """Casts values to the dtype of an input where that loses nothing that matters.

    Allowed: whole numbers that fit; floats to a narrower float (rounded, but never to infinity);
    whole-number floats to integers; booleans to numbers; text to text.

    Args:
        values: shape (n, ...); an object array of equal-length sequences is stacked.
        spec: the input that they are for.
        where: names the column or array in errors, for example «column `age`».

    Returns:
        The values with dtype `spec.dtype`; text has a fixed-width dtype (`<U5`).

    Raises:
        DataError: names the first row (from 0) that can't be cast, and what to do.
    """
    array = np.asarray(values)
    if spec.dtype == "str":
        return _as_text(array, spec, where)
    array = _unpack(array, where)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{where} holds {_kind(array)}{_first_text(array)}, but input `{spec.name}` takes "
            f"{spec.dtype}: store numbers there, or name other columns in `data.inputs`"
        )
    target = np.dtype(spec.dtype)
    if target.kind == "b":
        return _as_booleans(array, spec, where)
    if target.kind in "iu":
        return _as_integers(array, target, spec, where)
    return _as_floats(array, target, spec, where)


def _unpack(array: Array, where: str) -> Array:
    if array.dtype != object or not len(array):
        return array
    first = array.flat[0]
    if isinstance(first, (list, tuple, np.ndarray)):
        shapes = [np.shape(item) for item in array]
        odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
        if odd is not None:
            raise DataError(
                f"{where} holds rows of different shapes: row 0 has {shapes[0]}, row {odd} has "
                f"{shapes[odd]}; pad or cut them to one shape"
            )
        return np.stack([np.asarray(item) for item in array])
    if all(isinstance(item, (bool, np.bool_)) for item in array.flat):
        return array.astype(bool)
    if all(isinstance(item, (int, np.integer)) for item in array.flat):
        # Through floats, whole numbers beyond 2^53 would become others.
        whole = np.asarray(array.tolist())
        if whole.dtype.kind in "iu":
            return whole
    numbers = (int, float, np.number)
    if all(item is None or isinstance(item, numbers) for item in array.flat):
        # `None` among numbers is a missing value.
        with contextlib.suppress(OverflowError):
            return array.astype(np.float64)
    return array


def _kind(array: Array) -> str:
    words = {"U": "text", "S": "bytes", "O": "text or mixed values", "M": "dates", "m": "durations"}
    return words.get(array.dtype.kind, str(array.dtype))


def _first_text(array: Array) -> str:
    texts = [(row, v) for row, v in enumerate(array.flat) if isinstance(v, str)]
    return f" (`{texts[0][1]}` at row {texts[0][0]})" if texts else ""


def _first_row(bad: Array) -> int:
    return int(np.argwhere(bad)[0][0])


def _as_text(array: Array, spec: TensorSpec, where: str) -> Array:
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind != "O":
        raise DataError(
            f"{where} holds {_kind(array)}, but input `{spec.name}` takes text: store the values "
            "as text in the data file"
        )
    bad = np.array([not isinstance(v, str) for v in array.flat], dtype=bool).reshape(array.shape)
    if bad.any():
        row = _first_row(bad)
        raise DataError(
            f"{where} has {array[row]!r} at row {row}, which is no text: input `{spec.name}` has no "
            "word for a missing value; fill it with a category that the model knows, or drop the row"
        )
    return array.astype(str)


def _as_booleans(array: Array, spec: TensorSpec, where: str) -> Array:
    bad = (array != 0) & (array != 1)
    if bad.any():
        row = _first_row(bad)
        raise DataError(
            f"{where} has {array[row]} at row {row}, but input `{spec.name}` takes true or false: "
            "store 0 and 1"
        )
    return array.astype(bool)


def _as_integers(array: Array, target: np.dtype[Any], spec: TensorSpec, where: str) -> Array:
    limits = np.iinfo(target)
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        bad |= np.where(bad, 0, array) % 1 != 0
        if bad.any():
            row = _first_row(bad)
            raise DataError(
                f"{where} has {array[row]} at row {row}, but input `{spec.name}` takes whole "
                f"numbers ({spec.dtype}): fill missing values and store whole numbers"
            )
    if array.dtype.kind != "b":
        if array.dtype.kind == "f":
            # The largest 64-bit number is no float: the nearest one is larger by 1.
            wide = array.astype(np.float64)
            bad = (wide < limits.min) | (wide >= limits.max + 1.0)
        else:
            bad = (array < limits.min) | (array > limits.max)
        if bad.any():
            row = _first_row(bad)
            raise DataError(
                f"{where} has {array[row]} at row {row}; input `{spec.name}` ({spec.dtype}) takes "
                f"{limits.min} to {limits.max}"
            )
    return array.astype(target)


def _as_floats(array: Array, target: np.dtype[Any], spec: TensorSpec, where: str) -> Array:
    with np.errstate(over="ignore"):
        cast: Array = array.astype(target)
    bad = np.isinf(cast) & np.isfinite(array)
    problem = f"is beyond the range of {spec.dtype}"
    if array.dtype.kind in "iu":
        exact = 2 ** (np.finfo(target).nmant + 1)
        bad |= (array > exact) | (array < -exact)
        problem = f"is a whole number that {spec.dtype} can't hold exactly"
    if bad.any():
        row = _first_row(bad)
        raise DataError(
            f"{where} has {array[row]} at row {row}, which {problem} (input `{spec.name}`): "
            "scale the column as it was when the model was trained"
        )
    return cast


def check_shape(array: Array, spec: TensorSpec, n: int, where: str) -> None:
    """Checks the number of rows and every fixed dimension.

    Raises:
        DataError: with the shape found and the shape wanted.
    """
    wanted = ("n", *spec.shape[1:])
    fits = array.ndim == len(spec.shape) and len(array) == n
    fits = fits and all(
        isinstance(size, str) or size == found
        for size, found in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(
            f"{where} has shape {array.shape}, but input `{spec.name}` takes "
            f"({', '.join(str(size) for size in wanted)}) with n = {n}: reshape it, or name other "
            "columns in `data.inputs`"
        )


def check_finite(array: Array, where: str, *, missing_allowed: bool = False) -> None:
    """Checks that there is no infinite value, and no NaN unless missing values are allowed.

    Raises:
        DataError: with the first row (from 0).
    """
    if array.dtype.kind != "f":
        return
    bad = np.isinf(array) if missing_allowed else ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        rest = (
            "fill missing values as the model was trained to see them, or drop the row"
            if np.isnan(array[place])
            else "correct the value, or drop the row"
        )
        column = f" (position {place[1:]})" if len(place) > 1 and array.shape[1:] != (1,) else ""
        raise DataError(f"{where} has {array[place]} at row {place[0]}{column}: {rest}")
