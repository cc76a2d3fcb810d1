"""How many rows a certificate needs, per group, before anything is opened.

Two ways are planned side by side: with labels (Tango's paired test; only the rows on which the
models differ need one), and by churn (an exact binomial bound on the share of rows on which they
differ, no labels). CERTIFICATION sections 1.7 and 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jettison.domain.certificate import Requirement
from jettison.domain.data_plan import DataPart, DataPlan, Way
from jettison.domain.measurement import OVERALL
from jettison.statistics import (
    IMPOSSIBLE,
    agreement_rows_needed,
    floor_rows,
    mean_rows_needed,
    rows_needed,
)
from jettison.trust.planning import MINIMUM_UNITS, TYPICAL_DISAGREEMENT

ASSUMED = (
    f"It is assumed that exactly one model is right on {TYPICAL_DISAGREEMENT:.0%} of rows, that "
    "they differ on as many, and that the true drop is 0 (`--disagreement`, `--churn`, `--drop`); "
    "a run folder gives what its selection rows say."
)
PSEUDO_ROWS = 10
"""Rows' worth of the whole that a group borrows: no difference in 20 rows promises none."""

ANY_GROUP = "each group"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of the model that will be certified, in one part.

    Attributes:
        disagreement, churn, drop: shares of rows, as in `DataPart`.
        rows: selection rows behind them; 0 for an assumption.
    """

    disagreement: float
    churn: float
    drop: float = 0.0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Sealed rows at hand.

    Attributes:
        whole: rows (or units), `None` without data.
        groups: of each group, keyed `column=value`.
        counted: rows, or units.
        note: how they were counted; may be empty.
    """

    whole: int | None = None
    groups: Mapping[str, int] | None = None
    counted: Literal["rows", "units"] = "rows"
    note: str = ""


def plan_data(
    requirement: Requirement,
    held: Held,
    expected: Mapping[str, Expected],
    basis: str,
    churn_metric: str,
) -> DataPlan:
    """Plans the whole and each group; without data, one line stands for any group.

    Args:
        requirement: a 0/1 metric, its margins and confidence.
        held: rows at hand.
        expected: by part; what lacks is taken from `OVERALL`.
        basis: where `expected` comes from.
        churn_metric: the metric that certifies without labels.
    """
    names: list[tuple[str, int | None]] = [(OVERALL, held.whole)]
    if held.groups is None:
        names.append((ANY_GROUP, None))
    else:
        names += sorted(held.groups.items())
    gated = requirement.gated_groups
    names = [(n, h) for n, h in names if n == OVERALL or gated is None or n in gated]
    same = requirement.metric == churn_metric
    parts = tuple(
        _part(requirement, (name, n), held.counted, expected, needs_labels=not same)
        for name, n in names
    )
    return DataPlan(
        metric=requirement.metric,
        churn_metric=churn_metric,
        confidence=requirement.confidence,
        counted=held.counted,
        basis=basis,
        parts=parts,
        notes=tuple(_notes(parts, held)),
    )


def _part(
    requirement: Requirement,
    named: tuple[str, int | None],
    counted: Literal["rows", "units"],
    expected: Mapping[str, Expected],
    *,
    needs_labels: bool,
) -> DataPart:
    name, held = named
    margin = requirement.max_drop if name == OVERALL else requirement.max_drop_group
    own = _borrowed(expected, name)
    by_churn = _by_churn(margin, own, requirement.alpha, counted)
    labelled = _labelled(margin, own, requirement.alpha, counted) if needs_labels else by_churn
    state = _state(held, labelled, by_churn)
    return DataPart(
        name,
        margin,
        held,
        own.disagreement,
        own.churn,
        own.drop,
        labelled,
        by_churn,
        state,
        tuple(_advice(held, labelled, by_churn)) if state not in ("enough", "no data") else (),
    )


def _borrowed(expected: Mapping[str, Expected], name: str) -> Expected:
    """What is expected of a part, with a few rows' worth of the whole."""
    whole = expected[OVERALL]
    own = expected.get(name, whole)
    if not own.rows:
        return whole if name not in expected else own

    def mixed(mine: float, typical: float) -> float:
        return (mine * own.rows + typical * PSEUDO_ROWS) / (own.rows + PSEUDO_ROWS)

    typical = TYPICAL_DISAGREEMENT if name == OVERALL else whole.disagreement
    churn = TYPICAL_DISAGREEMENT if name == OVERALL else whole.churn
    disagreement = mixed(own.disagreement, typical)
    drop = mixed(max(own.drop, 0.0), max(whole.drop, 0.0))
    return Expected(disagreement, max(mixed(own.churn, churn), disagreement), drop, own.rows)


def _labelled(
    margin: float, expected: Expected, alpha: float, counted: Literal["rows", "units"]
) -> Way:
    drop = max(expected.drop, 0.0)
    if not 0.0 < margin < 1.0:
        return Way(0, None, None, f"a margin of {margin:g} leaves nothing to show")
    if counted == "units":
        floor = max(MINIMUM_UNITS, mean_rows_needed(margin, 0.0, 0.0, 1.0, alpha))
        deviation = math.sqrt(max(expected.disagreement - drop**2, 0.0))
        needed = mean_rows_needed(margin, deviation, drop, 1.0, alpha)
    else:
        floor = floor_rows(margin, alpha)
        needed = rows_needed(margin, _rounded(max(expected.disagreement, drop)), drop, alpha)
    if needed >= IMPOSSIBLE:
        told = f"the expected drop of {drop:.2%} leaves no room below the margin of {margin:.2%}"
        return Way(floor, None, None, told)
    needed = max(needed, floor)
    return Way(floor, needed, math.ceil(needed * min(expected.churn, 1.0)))


def _by_churn(
    margin: float, expected: Expected, alpha: float, counted: Literal["rows", "units"]
) -> Way:
    if not 0.0 < margin < 1.0:
        return Way(0, None, None, f"a margin of {margin:g} leaves nothing to show")
    if counted == "units":
        floor = max(MINIMUM_UNITS, mean_rows_needed(margin, 0.0, 0.0, 1.0, alpha))
        deviation = math.sqrt(expected.churn * (1.0 - expected.churn))
        needed = mean_rows_needed(margin, deviation, expected.churn, 1.0, alpha)
    else:
        floor = floor_rows(margin, alpha)
        needed = agreement_rows_needed(margin, _rounded(expected.churn), alpha)
    if needed >= IMPOSSIBLE:
        told = (
            f"the models are expected to differ on {expected.churn:.2%} of rows, which is not "
            f"below the margin of {margin:.2%}"
        )
        return Way(floor, None, None, told)
    return Way(floor, max(needed, floor), 0)


def _rounded(share: float) -> float:
    """Upwards to two digits: a plan says «about», and groups that are alike are computed once."""
    if share <= 0:
        return 0.0
    step = 10.0 ** math.floor(math.log10(share) - 1.0)
    return math.ceil(share / step - 1e-9) * step


def _state(
    held: int | None, labelled: Way, by_churn: Way
) -> Literal["enough", "by churn only", "too few", "impossible", "no data"]:
    if labelled.needed is None and by_churn.needed is None:
        return "impossible"
    if held is None:
        return "no data"
    if labelled.needed is not None and held >= labelled.needed:
        return "enough"
    if by_churn.needed is not None and held >= by_churn.needed:
        return "by churn only"
    return "too few"


def _advice(held: int | None, labelled: Way, by_churn: Way) -> list[str]:
    advice: list[str] = []
    if labelled.needed is None and by_churn.needed is None:
        return [
            "no number of rows will do: declare a wider margin, or take a candidate that loses less"
        ]
    if held is None:
        return []
    if by_churn.needed is not None and held >= by_churn.needed and by_churn != labelled:
        advice.append("require `agreement` in place of the labelled metric: no labels are needed")
    if labelled.needed is not None and held < labelled.needed:
        more = labelled.needed - held
        advice.append(
            f"collect about {more:,} more (oversample it, and give `weight` so that the whole is "
            f"not distorted); label only the rows that differ, about {labelled.labels:,}"
        )
        if held < labelled.floor:
            advice.append(
                f"below the floor of {labelled.floor:,} nothing can be held, whatever the models do"
            )
    advice.append("or declare a wider margin, before the rows are opened")
    return advice


def _notes(parts: tuple[DataPart, ...], held: Held) -> list[str]:
    notes = [held.note] if held.note else []
    whole = held.whole
    short = [p for p in parts if p.state == "too few" and p.held and p.labelled.needed]
    if whole and short:
        times = max((p.labelled.needed or 0) / (p.held or 1) for p in short)
        notes.append(
            f"If groups keep their shares, about {math.ceil(times * whole):,} sealed "
            f"{held.counted} in all would do for every group; oversampling the small ones takes "
            "fewer."
        )
    empty = [p.group for p in parts if p.held == 0]
    if empty:
        notes.append(f"No {held.counted} at all: {', '.join(empty)}.")
    notes.append(
        "Needed: an 80 % chance to be held. Choose labels or churn before the rows are opened, "
        "not after."
    )
    return notes
