"""JSON round trip and content digest for the frozen dataclasses of the domain."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

Scalar = bool | int | float | str
"""What a setting may be: plain values only (ranges live in `SearchSpace`)."""

Settings = Mapping[str, Scalar]


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    # Imported on first use: `import jettison` must stay cheap.
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _plain(value: Any) -> Any:
    """Sorts what JSON has no order for, so that equal records have equal bytes."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def to_plain(record: Any) -> Any:
    """Gives the dicts, lists and scalars of a record, in a canonical order."""
    return _plain(_adapter(cast(Hashable, type(record))).dump_python(record, mode="python"))


def to_json(record: Any, *, indent: int | None = None) -> str:
    """Gives canonical JSON: sorted keys, no NaN, the same bytes for equal records.

    Raises:
        ValueError: if a number is NaN or infinite; a missing number is `None` here.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        to_plain(record), indent=indent, separators=separators, allow_nan=False, ensure_ascii=False
    )


def from_json(cls: type[T], text: str | bytes) -> T:
    """Reads a record back.

    Raises:
        pydantic.ValidationError: if the text is not a valid record of this class.
    """
    result: T = _adapter(cast(Hashable, cls)).validate_json(text)
    return result


def digest(record: Any) -> str:
    """Gives the SHA-256 of the canonical JSON of a record, in hexadecimal."""
    return hashlib.sha256(to_json(record).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """Gives the SHA-256 of a file, read in pieces, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
