"""Examples before and after an encoder: raw columns, and named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jettison.domain.rows import Array


@dataclass(frozen=True, slots=True)
class Example:
    """Raw examples as columns, before encoding.

    Attributes:
        columns: column name -> n values; the rows of a ragged column are arrays of their own.
        n: number of rows.
        files: the file of each row where rows are files, for messages; else empty.
    """

    columns: Mapping[str, Array]
    n: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """Arrays that an encoder made, rows first; `pad` as in `Rows`, `lengths` shape (n,)."""

    arrays: Mapping[str, Array]
    pad: Mapping[str, float] = field(default_factory=dict)
    lengths: Array | None = None
