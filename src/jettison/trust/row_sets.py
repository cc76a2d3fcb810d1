"""Sets of row digests: small, sorted, exact; how the ledger knows a row again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RowSet = npt.NDArray[np.bytes_]
"""Distinct rows, sorted, as 16-byte prefixes of their digests: shape (k,), or (k, m) where each row
is known by m digests (of its encoded inputs, of its raw values, ...)."""

PREFIX_BYTES = 16


def row_set(digests: Sequence[str], *more: Sequence[str]) -> RowSet:
    """Compresses row digests (SHA-256 in hexadecimal) into a sorted set of prefixes.

    Args:
        digests: one for each row.
        more: further digests of the same rows, in the same order.

    Raises:
        ValueError: if a digest is not 64 hexadecimal characters, or a row lacks one.

    >>> row_set(["ab" * 32, "00" * 32, "ab" * 32]).shape
    (2,)
    >>> row_set(["ab" * 32, "00" * 32], ["12" * 32, "34" * 32]).shape
    (2, 2)
    """
    columns = [_packed(column) for column in (digests, *more)]
    if len({len(column) for column in columns}) > 1:
        raise ValueError("each row needs the same number of digests")
    if not more:
        return np.unique(columns[0])
    rows = np.stack(columns, axis=1)
    rows = rows[np.lexsort(rows.T[::-1])]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return rows[new]


def _packed(digests: Sequence[str]) -> RowSet:
    if any(len(digest) != 64 for digest in digests):
        raise ValueError("each row digest must be 64 hexadecimal characters (SHA-256)")
    packed = bytes.fromhex("".join(digest[: 2 * PREFIX_BYTES] for digest in digests))
    return np.frombuffer(packed, dtype=f"S{PREFIX_BYTES}")


def common_rows(some: RowSet, others: RowSet) -> int:
    """Counts the rows of `some` of which any digest is a digest of a row of `others`."""
    if not some.size or not others.size:
        return 0
    known = np.unique(others)
    places = np.minimum(np.searchsorted(known, some), known.size - 1)
    met = known[places] == some
    return int((met if met.ndim == 1 else met.any(axis=1)).sum())


def pack(rows: RowSet) -> bytes:
    """The bytes of the `.npy` file of a set: equal sets have equal bytes."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes) -> RowSet:
    """Reads back what `pack` gave."""
    rows: RowSet = np.load(io.BytesIO(data), allow_pickle=False)
    return rows


def row_set_digest(rows: RowSet) -> str:
    """SHA-256 of a set, in hexadecimal."""
    return hashlib.sha256(pack(rows)).hexdigest()
