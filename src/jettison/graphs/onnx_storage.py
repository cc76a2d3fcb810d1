"""ONNX files on disk: read without weights, copy and save in pieces, external data kept inside.

The largest models are never held whole: weights travel from file to file in blocks, and a graph
with heavy weights is written as `model.onnx` plus one `model.onnx.data`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.files import write_atomically
from jettison.errors import ModelError
from jettison.graphs.onnx_walk import is_external, stored_bytes, tensors_of
from jettison.graphs.onnx_wire import light_bytes

GRAPH_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"

INLINE_LIMIT = 128 * 2**20
"""Bytes of weights up to which a graph is one file."""

SMALLEST_EXTERNAL = 1024
"""Tensors below this many bytes stay in the graph: shapes and scalars are read at planning time."""

ALIGNMENT = 4096
"""Offsets in the data file, so that a runtime can map tensors instead of copying them."""

BLOCK = 16 * 2**20


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Some bytes of a file."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ChangedSlice:
    """Some bytes of a file that are changed on their way into another, a block at a time.

    Attributes:
        source: what is read.
        change: gives the bytes that are written for a block of whole values.
    """

    source: FileSlice
    change: Callable[[bytes], bytes]


Blob = Any
"""Where the bytes of a tensor are: a `FileSlice`, a `ChangedSlice`, or an `onnx.TensorProto` in
memory."""


def read_light(path: Path) -> Any:
    """Reads an `onnx.ModelProto` without its external data.

    In a file above `INLINE_LIMIT` the heavy tensors are references to that file as well.

    Raises:
        ModelError: if the file is not a readable ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        if path.stat().st_size > INLINE_LIMIT:
            return onnx.load_model_from_string(light_bytes(path))
        return onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelError(
            f"`{path}` can't be read as an ONNX graph: its protobuf records are damaged or cut "
            "off; copy the file again from where it was made, or export it again"
        ) from error


