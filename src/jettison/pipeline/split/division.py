"""Which row serves which use: by hash of its unit, so that no order of the file matters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array

SPARE = 3
"""The side of rows that serve nothing."""

FITTING_SHARE = 0.05
SELECTION_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Division:
    """Row numbers of each use, in a shuffled order that only seed and contents decide.

    Attributes:
        fitting, selection, certification: row numbers, shape (n_use,).
        copies: rows of certification that were left out as copies of another sealed row.
        leaks: rows left out because their inputs or unit lie on an earlier side.
        cut: fitting rows beyond the cap.
    """

    fitting: Array
    selection: Array
    certification: Array
    copies: int = 0
    leaks: int = 0
    cut: int = 0


def place(seed: int, key: str) -> float:
    """The point from 0 to 1 at which a unit stands; the same for every file that holds it."""
    first = hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8]
    return int.from_bytes(first) / 2**64


def divide(units: Sequence[str], seed: int, most_fitting: int) -> Array:
    """Assigns each row to fitting (0), selection (1), certification (2) or to nothing (3).

    A unit stands at a fixed point: below 5 % it is fitting, below 20 % selection. What is beyond the
    cap of fitting serves nothing: sealed, it would have been fitted on by whoever had a higher cap
    before. So neither the cap nor rows that are added later move a unit from the search to the seal.
    If no unit stands there, the nearest one is taken, so that neither use stays empty.

    Args:
        units: per row, the unit, or the digest of the row where it is its own unit.
        seed: of the places.
        most_fitting: fitting rows beyond which whole units are left out.

    Returns:
        Array of shape (n,) of int8.
    """
    names, inverse, sizes = np.unique(
        np.asarray(units, dtype=str), return_inverse=True, return_counts=True
    )
    places = np.array([place(seed, str(name)) for name in names])
    order = np.argsort(places, kind="stable")
    sides = np.full(len(names), 2, dtype=np.int8)
    fitting = _first_below(order, places, FITTING_SHARE)
    rest = order[len(fitting) :]
    selection = _first_below(rest, places, FITTING_SHARE + SELECTION_SHARE)
    within = np.cumsum(sizes[fitting]) <= most_fitting
    within[:1] = True
    sides[fitting] = np.where(within, 0, SPARE)
    sides[selection] = 1
    return sides[inverse]


def _first_below(order: Array, places: Array, end: float) -> Array:
    count = int(np.count_nonzero(places[order] < end))
    return order[: max(1, count)]


def settle(
    sides: Array,
    digests: Sequence[str],
    units: Sequence[str] | None,
    ranks: Sequence[str],
    most_fitting: int,
) -> Division:
    """Gives the rows of each use, without any that would be seen on two sides.

    Args:
        sides: per row 0 to 3, as from `divide`, or as the user's files say.
        digests: per row, of its encoded inputs.
        units: per row, or `None` when each row is its own unit.
        ranks: per row, a hash of seed and contents, which orders the rows.
        most_fitting: rows that techniques may fit on.
    """
    order = sorted(range(len(sides)), key=lambda row: ranks[row])
    seen: set[tuple[str, str]] = set()
    kept: list[list[int]] = []
    leaks = copies = 0
    surplus: list[int] = np.flatnonzero(sides == SPARE).tolist()
    for side in (0, 1, 2):
        rows = [row for row in order if sides[row] == side]
        mine: list[int] = []
        met: set[str] = set()
        for row in rows:
            marks = _marks(row, digests, units)
            if any(mark in seen for mark in marks):
                leaks += 1
            elif side == 2 and digests[row] in met:
                copies += 1
            else:
                mine.append(row)
                met.add(digests[row])
        if side == 0:
            surplus += mine[most_fitting:]
            mine = mine[:most_fitting]
        # Nor are copies sealed of what a higher cap would have fitted on.
        for row in (*mine, *(surplus if side == 1 else ())):
            seen.update(_marks(row, digests, units))
        kept.append(mine)
    fitting, selection, certification = (np.array(rows, dtype=np.int64) for rows in kept)
    return Division(fitting, selection, certification, copies, leaks, len(surplus))


def _marks(
    row: int, digests: Sequence[str], units: Sequence[str] | None
) -> tuple[tuple[str, str], ...]:
    mark = (("inputs", digests[row]),)
    return mark if units is None else (*mark, ("unit", units[row]))
