"""What a test says about one margin, and the words and plans that every test shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jettison.statistics.sample_size import IMPOSSIBLE

__all__ = [
    "Grade",
    "Judgement",
    "Verdict",
    "agreeing_bound",
    "more_rows",
    "planned_drop",
    "reason_for",
    "verdict_of",
]

Verdict = Literal["held", "broken", "undecided"]
Grade = Literal["A", "B", "C"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rows say about one margin.

    Attributes:
        verdict: `held` (the drop is below the margin), `broken` (above it) or `undecided`.
        estimate: drop seen, positive is worse; `None` where it can't be computed.
        bound: one-sided upper confidence bound of the drop (the certifiable tolerance).
        p_value: of the test that the drop is at least the margin.
        grade: A finite-sample, B asymptotic, C reported only (never `held`).
        n: rows, or units where rows share one.
        method: the test, in words.
        rows_needed: rows (or units) that would decide it, about; 0 when decided or when no number
            of rows helps.
        reason: why it isn't held; empty when held.
    """

    verdict: Verdict
    estimate: float | None
    bound: float | None
    p_value: float | None
    grade: Grade
    n: int
    method: str
    rows_needed: int = 0
    reason: str = ""


def verdict_of(p_value: float, harm: float, alpha: float) -> Verdict:
    """Gives the verdict of a pair of one-sided tests.

    >>> verdict_of(0.01, 1.0, 0.05), verdict_of(0.4, 0.6, 0.05), verdict_of(1.0, 0.0, 0.05)
    ('held', 'undecided', 'broken')
    """
    if p_value <= alpha:
        return "held"
    return "broken" if harm <= alpha else "undecided"


def planned_drop(estimate: float, margin: float) -> float:
    """Guesses the drop for planning more rows: what was seen, within 0 and half the margin.

    >>> planned_drop(-0.002, 0.01), planned_drop(0.02, 0.01)
    (0.0, 0.005)
    """
    return min(max(estimate, 0.0), margin / 2.0)


def more_rows(count: Callable[[], int], n: int, scale: float = 1.0) -> int:
    """Counts the rows that would decide it: more than there are; 0 if no number of rows does.

    >>> more_rows(lambda: 700, 500), more_rows(lambda: 300, 500), more_rows(lambda: 10**9, 500)
    (700, 501, 0)
    """
    found = count()
    return 0 if found >= IMPOSSIBLE else max(math.ceil(found * scale), n + 1)


def agreeing_bound(bound: float, margin: float, verdict: Verdict) -> float:
    """Keeps the bound on the verdict's side of the margin where rounding put it across.

    >>> agreeing_bound(0.0100001, 0.01, "held"), agreeing_bound(0.02, 0.01, "undecided")
    (0.01, 0.02)
    """
    return min(bound, margin) if verdict == "held" else bound


def reason_for(verdict: Verdict, bound: float, margin: float, plan: float, short: str) -> str:
    """Says why a margin isn't held.

    Args:
        verdict: of the test; `held` needs no reason.
        bound: upper confidence bound of the drop.
        margin: largest drop allowed.
        plan: true drop that the rows needed assume.
        short: why the rows are too few to be tested at all; empty when they aren't.

    >>> reason_for("broken", 0.05, 0.01, 0.0, "")
    'the drop is above the margin of 0.01'
    """
    if verdict == "held":
        return ""
    if verdict == "broken":
        return f"the drop is above the margin of {margin:g}"
    if short:
        return short
    return (
        f"the drop may be up to {bound:.4g}, above the margin of {margin:g}; "
        f"the rows needed assume a true drop of {plan:.4g}"
    )
