"""Before the seal opens: can this pass, how many rows would it take, and in which order to test.

Nothing here reads a sealed row; what it knows of candidates comes from the selection rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jettison import registry
from jettison.domain.certificate import Grade, Requirement
from jettison.domain.extension_points import QualityMetric
from jettison.domain.measurement import OVERALL
from jettison.domain.rows import Array
from jettison.domain.splits import CertificationSet, SelectionSet
from jettison.statistics import (
    IMPOSSIBLE,
    Part,
    Prospect,
    agreement_rows_needed,
    floor_rows,
    linear_drops,
    mean_rows_needed,
    rows_needed,
    skewed_floor,
    skewed_rows_needed,
)
from jettison.statistics.bounded_means import needs_guard
from jettison.statistics.linear_verdicts import MINIMUM_STRATUM
from jettison.statistics.sample_size import LEAST_P_VALUE
from jettison.trust.contributions import column_of
from jettison.trust.outcomes import describe_rows

MINIMUM_UNITS = 300
"""Fewer units than this can't carry a bounded mean (CERTIFICATION section 1, point 3)."""
TYPICAL_DISAGREEMENT = 0.03
PSEUDO_ROWS = 10
_RANK: Mapping[Grade, int] = {"A": 0, "B": 1, "C": 2}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the selection rows say about one candidate in one part.

    Attributes:
        drop: mean drop, positive is worse.
        square: mean square of the row drops (0/1 metrics: the share of disagreement).
        rows: selection rows behind both.
        rarest: share of the rarer class, for metrics that need enough rows of both.
    """

    drop: float
    square: float
    rows: int
    rarest: float = 0.5


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One line of the plan: one metric, the whole or one group.

    Attributes:
        metric, unit, group, margin: what is asked.
        gates: whether the model may not ship without it.
        listed: it was to gate, can't, and is listed as not certified (`ship_listed`).
        held: sealed rows (or units) at hand; counted: `rows` or `units`.
        floor: fewest that can pass even when no row changes.
        needed: about how many pass with a chance of 80 %; `None` where no number does.
        grade: of the test that applies.
        obstacle: why it can't pass; empty when it can.
    """

    metric: str
    unit: str
    group: str
    margin: float
    gates: bool
    listed: bool
    held: int
    counted: Literal["rows", "units"]
    floor: int
    needed: int | None
    grade: Grade
    obstacle: str


def selection_drops(
    metric: QualityMetric, baseline: Array, candidate: Array, selection: SelectionSet
) -> dict[str, Seen]:
    """Sums up the paired drops on the selection rows: the whole, and each group found there.

    A row without a number counts as the worst drop possible.
    """
    labels = selection.labels
    columns = describe_rows(labels)[0]
    worst = metric.high - metric.low
    positive = np.asarray(labels.targets == 1) if metric.kind == "influence" else None
    parts = {OVERALL: labels.as_they_came(len(baseline)), **labels.membership()}
    seen = {}
    for group, mask in parts.items():
        place = column_of(group, columns)
        drops = linear_drops(metric, baseline[mask], candidate[mask], place)
        drops = np.where(np.isfinite(drops), drops, worst if math.isfinite(worst) else 1.0)
        share = float(positive[mask].mean()) if positive is not None and mask.any() else 0.5
        seen[group] = _seen(drops, min(share, 1.0 - share))
    return seen


def gating_groups(requirement: Requirement, certification: CertificationSet) -> tuple[str, ...]:
    """The groups that gate: those named, or every group that the sealed rows hold."""
    if requirement.gated_groups is not None:
        return requirement.gated_groups
    return tuple(sorted(certification.group_sizes))


def plan_parts(
    certification: CertificationSet,
    requirement: Requirement,
    seen: Mapping[str, Seen],
    on_undecided: Literal["fail", "ship_listed"],
    *,
    share: float = 1.0,
) -> tuple[PartPlan, ...]:
    """Plans one requirement: the whole, then each group.

    Args:
        certification: what is sealed; only its sizes are looked at.
        requirement: what is asked.
        seen: of the candidate that would be tested first; empty without selection rows.
        on_undecided: whether a group that can't pass stops the run or is listed.
        share: of the error rate that this look may spend.
    """
    metric, alpha = registry.get("metrics", requirement.metric), share * requirement.alpha
    gating = gating_groups(requirement, certification)
    parts: list[PartPlan] = []
    for group in (OVERALL, *sorted({*certification.group_sizes, *gating})):
        wanted = group == OVERALL or group in gating
        margin = requirement.max_drop if group == OVERALL else requirement.max_drop_group
        rows, units = _sizes(certification, group)
        exact = metric.kind == "binary" and rows == units and not certification.weighted
        grade: Grade = "A" if exact else "C" if metric.kind == "reported_only" else "B"
        floor, needed = _rows(metric, margin, alpha, seen, group, exact=exact)
        obstacle = _obstacle(metric, requirement, certification, grade, margin)
        obstacle = obstacle or _rate_obstacle(metric, alpha, exact=exact)
        if not obstacle and units < floor:
            obstacle = f"{units:,} sealed {_noun(rows, units)} are below the floor of {floor:,}"
        listed = bool(obstacle) and wanted and group != OVERALL and on_undecided == "ship_listed"
        parts.append(
            PartPlan(
                metric=requirement.metric,
                unit=metric.unit,
                group=group,
                margin=margin,
                gates=wanted and not listed,
                listed=listed,
                held=units,
                counted=_noun(rows, units),
                floor=floor,
                needed=needed,
                grade=grade,
                obstacle=obstacle,
            )
        )
    return tuple(parts)


def prospect_of(
    name: str,
    gain: float,
    parts: Sequence[PartPlan],
    seen: Mapping[str, Mapping[str, Seen]],
) -> Prospect:
    """Describes a candidate to the shortlist.

    Args:
        name: its recipe.
        gain: baseline cost / candidate cost.
        parts: the plan; only parts that gate count.
        seen: metric -> part -> what the selection rows say; empty without selection rows.
    """
    described = []
    for part in parts:
        if not part.gates:
            continue
        metric = registry.get("metrics", part.metric)
        known = _known(seen.get(part.metric, {}), part.group)
        described.append(
            Part(
                name=f"{part.metric}: {part.group}",
                drop=known.drop,
                disagreement=known.square,
                selection_rows=known.rows,
                sealed_rows=part.held,
                margin=part.margin,
                kind="binary" if part.grade == "A" else "bounded_mean",
                worst=_worst(metric),
            )
        )
    return Prospect(name, 1.0 / gain, tuple(described))


def _seen(drops: Array, rarest: float) -> Seen:
    if not drops.size:
        return Seen(0.0, 0.0, 0)
    square = float(np.square(drops).mean())
    return Seen(float(drops.mean()), square, int(drops.size), rarest)


def _known(seen: Mapping[str, Seen], group: str) -> Seen:
    """What is known about a part; a group that selection lacks is taken to be like the whole."""
    whole = seen.get(OVERALL, Seen(0.0, 0.0, 0))
    own = seen.get(group)
    return (
        own
        if own and own.rows
        else Seen(whole.drop, whole.square, min(whole.rows, 1), whole.rarest)
    )


def _sizes(certification: CertificationSet, group: str) -> tuple[int, int]:
    """Rows and units of a part."""
    if group == OVERALL:
        return certification.n, certification.units
    rows = certification.group_sizes.get(group, 0)
    units = certification.group_units.get(group, min(rows, certification.units))
    return rows, units


def _noun(rows: int, units: int) -> Literal["rows", "units"]:
    return "rows" if rows == units else "units"


