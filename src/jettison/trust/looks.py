"""More than one look at the same sealed rows: what each may spend, and when there is no next.

A look that ships nothing answers one bit, «no». Until something ships, an adaptive user therefore
walks one path whatever they do, and the error rates of the looks on it add up (union bound): look i
of a plan gets 6 / (pi^2 i^2) of alpha, which adds up to less than alpha however many follow. The
plan is fixed by the first look. Measured (benchmarks/results/certification-looks.json): 50 adaptive
looks ship a bad model in 3.2 % of lives; with the scores shown after each, in 26.1 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jettison.errors import SealRefused
from jettison.trust.chain import Entry
from jettison.trust.row_sets import RowSet, common_rows

ONE_LOOK: tuple[float, ...] = (1.0,)
"""The plan by default: one look spends all of alpha, and everything is shown."""
MOST_LOOKS = 50


def look_plan(looks: int, spending: Sequence[float] = ()) -> tuple[float, ...]:
    """Gives each look's share of alpha.

    Args:
        looks: declared before the first one, from 1 to 50.
        spending: shares that the user declares instead (a top-up plan), one for each look; above
            0, together at most 1. Empty for the shares that fit any number of looks.

    Raises:
        ValueError: if the shares are not such.

    >>> look_plan(1), [round(share, 3) for share in look_plan(3)], look_plan(2, [0.2, 0.8])
    ((1.0,), [0.608, 0.152, 0.068], (0.2, 0.8))
    """
    if not 1 <= looks <= MOST_LOOKS:
        raise ValueError(f"looks must be from 1 to {MOST_LOOKS}; got {looks}")
    if spending:
        good = all(0.0 < share <= 1.0 for share in spending)
        if len(spending) != looks or not good or sum(spending) > 1.0 + 1e-12:
            raise ValueError(
                f"spending needs {looks} shares above 0 that add up to at most 1; got "
                f"{list(spending)}"
            )
        return tuple(float(share) for share in spending)
    if looks == 1:
        return ONE_LOOK
    return tuple(6.0 / (math.pi**2 * i**2) for i in range(1, looks + 1))


def told(plan: Sequence[float]) -> str:
    """The plan as it stands in a line of the ledger."""
    return " ".join(repr(float(share)) for share in plan)


def number_of(
    rows: RowSet,
    history: Sequence[Entry],
    after: Sequence[Entry],
    rows_of: Callable[[Entry], RowSet],
    asked: tuple[str, float],
) -> int:
    """Counts the next look at these rows, or refuses it.

    Args:
        rows: sealed rows to look at.
        history: looks that share a row with them, in order; at least one.
        after: all other lines of the ledger.
        rows_of: gives the rows of a look.
        asked: the plan as `told` gives it, and alpha.

    Raises:
        SealRefused: if there is no next look; says why and what to do.
    """
    first = history[0]
    plan = str(first.facts.get("plan", told(ONE_LOOK)))
    where = f"the look of line {first.number} of the ledger declared"
    fresh = "certify on rows that no run has used (the spent ones may serve for selection)"
    names = {entry.digest for entry in history}
    for entry in after:
        if entry.look in names and entry.kind == "revealed":
            raise SealRefused(
                f"these rows were shown (line {entry.number} of the ledger), so they are retired: "
                f"{fresh}"
            )
        if entry.look in names and entry.facts.get("status") == "certified":
            raise SealRefused(
                f"a model was certified on these rows (line {entry.number} of the ledger), so "
                f"they are retired: {fresh}"
            )
    if asked[0] != plan:
        raise SealRefused(
            f"{where} {len(plan.split())} looks with the shares {plan}; a plan can't be changed "
            "after the first look: set `looks` (and `spending`) as they were, or " + fresh
        )
    if asked[1] != first.facts.get("budget", first.facts.get("alpha")):
        raise SealRefused(
            f"{where} an error rate of {first.facts.get('budget')}; later looks need the same "
            "`confidence`"
        )
    if sorted(int(e.facts.get("number", 1)) for e in history) != list(range(1, len(history) + 1)):
        raise SealRefused(f"these rows join the rows of looks that had none in common: {fresh}")
    for entry in history:
        before = rows_of(entry)
        if common_rows(before, rows) != len(before):
            raise SealRefused(
                f"a later look must hold all rows of the earlier ones, and some of line "
                f"{entry.number} of the ledger are missing: add the new rows to the old, or {fresh}"
            )
    if len(history) >= len(plan.split()):
        raise SealRefused(f"all {len(history)} declared looks at these rows are used up: {fresh}")
    return len(history) + 1
