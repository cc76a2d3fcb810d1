"""Rows that are nearly the same: token sequences by shingles, numbers by the cosine of directions.

Both look in blocks and keep a short sketch of each row, so memory does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jettison.domain.rows import Array

SHINGLE = 3
"""Tokens that are hashed together."""

BANDS, DEEP = 16, 4
"""64 minima in 16 bands of 4: two rows with 80 % of their shingles in common share a band with
chance 1 - (1 - .8^4)^16 = 0.9998, two with 30 % with 0.12 (A. Broder, "On the resemblance and
containment of documents", 1997; banding: Leskovec et al., Mining of Massive Datasets, section 3.4).
"""

ALIKE_SETS = 0.8
ALIKE_VECTORS = 0.99
WIDTH = 256
"""Numbers of a sketch (count sketch: Charikar et al., 2002)."""

SLACK = 0.03
"""A sketch may put the cosine this much too low; what is above is looked at exactly."""

BLOCK = 1 << 24
"""Products of sketches that are held at once (64 MiB)."""


def shingles(tokens: Array) -> Array:
    """Hashes of all runs of `SHINGLE` tokens of one row, sorted and each once."""
    values = tokens.astype(np.uint64)
    runs = max(1, len(values) - SHINGLE + 1)
    mixed = np.zeros(runs, dtype=np.uint64)
    for place in range(min(SHINGLE, len(values))):
        mixed = (mixed ^ values[place : place + runs]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


def band_keys(sets: Sequence[Array]) -> Array:
    """Keys under which alike sets meet, shape (n, `BANDS`)."""
    rng = np.random.default_rng(0)
    odd = rng.integers(0, 2**63, BANDS * DEEP, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.empty((len(sets), BANDS), dtype=np.uint64)
    weights = odd[:DEEP]
    for row, values in enumerate(sets):
        minima = (values[:, None] * odd).min(axis=0).reshape(BANDS, DEEP)
        keys[row] = (minima * weights).sum(axis=1)
    return keys


def meeting_sets(first: Sequence[Array], second: Sequence[Array]) -> Iterator[tuple[int, int]]:
    """Pairs of rows that share a band, in the order of `first`: all alike ones, and some others."""
    keys = band_keys(second)
    meeting: dict[tuple[int, int], list[int]] = {}
    for row, bands in enumerate(keys.tolist()):
        for band, key in enumerate(bands):
            meeting.setdefault((band, key), []).append(row)
    for row, bands in enumerate(band_keys(first).tolist()):
        others = {o for b, key in enumerate(bands) for o in meeting.get((b, key), ())}
        yield from ((row, other) for other in sorted(others))


def jaccard(first: Array, second: Array) -> float:
    """The share of hashes of two rows that both have, 0 to 1."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def directions(rows: Array) -> Array:
    """Rows laid flat, with mean 0 and length 1, shape (n, d); 0 for a row without differences."""
    flat = rows.reshape(len(rows), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: Array = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    return unit


def sketches(unit: Array) -> Array:
    """Short vectors, shape (n, `WIDTH`), whose products are about those of the directions."""
    size = unit.shape[1]
    if size <= WIDTH:
        return unit
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), size)
    order = rng.permutation(size)
    starts = np.linspace(0, size, WIDTH, endpoint=False).astype(np.int64)
    made: Array = np.add.reduceat((unit * signs)[:, order], starts, axis=1)
    return made


def close_sketches(first: Array, second: Array) -> Iterator[tuple[int, int]]:
    """Pairs whose sketches are close enough to look at exactly, in the order of `first`."""
    a, b = (_unit(x) for x in (first, second))
    rows = max(1, BLOCK // max(1, len(b)))
    for start in range(0, len(a), rows):
        near = np.argwhere(a[start : start + rows] @ b.T >= ALIKE_VECTORS - SLACK)
        yield from ((start + int(i), int(j)) for i, j in near)


def _unit(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit
