"""Tensors go through the protocol and come back unchanged, in every form."""

from __future__ import annotations

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jettison.serving.oip.datatypes import BYTES, NUMPY_TYPES, datatype_of_array
from jettison.serving.oip.tensors import from_bytes, from_flat, from_values, to_bytes, to_values

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """A data type with an array of it; numbers are finite."""
    datatype = draw(st.sampled_from(sorted(NUMPY_TYPES)))
    shape = draw(SHAPES)
    if datatype == BYTES:
        count = int(np.prod(shape))
        texts = draw(st.lists(st.text(max_size=8), min_size=count, max_size=count))
        made = np.empty(count, dtype=object)
        made[:] = texts
        return datatype, made.reshape(shape)
    dtype = NUMPY_TYPES[datatype]
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return datatype, draw(arrays.arrays(dtype, shape, elements=elements))


def equal(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Same shape, type and values, down to the sign of zero."""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    if wanted.dtype == object:
        return found.tolist() == wanted.tolist()
    return found.tobytes() == wanted.tobytes()


@given(tensors())
def test_raw_bytes_come_back(made: tuple[str, np.ndarray]) -> None:
    """Bytes of an output, read as an input, give the array, at any place in a body."""
    datatype, array = made
    raw = to_bytes(array)
    for before in (0, 1, 3):
        body = memoryview(b"x" * before + raw)
        found = from_bytes("t", datatype, array.shape, body[before:])
        assert equal(found, array)
        assert found.flags.aligned


@given(tensors(), st.booleans())
def test_json_values_come_back(made: tuple[str, np.ndarray], nested: bool) -> None:
    """JSON of an output, flat or nested, read as an input, gives the array."""
    datatype, array = made
    text = orjson.dumps(to_values(array), option=orjson.OPT_SERIALIZE_NUMPY)
    data = orjson.loads(text)
    if nested:
        data = np.array(data, dtype=object).reshape(array.shape).tolist()
    assert equal(from_values("t", datatype, array.shape, data), array)


@given(tensors())
def test_typed_contents_come_back(made: tuple[str, np.ndarray]) -> None:
    """The flat values of a gRPC message give the array."""
    datatype, array = made
    flat = array.reshape(-1).tolist()
    if datatype == BYTES:
        flat = [text.encode() for text in flat]
    assert equal(from_flat("t", datatype, array.shape, flat), array)


@given(tensors())
def test_the_word_for_an_array_is_its_type(made: tuple[str, np.ndarray]) -> None:
    """What an array holds is told by its own dtype."""
    datatype, array = made
    assert datatype_of_array(array) == datatype
