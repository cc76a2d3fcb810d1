"""Near-duplicates across the seal: sealed rows that nearly repeat what fitting or search sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.extension_points import Example
from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics import similarity
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.encoding import Pool

SHORTEST = 16
"""Numbers of a row below which one direction says little about a row."""

MOST_COMPARISONS = 1_000_000_000
MOST_CHECKS = 200_000
"""Exact comparisons of two rows; where more would be needed, the later sealed rows are left out, and
that is said."""

EXAMPLES = 3
UNDEFINED = "likeness is not defined for these inputs"


@dataclass(frozen=True, slots=True)
class Near:
    """What was found.

    Attributes:
        measure: how likeness was measured; empty where it is not defined for these inputs.
        pairs: sealed row and open row, by their numbers in the pool; not all pairs, but each row
            that is in one.
        looked_at, sealed: sealed rows that were compared, and that there are.
    """

    measure: str
    pairs: tuple[tuple[int, int], ...] = ()
    looked_at: int = 0
    sealed: int = 0


def find_near(
    pool: Pool, division: Division, inputs: Sequence[TensorSpec] = (), fed: Sequence[str] = ()
) -> Near:
    """Compares sealed rows with those of fitting and selection, by what the encoder made.

    Token sequences are alike if 80 % of their runs of three tokens are the same, arrays of at
    least `SHORTEST` numbers if the cosine of their directions (mean taken off) is 0.99. Tables of
    columns and short arrays have no such likeness.

    Args:
        pool: encoded rows.
        division: of their numbers.
        inputs: of the model; whole numbers with a free second dimension are tokens, also where all
            rows are equally long.
        fed: columns that feed the model; numbers from several are a table of columns.
    """
    open_rows = np.concatenate([division.fitting, division.selection])
    sealed = division.certification
    most = max(1, MOST_COMPARISONS // max(1, len(open_rows)))
    step = -(-len(sealed) // most) if len(sealed) else 1
    some = np.sort(sealed)[::step]
    told = dataclasses.replace(Near(""), looked_at=len(some), sealed=len(sealed))
    if not len(some):
        return told
    ids = _token_input(pool, inputs)
    name = "" if ids or len(fed) > 1 else _array_input(pool)
    if ids:
        pairs, looked = _alike_texts(pool, ids, some, open_rows)
        measure = "at least 80 % of their runs of three tokens are the same"
    elif name:
        pairs, looked = _alike_arrays(pool, name, some, open_rows)
        measure = "the cosine of their values, mean taken off, is at least 0.99"
    else:
        return dataclasses.replace(told, looked_at=0)
    found = tuple((int(some[i]), int(open_rows[j])) for i, j in pairs)
    return Near(measure, found, looked, len(sealed))


def _checked(
    candidates: Iterable[tuple[int, int]], alike: Callable[[int, int], bool], count: int
) -> tuple[list[tuple[int, int]], int]:
    """Gives the pairs that are alike, and how many sealed rows were looked at.

    A pair of two rows that are known to be in one is passed over.

    Args:
        candidates: ordered by the sealed row.
        alike: the exact comparison.
        count: sealed rows.
    """
    pairs: list[tuple[int, int]] = []
    sealed: set[int] = set()
    seen: set[int] = set()
    checks = 0
    for one, other in candidates:
        if one in sealed and other in seen:
            continue
        if checks == MOST_CHECKS:
            return pairs, one
        checks += 1
        if alike(one, other):
            pairs.append((one, other))
            sealed.add(one)
            seen.add(other)
    return pairs, count


def without_near(division: Division, near: Near) -> Division:
    """Takes fitting rows that nearly repeat a sealed one out of fitting.

    Raises:
        DataError: if none is left.
    """
    seen = np.array([row for _, row in near.pairs], dtype=np.int64)
    left = division.fitting[~np.isin(division.fitting, seen)]
    if not len(left):
        raise DataError(
            f"every one of {len(division.fitting)} fitting rows nearly repeats a sealed row "
            f'({near.measure}), and near_duplicates is "drop"; give fitting rows of their own '
            "(`data.fitting`), or name what the rows share as `data.unit`"
        )
    return dataclasses.replace(division, fitting=left)


def notes_on(
    near: Near, tables: Mapping[str, Example], dropped: int, *, asked: bool = False
) -> Iterator[str]:
    """Says how many there are and which, by row number and never by content.

    Args:
        near: what was found.
        tables: by use, in order.
        dropped: fitting rows that were left out.
        asked: whether they were to be left out; then also says where none could be looked for.
    """
    rows = sorted({row for row, _ in near.pairs})
    if asked and near.looked_at < near.sealed:
        what = f"{near.looked_at} of {near.sealed}" if near.measure else "none of the"
        yield (
            f"Near-duplicates were looked for among {what} sealed rows"
            + (": there were too many to compare." if near.measure else f": {UNDEFINED}.")
        )
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


def _token_input(pool: Pool, inputs: Sequence[TensorSpec]) -> str:
    """The input of whole numbers, ragged or of a free length, that are more than a mask."""
    free = {spec.name for spec in inputs if len(spec.shape) == 2 and isinstance(spec.shape[1], str)}
    for name in pool.names:
        first = pool.piece(pool.starts[0], name)
        if (
            (name in pool.pad or name in free)
            and first.dtype.kind in "iu"
            and first.ndim == 2
            and first.max() > 1
        ):
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
    lengths = pool.lengths if name in pool.pad else None
    for here, values in _pieces(pool, name, rows):
        for place, row in zip(here, values, strict=True):
            length = len(row) if lengths is None else int(lengths[rows[place]])
            made[place] = similarity.shingles(row[:length])
    return made


def _alike_texts(
    pool: Pool, name: str, first: Array, second: Array
) -> tuple[list[tuple[int, int]], int]:
    left, right = (_shingles(pool, name, rows) for rows in (first, second))

    def alike(i: int, j: int) -> bool:
        return similarity.jaccard(left[i], right[j]) >= similarity.ALIKE_SETS

    return _checked(similarity.meeting_sets(left, right), alike, len(first))


def _alike_arrays(
    pool: Pool, name: str, first: Array, second: Array
) -> tuple[list[tuple[int, int]], int]:
    short = [_sketches(pool, name, rows) for rows in (first, second)]

    def alike(i: int, j: int) -> bool:
        one, other = (_direction(pool, name, int(row)) for row in (first[i], second[j]))
        return float(one @ other) >= similarity.ALIKE_VECTORS

    return _checked(similarity.close_sketches(*short), alike, len(first))


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