def _rows(
    metric: QualityMetric,
    margin: float,
    alpha: float,
    seen: Mapping[str, Seen],
    group: str,
    *,
    exact: bool,
) -> tuple[int, int | None]:
    """Gives the floor, and the rows for 80 % power at the drop seen (0 to half the margin)."""
    worst = _worst(metric)
    if metric.kind == "reported_only" or not 0.0 < margin < worst < math.inf:
        return 0, None
    own, whole = _known(seen, group), seen.get(OVERALL, Seen(0.0, 0.0, 0))
    typical = whole.square if whole.rows else TYPICAL_DISAGREEMENT * worst**2
    # A few rows' worth of what is typical: no disagreement in 20 rows does not promise none.
    square = (own.square * own.rows + typical * PSEUDO_ROWS) / (own.rows + PSEUDO_ROWS)
    # Coarse and upwards: a plan says «about», and groups that are alike are computed once.
    square = _up(square, 10.0 ** math.floor(math.log10(square) - 1.0)) if square else 0.0
    drop = _up(min(max(own.drop, 0.0), margin / 2.0), margin / 20.0)
    if exact:
        floor = floor_rows(margin, alpha)
        if metric.against_reference:
            needed = agreement_rows_needed(margin, min(square, margin / 2.0), alpha)
        else:
            needed = rows_needed(margin, max(square, drop), drop, alpha)
    elif metric.kind in ("ratio_of_sums", "influence"):
        deviation = math.sqrt(max(square - drop**2, 0.0))
        floor = max(MINIMUM_UNITS, skewed_floor(margin, alpha, worst))
        if metric.kind == "influence":
            both = max(MINIMUM_STRATUM, skewed_floor(margin, alpha))
            floor = math.ceil(both / own.rarest) if own.rarest > 0 else 2 * both
        needed = max(floor, skewed_rows_needed(margin, deviation, drop, alpha))
    else:
        floor = max(MINIMUM_UNITS, mean_rows_needed(margin, 0.0, 0.0, worst, alpha))
        if needs_guard(alpha):
            floor = max(floor, floor_rows(margin / worst, alpha))
        deviation = math.sqrt(max(square - drop**2, 0.0))
        needed = mean_rows_needed(margin, deviation, drop, worst, alpha)
    return floor, None if needed >= IMPOSSIBLE else max(needed, floor)


def rows_planned(
    metric: QualityMetric, margin: float, alpha: float, seen: Seen
) -> tuple[int, int | None]:
    """The floor, and the rows for 80 % power, of one part whose rows are units of their own."""
    exact = metric.kind == "binary"
    return _rows(metric, margin, alpha, {OVERALL: seen}, OVERALL, exact=exact)


def _worst(metric: QualityMetric) -> float:
    """The largest drop that the bounds of a contribution allow; 1 for influence values."""
    return 1.0 if metric.kind == "influence" else metric.high - metric.low


def _up(value: float, step: float) -> float:
    """Rounds up to a multiple of a step; what is one already stays."""
    return math.ceil(value / step - 1e-9) * step


def _obstacle(
    metric: QualityMetric,
    requirement: Requirement,
    certification: CertificationSet,
    grade: Grade,
    margin: float,
) -> str:
    """Says why no number of rows would do, or gives an empty string."""
    if metric.needs_targets and not certification.labelled:
        return f"`{metric.name}` needs labels, and the sealed rows have none"
    if grade == "C":
        return f"`{metric.name}` can be reported, but no test certifies it (grade C)"
    if not math.isfinite(_worst(metric)):
        return f"`{metric.name}` declares no finite bounds of a row's part in it"
    if certification.weighted and metric.kind == "influence":
        return f"`{metric.name}` is no mean over rows and has no test for weighted rows"
    if not 0.0 < margin < _worst(metric):
        return f"a margin of {margin:g} leaves nothing to show; give one above 0 and below " + (
            f"{_worst(metric):g}"
        )
    if _RANK[grade] > _RANK[requirement.require_grade]:
        return (
            f"the test that applies to `{metric.name}` here has grade {grade}, and the grade "
            f"{requirement.require_grade} is required"
        )
    return ""


def _rate_obstacle(metric: QualityMetric, alpha: float, *, exact: bool) -> str:
    """Says why nothing can be held at the error rate that this look may spend; empty if it can."""
    if alpha >= 0.5:
        return f"an error rate of {alpha:g} leaves nothing to show; set `confidence` above 0.5"
    if exact and not metric.against_reference and alpha < LEAST_P_VALUE:
        return (
            f"this look may spend an error rate of {alpha:.2g}, and the exact test has no p-value "
            f"below {LEAST_P_VALUE:.3g}: on fresh rows declare fewer `looks`, larger shares in "
            "`spending`, or less `confidence`"
        )
    return ""
