"""Sets of row digests: small, sorted, exact; how the ledger knows a row again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RowSet = npt.NDArray[np.bytes_]
"""Sorted, distinct 16-byte prefixes of row digests, shape (k,)."""

PREFIX_BYTES = 16


def row_set(digests: Sequence[str]) -> RowSet:
    """Compresses row digests (SHA-256 in hexadecimal) into a sorted set of prefixes.

    Raises:
        ValueError: if a digest is not 64 hexadecimal characters.

    >>> row_set(["ab" * 32, "00" * 32, "ab" * 32]).size
    2
    """
    if any(len(digest) != 64 for digest in digests):
        raise ValueError("each row digest must be 64 hexadecimal characters (SHA-256)")
    packed = bytes.fromhex("".join(digest[: 2 * PREFIX_BYTES] for digest in digests))
    return np.unique(np.frombuffer(packed, dtype=f"S{PREFIX_BYTES}"))


def common_rows(some: RowSet, others: RowSet) -> int:
    """Counts the rows that two sets share."""
    if not some.size or not others.size:
        return 0
    places = np.minimum(np.searchsorted(others, some), others.size - 1)
    return int((others[places] == some).sum())


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
