"""How the ledger knows a row again under another model: by its raw values, whatever their names.

The same rows may come back with renamed or reordered columns, as a matrix in place of columns, in
a file of another kind, or through another encoder. Their values are the same, so a row's key is a
digest of its values in some columns, sorted, without any name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from jettison.domain.extension_points import Example
from jettison.domain.rows import Array

TELLING_BITS = 48
"""A row whose values could not carry so many bits says nothing about where it comes from: a row of
zeros, of zeros and ones, or of a few small numbers stands in many unrelated files."""

SMALL, SMALL_BITS, WHOLE_BITS, FRACTION_BITS, BITS_A_BYTE = 1000, 6, 16, 24, 3
"""Bits that a whole number below 1000, another whole number, a fraction, a byte of text may carry."""

VALUES_AT_ONCE = 1 << 22

MISSING = np.inf
"""Stands for a missing number: infinite ones are refused in any data."""


def raw_digests(table: Example, columns: Sequence[str], rows: Array) -> list[str]:
    """SHA-256 of the values of each row in some columns; empty where they tell too little.

    Numbers count by value and not by type: to 7 digits as 32-bit floats hold them, whole numbers
    exactly, true and false as 1 and 0. Text counts as it is.

    Args:
        table: raw examples.
        columns: whose values count, in any order.
        rows: row numbers, shape (n,).
    """
    numbers = [c for c in columns if table.columns[c].dtype.kind in "biuf"]
    texts = [c for c in columns if c not in numbers]
    digests: list[str] = []
    width = sum(int(np.prod(table.columns[c].shape[1:], dtype=np.int64)) for c in numbers)
    step = max(1, VALUES_AT_ONCE // max(1, width))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        values = _sorted_values(table, numbers, some)
        bits = _bits(values)
        words = _words(table, texts, some)
        for row, said in enumerate(words):
            total = int(bits[row]) + BITS_A_BYTE * sum(len(word) for word in set(said))
            digests.append(_digest(values[row], said) if total >= TELLING_BITS else "")
    return digests


def _sorted_values(table: Example, columns: Sequence[str], rows: Array) -> Array:
    """The numbers of each row in rising order, shape (n, values), little-endian 64-bit floats."""
    parts = [table.columns[c][rows].reshape(len(rows), -1).astype(np.float64) for c in columns]
    whole = np.concatenate([np.empty((len(rows), 0)), *parts], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        short = whole.astype(np.float32).astype(np.float64)
    exact = (np.trunc(whole) == whole) | ~np.isfinite(short)
    # Adding 0 takes the sign off a negative zero.
    values = np.where(exact, whole, short) + 0.0
    values[np.isnan(whole)] = MISSING
    return np.sort(values, axis=1).astype("<f8")


def _bits(values: Array) -> Array:
    """What the distinct numbers of each row could carry at most, roughly, shape (n,)."""
    first = np.ones(values.shape, dtype=bool)
    first[:, 1:] = values[:, 1:] != values[:, :-1]
    whole = np.trunc(values) == values
    bits = np.where(whole, np.where(np.abs(values) < SMALL, SMALL_BITS, WHOLE_BITS), FRACTION_BITS)
    total: Array = np.where(first & np.isfinite(values), bits, 0).sum(axis=1)
    return total


def _words(table: Example, columns: Sequence[str], rows: Array) -> Iterator[list[bytes]]:
    """The texts of each row, sorted; a missing one is empty."""
    parts = [table.columns[c][rows].reshape(len(rows), -1).tolist() for c in columns]
    for row in range(len(rows)):
        said = [value for part in parts for value in part[row]]
        yield sorted(_word(value) for value in said)


def _word(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray):
        # Numbers count by value; `str` would leave out the middle of a long row.
        plain = value.astype("<f8") if value.dtype.kind in "biuf" else value.astype(str)
        return f"{value.shape}\0".encode() + plain.tobytes()
    return b"" if value is None else str(value).encode()


def _digest(values: Array, words: Sequence[bytes]) -> str:
    whole = hashlib.sha256(f"{len(values)} numbers, {len(words)} texts\0".encode())
    whole.update(values.tobytes())
    for word in words:
        whole.update(f"{len(word)}\0".encode() + word)
    return whole.hexdigest()
