"""Reads a large ONNX file as a graph without its weights, straight from the bytes on disk.

`onnx.load` holds a file twice while it parses it: once as bytes, once as messages. Here the file is
mapped, and each heavy tensor is replaced by a reference to its place in the same file (which is
what ONNX calls external data), so that memory grows with the graph and not with the weights.

Wire format: https://protobuf.dev/programming-guides/encoding; field numbers: onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from jettison.errors import ModelError

HEAVY = 1024
"""Raw data of this many bytes and more is left on disk."""

DEEPEST = 64
"""Nesting that is followed; branches of branches of ... are no real model beyond it."""

_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {},
}
"""Kind of message -> field number -> kind of the message in that field."""

RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14


def light_bytes(path: Path) -> bytes:
    """Gives the serialised `onnx.ModelProto` with heavy raw data referring to `path` itself.

    Raises:
        ModelError: if the records are damaged or cut off.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return bytes(_Copy(data, path).message(0, len(data), "model", 0))


class _Copy:
    """Copies messages, following those that may hold tensors."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path

    def message(self, start: int, end: int, kind: str, depth: int) -> bytearray:
        """Copies one message that lies at `start` to `end`."""
        if depth > DEEPEST:
            raise self._damaged("branches are nested without end")
        out = bytearray()
        children = _CHILDREN[kind]
        for number, first, body, after in self._fields(start, end):
            if kind == "tensor" and number == RAW_DATA and body >= 0 and after - body >= HEAVY:
                out += self._reference(body, after - body)
            elif number in children and body >= 0:
                inner = self.message(body, after, children[number], depth + 1)
                out += _varint(number << 3 | 2) + _varint(len(inner)) + inner
            else:
                out += self._data[first:after]
        return out

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Number, first byte, first byte of the content (-1 for plain numbers) and end."""
        place = start
        while place < end:
            first = place
            tag, place = self._number(place, end)
            body = -1
            if tag & 7 == 0:
                _, place = self._number(place, end)
            elif tag & 7 == 1:
                place += 8
            elif tag & 7 == 5:
                place += 4
            elif tag & 7 == 2:
                length, body = self._number(place, end)
                place = body + length
            else:
                raise self._damaged(f"a record of unknown type {tag & 7} at byte {first}")
            if place > end:
                raise self._damaged(f"a record at byte {first} ends {place - end} bytes too late")
            yield tag >> 3, first, body, place

    def _number(self, place: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while place < end and shift < 70:
            byte = self._data[place]
            place += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, place
            shift += 7
        raise self._damaged(f"a number at byte {place} has no end")

    def _reference(self, offset: int, length: int) -> bytes:
        out = b""
        for key, value in (("location", self._path.name), ("offset", offset), ("length", length)):
            entry = _text(1, key) + _text(2, str(value))
            out += _varint(EXTERNAL_DATA << 3 | 2) + _varint(len(entry)) + entry
        return out + _varint(DATA_LOCATION << 3) + b"\x01"

    def _damaged(self, what: str) -> ModelError:
        return ModelError(
            f"`{self._path}` can't be read as an ONNX graph: {what}. It is damaged or cut off; "
            "copy the file again from where it was made, or export it again"
        )


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
