"""Rows needed for metrics that are no win or loss per row: word errors, F1, the area under a curve.

What they need hangs on how much a row can lose, which no assumption tells well: the floor, below
which nothing is held, is exact; beyond it, a row that differs is taken to lose one word, or one
answer. Every row needs its label, and no share of changed answers certifies them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from jettison.assessment.data_plan import ANY_GROUP, Expected, Held
from jettison.domain.certificate import Requirement
from jettison.domain.data_plan import DataPart, DataPlan, Way
from jettison.domain.extension_points import QualityMetric
from jettison.domain.measurement import OVERALL
from jettison.statistics import IMPOSSIBLE, skewed_rows_needed
from jettison.trust.planning import Seen, rows_planned

KINDS = ("ratio_of_sums", "influence")
_COUNTED: Mapping[str, str] = {
    "ratio_of_sums": "A row that differs is taken to lose one unit of the base (one word).",
    "influence": "Both classes are taken to be equally frequent: with a share s of the rarer one, "
    "the floor is 1 / (2 s) times as high.",
}


def plan_means(
    metric: QualityMetric, requirement: Requirement, held: Held, expected: Expected, basis: str
) -> DataPlan:
    """Plans the whole and each group; without data, one line stands for any group.

    Args:
        metric: of one of `KINDS`.
        requirement: its margins and confidence.
        held: rows at hand.
        expected: share of rows that differ, and the true drop.
        basis: where that comes from.
    """
    names: list[tuple[str, int | None]] = [(OVERALL, held.whole)]
    names += [(ANY_GROUP, None)] if held.groups is None else sorted(held.groups.items())
    gated = requirement.gated_groups
    parts = tuple(
        _part(metric, requirement, (name, n), expected)
        for name, n in names
        if name == OVERALL or gated is None or name in gated
    )
    notes = [held.note] if held.note else []
    notes += [
        _COUNTED[metric.kind],
        "Needed: an 80 % chance to be held. Copies of a row in a context count in its own group.",
    ]
    return DataPlan(
        requirement.metric, "", requirement.confidence, held.counted, basis, parts, tuple(notes)
    )


def _part(
    metric: QualityMetric,
    requirement: Requirement,
    named: tuple[str, int | None],
    expected: Expected,
) -> DataPart:
    name, held = named
    margin = requirement.max_drop if name == OVERALL else requirement.max_drop_group
    seen = Seen(expected.drop, expected.disagreement, 1_000_000)
    floor, needed = rows_planned(metric, margin, requirement.alpha, seen)
    obstacle = f"no number of rows shows {margin:g}"
    if needed is not None:
        # A run plans for no more than half the margin; here the drop is one that somebody expects.
        deviation = math.sqrt(max(expected.disagreement - expected.drop**2, 0.0))
        own = skewed_rows_needed(margin, deviation, expected.drop, requirement.alpha)
        needed = max(needed, own) if own < IMPOSSIBLE else None
        obstacle = f"the expected drop of {expected.drop:g} leaves no room below {margin:g}"
    labelled = Way(floor, needed, needed, "" if needed else obstacle)
    advice: list[str] = []
    if held is not None and needed is not None and held < needed:
        advice.append(f"collect about {needed - held:,} more with labels")
        if held < floor:
            told = f"below the floor of {floor:,} nothing can be held, whatever the models do"
            advice.append(told)
        advice.append("or declare a wider margin, before the rows are opened")
    return DataPart(
        name,
        margin,
        held,
        expected.disagreement,
        expected.churn,
        expected.drop,
        labelled,
        Way(0, None, None),
        "impossible"
        if needed is None
        else "no data"
        if held is None
        else "enough"
        if held >= needed
        else "too few",
        tuple(advice),
    )
