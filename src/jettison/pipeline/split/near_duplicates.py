"""Near-duplicates across the seal: sealed rows that nearly repeat what fitting or search sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.numerics import similarity
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.encoding import Pool

SHORTEST = 16
"""Numbers of a row below which one direction says little about a row."""

MOST_COMPARISONS = 1_000_000_000
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Near:
    """What was found.

    Attributes:
        measure: how likeness was measured; empty where it is not defined for these inputs.
        pairs: sealed row and open row of each pair, by their numbers in the pool.
        looked_at, sealed: sealed rows that were compared, and that there are.
    """

    measure: str
    pairs: tuple[tuple[int, int], ...] = ()
    looked_at: int = 0
    sealed: int = 0


def find_near(pool: Pool, division: Division) -> Near:
    """Compares sealed rows with those of fitting and selection, by what the encoder made.

    Token sequences are alike if 80 % of their runs of three tokens are the same, arrays of at
    least `SHORTEST` numbers if the cosine of their directions (mean taken off) is 0.99. Tables of
    columns and short arrays have no such likeness.
    """
    open_rows = np.concatenate([division.fitting, division.selection])
    sealed = division.certification
    most = max(1, MOST_COMPARISONS // max(1, len(open_rows)))
    step = -(-len(sealed) // most) if len(sealed) else 1
    some = np.sort(sealed)[::step]
    told = dataclasses.replace(Near(""), looked_at=len(some), sealed=len(sealed))
    if not len(some):
        return told
    ids = _token_input(pool)
    if ids:
        left, right = (_shingles(pool, ids, rows) for rows in (some, open_rows))
        found = similarity.alike_sets(left, right)
        measure = "at least 80 % of their runs of three tokens are the same"
    else:
        name = _array_input(pool)
        if not name:
            return told
        found = _alike_arrays(pool, name, some, open_rows)
        measure = "the cosine of their values, mean taken off, is at least 0.99"
    pairs = tuple((int(some[i]), int(open_rows[j])) for i, j in found)
    return dataclasses.replace(told, measure=measure, pairs=pairs)


def without_near(division: Division, near: Near) -> Division:
    """Takes fitting rows that nearly repeat a sealed one out of fitting."""
    seen = np.array([row for _, row in near.pairs], dtype=np.int64)
    return dataclasses.replace(division, fitting=division.fitting[~np.isin(division.fitting, seen)])


def notes_on(near: Near, tables: Mapping[str, Example], dropped: int) -> Iterator[str]:
    """Says how many there are and which, by row number and never by content."""
    rows = sorted({row for row, _ in near.pairs})
    if not rows:
        return
    first = dict(reversed(near.pairs))
    shown = "; ".join(
        f"{_named(row, tables)} and {_named(first[row], tables)}" for row in rows[:EXAMPLES]
    )
    part = "" if near.looked_at == near.sealed else f" (of {near.looked_at} that were looked at)"
    yield (
        f"{len(rows)} sealed rows{part} nearly repeat a row that fitting or the search sees "
        f"({near.measure}): {shown}. The certificate then says less about new rows; name what they "
        "share as `data.unit`, or take copies out."
    )
    if dropped:
        yield f"{dropped} fitting rows were left out because a sealed row nearly repeats them."


def _named(row: int, tables: Mapping[str, Example]) -> str:
    for use, table in tables.items():
        if row < table.n:
            return f"row {row} of `{use}`"
        row -= table.n
    return f"row {row}"


def _token_input(pool: Pool) -> str:
    """The ragged input of whole numbers that are more than a mask."""
    for name in pool.names:
        first = pool.piece(pool.starts[0], name)
        if name in pool.pad and first.dtype.kind in "iu" and first.ndim == 2 and first.max() > 1:
            return name
    return ""


def _array_input(pool: Pool) -> str:
    """The only input, if its rows are long enough and of one size."""
    if len(pool.names) != 1 or pool.pad:
        return ""
    first = pool.piece(pool.starts[0], pool.names[0])
    numbers = first.dtype.kind in "iuf" and int(np.prod(first.shape[1:])) >= SHORTEST
    return pool.names[0] if numbers else ""


def _pieces(pool: Pool, name: str, rows: Array) -> Iterator[tuple[Array, Array]]:
    """Places in `rows`, and the encoded rows there, piece by piece."""
    for start in pool.starts:
        piece = pool.piece(start, name)
        here = np.flatnonzero((rows >= start) & (rows < start + len(piece)))
        if len(here):
            yield here, np.asarray(piece[rows[here] - start])


def _shingles(pool: Pool, name: str, rows: Array) -> list[Array]:
    made: list[Array] = [np.empty(0, dtype=np.uint64)] * len(rows)
    for here, values in _pieces(pool, name, rows):
        for place, row in zip(here, values, strict=True):
            length = len(row) if pool.lengths is None else int(pool.lengths[rows[place]])
            made[place] = similarity.shingles(row[:length])
    return made


def _alike_arrays(pool: Pool, name: str, first: Array, second: Array) -> list[tuple[int, int]]:
    short = [_sketches(pool, name, rows) for rows in (first, second)]
    return [
        (i, j)
        for i, j in similarity.close_sketches(*short)
        if float(_direction(pool, name, first[i]) @ _direction(pool, name, second[j]))
        >= similarity.ALIKE_VECTORS
    ]


def _sketches(pool: Pool, name: str, rows: Array) -> Array:
    width = 0
    parts: list[tuple[Array, Array]] = []
    for here, values in _pieces(pool, name, rows):
        short = similarity.sketches(similarity.directions(values))
        width = short.shape[1]
        parts.append((here, short))
    made = np.zeros((len(rows), width), dtype=np.float32)
    for here, short in parts:
        made[here] = short
    return made


def _direction(pool: Pool, name: str, row: int) -> Array:
    start = max(start for start in pool.starts if start <= row)
    one: Array = similarity.directions(np.asarray(pool.piece(start, name)[row - start])[None])[0]
    return one
