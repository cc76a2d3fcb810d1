"""The weights of saved models as bytes on disk, whatever wrote them: safetensors, ONNX, OpenVINO.

Files are read as they lie; no framework is loaded, so that the parent process may ask.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.model import Artifact
from jettison.domain.rows import Array
from jettison.errors import ModelError

__all__ = ["StoredTensor", "first_rows", "stored_tensors"]

FLOATS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}
INTEGERS = {"I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
ELEMENT = re.compile(r"([a-z]+)(\d+)")
LARGEST_HEADER = 100 * 2**20


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as it is stored.

    Attributes:
        values: shape (n,), unsigned integers with the bits of the values; sub-byte values are
            packed two to a byte, the first in the low half.
        bits: of one value.
        floating: whether the bits are a floating-point number, its sign the highest bit.
        count: number of values.
    """

    values: Array
    bits: int
    floating: bool
    count: int

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return int(self.values.nbytes)


def stored_tensors(artifact: Artifact) -> Iterator[StoredTensor]:
    """Every tensor in the files of a model, each byte of a file at most once.

    Files of a kind that is not known here give no tensor.

    Raises:
        ModelError: if a file is damaged.
    """
    folder = Path(artifact.folder)
    for name in artifact.files:
        path = folder / name
        if path.suffix == ".safetensors":
            yield from _safetensors(path)
        elif path.suffix == ".onnx":
            yield from _onnx(path)
        elif path.suffix == ".xml" and path.with_suffix(".bin").is_file():
            yield from _openvino(path)


def first_rows(artifact: Artifact, rows: int, columns: int) -> Iterator[Array]:
    """The bits of the first rows of each float matrix whose sizes are multiples of two numbers.

    Only files in safetensors say which weights are matrices; others give none.

    Args:
        artifact: of the model.
        rows: what the number of rows is a multiple of; so many are given.
        columns: what the number of columns is a multiple of.

    Raises:
        ModelError: if a file is damaged.
    """
    for path in (Path(artifact.folder) / name for name in artifact.files):
        if path.suffix != ".safetensors" or not path.is_file():
            continue
        for dtype, shape, begin, _ in _entries(path):
            matrix = dtype in FLOATS and len(shape) == 2 and min(shape) > 0
            if matrix and not (shape[0] % rows or shape[1] % columns):
                bits = FLOATS[dtype]
                length = rows * shape[1] * bits // 8
                yield _tensor(path, begin, length, bits, floating=True).values.reshape(rows, -1)


def _safetensors(path: Path) -> Iterator[StoredTensor]:
    for dtype, _, begin, length in _entries(path):
        bits = FLOATS.get(dtype) or INTEGERS.get(dtype) or 8
        yield _tensor(path, begin, length, bits, dtype in FLOATS)


def _entries(path: Path) -> list[tuple[str, tuple[int, ...], int, int]]:
    """Type, shape, first byte and number of bytes of each tensor in a file of safetensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(LARGEST_HEADER, path.stat().st_size - 8):
            raise ModelError(f"`{path}` is no safetensors file: its header has {length} bytes")
        try:
            header = json.loads(file.read(length))
            entries = [entry for key, entry in header.items() if key != "__metadata__"]
            return [_entry(entry, 8 + length) for entry in entries]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the header of `{path}` can't be read: {error}") from error


def _entry(held: Any, start: int) -> tuple[str, tuple[int, ...], int, int]:
    begin, end = map(int, held["data_offsets"])
    return str(held["dtype"]), tuple(map(int, held["shape"])), start + begin, end - begin


def _onnx(path: Path) -> Iterator[StoredTensor]:
    import onnx
    from onnx import numpy_helper

    from jettison.graphs.onnx_storage import external_slice, read_light
    from jettison.graphs.onnx_walk import is_external, tensors_of

    kinds = onnx.TensorProto
    floats = {kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16, kinds.BFLOAT16}
    for tensor in tensors_of(read_light(path)):
        if tensor.data_type in (kinds.STRING, kinds.UNDEFINED) or not math.prod(tensor.dims):
            continue
        floating = tensor.data_type in floats
        half = tensor.data_type in (kinds.INT4, kinds.UINT4)
        bits = 4 if half else _bits(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if is_external(tensor):
            place = external_slice(tensor, path.parent)
            yield _tensor(Path(place.path), place.offset, place.length, bits, floating)
        elif tensor.raw_data:
            yield _from_bytes(tensor.raw_data, bits, floating)
        else:
            yield _from_bytes(
                numpy_helper.to_array(tensor).tobytes(), 8 if half else bits, floating
            )


def _openvino(path: Path) -> Iterator[StoredTensor]:
    """Constants by their places in the file of weights; OpenVINO stores equal ones once."""
    text = path.read_text(encoding="utf-8")
    seen: set[tuple[int, int]] = set()
    for found in re.finditer(r'<layer [^>]*type="Const"[^>]*>\s*<data ([^>]*)/?>', text):
        given = dict(re.findall(r'(\w+)="([^"]*)"', found.group(1)))
        kind = ELEMENT.fullmatch(given.get("element_type", ""))
        place = (int(given.get("offset", 0)), int(given.get("size", 0)))
        if kind is None or place in seen or not place[1]:
            continue
        seen.add(place)
        bits = int(kind[2])
        if bits not in (4, 8, 16, 32, 64):
            bits = 8
        floating = kind[1] in ("f", "bf") and bits >= 16
        yield _tensor(path.with_suffix(".bin"), *place, bits, floating)


def _tensor(path: Path, offset: int, length: int, bits: int, floating: bool) -> StoredTensor:
    if offset + length > path.stat().st_size:
        raise ModelError(
            f"`{path}` ends before a weight at bytes {offset} to {offset + length}: the file is "
            "cut off; copy it again"
        )
    whole = np.fromfile(path, np.uint8, count=length, offset=offset)
    return _from_bytes(whole.tobytes(), bits, floating)


def _from_bytes(content: bytes, bits: int, floating: bool) -> StoredTensor:
    unsigned: Any = np.dtype(f"<u{max(1, bits // 8)}")
    values = np.frombuffer(content, unsigned)
    return StoredTensor(values, bits, floating, len(values) * 2 if bits == 4 else len(values))


def _bits(dtype: Any) -> int:
    return int(np.dtype(dtype).itemsize) * 8
