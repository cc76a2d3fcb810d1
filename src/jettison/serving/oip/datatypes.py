"""The data types of the Open Inference Protocol, and the NumPy types that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import ModelError

BYTES = "BYTES"

NUMPY_TYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    BYTES: np.dtype(np.object_),
}
"""Data type -> NumPy type. Text is held as Python strings in an array of objects: a fixed-width
array would cost four bytes per letter of its longest text in every row."""

_NAMES = {str(dtype): name for name, dtype in NUMPY_TYPES.items() if name != BYTES}
_NAMES_OF_ARRAYS = {dtype: name for name, dtype in NUMPY_TYPES.items() if name != BYTES}


def datatype_of(dtype: str) -> str:
    """The protocol's word for the dtype of a `TensorSpec` (`float32`, `str`).

    Raises:
        ModelError: for a dtype that the protocol has no word for.
    """
    if dtype == "str":
        return BYTES
    name = _NAMES.get(dtype)
    if name is None:
        raise ModelError(
            f"the Open Inference Protocol has no word for the dtype {dtype} (it has "
            f"{', '.join(NUMPY_TYPES)}): export the model with one of these inputs and outputs"
        )
    return name


def datatype_of_array(array: Array) -> str:
    """The protocol's word for what an array really holds.

    Raises:
        ModelError: for a dtype that the protocol has no word for.
    """
    name = _NAMES_OF_ARRAYS.get(array.dtype)
    if name is not None:
        return name
    return datatype_of("str" if array.dtype.kind in "OUS" else array.dtype.name)