def external_slice(tensor: Any, folder: Path) -> FileSlice:
    """Where the bytes of an external tensor lie, checked.

    Raises:
        ModelError: if the reference leaves `folder`, or names a file or range that is not there.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    what = f"the weight `{tensor.name}` of the graph in `{folder}`"
    path = _inside(location, folder, what)
    if not path.is_file():
        raise ModelError(
            f"{what} is stored in `{location}`, which is missing; put that file beside the .onnx "
            "file, as it was when the model was exported"
        )
    wanted = stored_bytes(tensor)
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or wanted)
    except ValueError as error:
        raise ModelError(
            f"{what} has an offset or length that is no number: {entries}; export it again"
        ) from error
    if length != wanted:
        raise ModelError(
            f"{what} has dimensions {list(tensor.dims)}, so {wanted} bytes, but refers to {length} "
            f"bytes of `{location}`; export it again"
        )
    if offset < 0 or offset + length > path.stat().st_size:
        raise ModelError(
            f"{what} needs bytes {offset} to {offset + length} of `{location}`, which holds only "
            f"{path.stat().st_size}; the file is cut off or belongs to another export: copy it again"
        )
    return FileSlice(str(path), offset, length)


def _inside(location: str, folder: Path, what: str) -> Path:
    root = folder.resolve()
    path = root / location
    relative = location and not Path(location).is_absolute() and ".." not in Path(location).parts
    # `resolve` follows symlinks, so a link that points out is caught as well.
    if not relative or not path.resolve().is_relative_to(root):
        raise ModelError(
            f"{what} points at `{location}`, which lies outside the model's own folder; a model "
            "may read only files beside it: move the data file there and store its bare name"
        )
    return path


def weight_bytes(model: Any) -> int:
    """Bytes of the tensors that are stored inside the graph itself."""
    return sum(0 if is_external(t) else stored_bytes(t) for t in tensors_of(model))


def copy_model(source: Path, folder: Path) -> tuple[str, ...]:
    """Copies a graph and its external data into `folder`, weights in blocks.

    Returns:
        The files written: `model.onnx`, and `model.onnx.data` where there is external data.

    Raises:
        ModelError: if the graph or its external data can't be read.
    """
    return copy_model_with(read_light(source), source, folder)


def copy_model_with(model: Any, source: Path, folder: Path) -> tuple[str, ...]:
    """As `copy_model`, with a graph already read from `source`, and perhaps edited."""
    light, heavy = model, external_blobs(model, source.resolve().parent)
    if not heavy and weight_bytes(model) > INLINE_LIMIT:
        light, heavy = split_weights(model)
    return write_model(light, heavy, folder)


def external_blobs(model: Any, folder: Path) -> list[tuple[Any, Blob]]:
    """Pairs every external tensor with where its bytes lie.

    Raises:
        ModelError: as `external_slice`.
    """
    return [(t, external_slice(t, folder)) for t in tensors_of(model) if is_external(t)]


def save_model(model: Any, folder: Path) -> tuple[str, ...]:
    """Writes an `onnx.ModelProto` whose weights are in memory; the proto is left as it was.

    Raises:
        ModelError: if it refers to external data, whose folder only a path can tell.
    """
    for tensor in tensors_of(model):
        if is_external(tensor):
            raise ModelError(
                f"the weight `{tensor.name}` lies in a file beside a graph that was handed over "
                "without its folder; hand over the path of the .onnx file"
            )
    if weight_bytes(model) <= INLINE_LIMIT:
        return write_model(model, [], folder)
    light, heavy = split_weights(model)
    return write_model(light, heavy, folder)


def split_weights(model: Any) -> tuple[Any, list[tuple[Any, Blob]]]:
    """Copies a graph without its heavy tensors.

    Returns:
        The light copy, and each emptied tensor in it with the bytes that belong there.
    """
    import onnx

    light = onnx.ModelProto()
    _copy_fields(model, light, {"graph", "functions"})
    heavy: list[tuple[Any, Blob]] = []
    _split_graph(model.graph, light.graph, heavy)
    for function in model.functions:
        light.functions.add().CopyFrom(function)
    return light, heavy


def _copy_fields(source: Any, target: Any, without: set[str]) -> None:
    for descriptor, value in source.ListFields():
        if descriptor.name in without:
            continue
        if isinstance(value, (int, float, str, bytes)):
            setattr(target, descriptor.name, value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, descriptor.name).CopyFrom(value)
        else:
            getattr(target, descriptor.name).extend(value)


def _split_graph(source: Any, target: Any, heavy: list[tuple[Any, Blob]]) -> None:
    _copy_fields(source, target, {"node", "initializer"})
    for tensor in source.initializer:
        _split_tensor(tensor, target.initializer.add(), heavy)
    for node in source.node:
        copy = target.node.add()
        _copy_fields(node, copy, {"attribute"})
        for attribute in node.attribute:
            _split_attribute(attribute, copy.attribute.add(), heavy)


def _split_attribute(source: Any, target: Any, heavy: list[tuple[Any, Blob]]) -> None:
    _copy_fields(source, target, {"g", "graphs"})
    if source.HasField("g"):
        _split_graph(source.g, target.g, heavy)
    for graph in source.graphs:
        _split_graph(graph, target.graphs.add(), heavy)


def _split_tensor(source: Any, target: Any, heavy: list[tuple[Any, Blob]]) -> None:
    import onnx

    if source.data_type == onnx.TensorProto.STRING or stored_bytes(source) < SMALLEST_EXTERNAL:
        target.CopyFrom(source)
        return
    payload = {"raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"}
    _copy_fields(source, target, payload)
    heavy.append((target, source))


def write_model(model: Any, blobs: list[tuple[Any, Blob]], folder: Path) -> tuple[str, ...]:
    """Writes a graph whose tensors `blobs` get their bytes in the data file.

    Both files are written beside, synced and renamed, the data first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / DATA_FILE
    if blobs:
        part = data.with_name(f".{DATA_FILE}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                _write_blobs(blobs, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, data)
        finally:
            part.unlink(missing_ok=True)
    write_atomically(folder / GRAPH_FILE, model.SerializeToString(deterministic=True))
    return (GRAPH_FILE, DATA_FILE) if blobs else (GRAPH_FILE,)


def _write_blobs(blobs: list[tuple[Any, Blob]], file: Any) -> None:
    placed: dict[FileSlice | ChangedSlice, tuple[int, int]] = {}
    for tensor, blob in blobs:
        on_disk = isinstance(blob, FileSlice | ChangedSlice)
        known = placed.get(blob) if on_disk else None
        if known is None:
            start = -(-file.tell() // ALIGNMENT) * ALIGNMENT
            file.write(b"\0" * (start - file.tell()))
            for block in blocks_of(blob):
                file.write(block)
            known = (start, file.tell() - start)
            if on_disk:
                placed[blob] = known
        _refer(tensor, *known)


def blocks_of(blob: Blob) -> Iterator[bytes]:
    """Gives the bytes of a tensor; those that lie in a file a block at a time.

    Raises:
        ModelError: if the file is shorter than it was.
    """
    if isinstance(blob, ChangedSlice):
        yield from map(blob.change, blocks_of(blob.source))
        return
    if not isinstance(blob, FileSlice):
        import onnx

        yield blob.raw_data or onnx.numpy_helper.to_array(blob).tobytes()
        return
    with open(blob.path, "rb") as source:
        source.seek(blob.offset)
        left = blob.length
        while left:
            block = source.read(min(BLOCK, left))
            if not block:
                raise ModelError(f"`{blob.path}` became shorter while it was copied; try again")
            left -= len(block)
            yield block


def _refer(tensor: Any, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = 1
    for key, value in (("location", DATA_FILE), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
