"""Verdicts on metrics that are linear in rows: ratios of sums, and influence values (grade B)."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from jettison.statistics.bounded_means import MINIMUM_UNITS
from jettison.statistics.judgement import (
    Judgement,
    agreeing_bound,
    more_rows,
    planned_drop,
    reason_for,
    verdict_of,
)
from jettison.statistics.paired import Paired
from jettison.statistics.skewed_means import (
    UnitTotals,
    skew_corrected_bound,
    skew_corrected_p_value,
    skewed_floor,
    skewed_rows_needed,
)

__all__ = ["MINIMUM_STRATUM", "judge_influence", "judge_ratio", "unfit_for_linear"]

MINIMUM_STRATUM = 200
"""Fewest positives, and fewest negatives, behind an F1 or an AUC."""

RATIO_METHOD = "ratio of sums over {}: skew-corrected t of drop - margin x base, at 0.8 alpha"
INFLUENCE_METHOD = "influence values over {}: skew-corrected t, at 0.8 alpha"


def unfit_for_linear(paired: Paired) -> str:
    """Says why these tests can't be made with these rows; empty when they can."""
    if paired.kind == "influence":
        if paired.weights is not None and np.ptp(paired.weights) > 0:
            return "a metric that is no mean over rows has no test for weighted rows"
        if paired.strata is None:
            return "the metric doesn't tell how many rows of each class it rests on"
        return ""
    if paired.bases is None or not bool(np.isfinite(paired.bases).all()):
        return "the metric gives no base to divide by"
    if not math.isfinite(paired.high - paired.low):
        return "the metric declares no finite bounds of a contribution"
    if bool((paired.bases < 0).any()) or not paired.bases.sum() > 0:
        return "the base of the ratio is negative in a row, or 0 in all"
    slack = 1e-9 * (1.0 + np.abs(paired.bases))
    for values in (paired.baseline, paired.candidate):
        low, high = paired.low * paired.bases - slack, paired.high * paired.bases + slack
        if bool(((values < low) | (values > high)).any()):
            return (
                "a contribution is beyond its declared bounds, "
                f"{paired.low:g} to {paired.high:g} of its base"
            )
    return ""


def judge_ratio(paired: Paired, margin: float, alpha: float) -> Judgement:
    """Judges a ratio of sums with a common base, such as a word error rate."""
    sample = paired.unit_totals()
    worst = paired.high - paired.low
    floor = max(MINIMUM_UNITS, skewed_floor(margin, alpha, worst))
    held = sample.effective_units
    short = ""
    if held < floor * (1 - 1e-9):
        short = (
            f"{held:.0f} units (by base) are below the floor of {floor} for a margin of {margin:g}"
        )
    least = _least_margin(held, alpha, worst) if held >= MINIMUM_UNITS * (1 - 1e-9) else worst
    return _judge(paired, margin, alpha, (sample, floor, short, least), RATIO_METHOD)


def judge_influence(paired: Paired, margin: float, alpha: float) -> Judgement:
    """Judges a metric by its influence values, such as F1 or AUC."""
    floor = max(MINIMUM_STRATUM, skewed_floor(margin, alpha))
    held = _rarest(paired)
    short = ""
    if held < floor:
        short = (
            f"{held} rows (or units) of the rarer class are below the floor of {floor} for a "
            f"margin of {margin:g}"
        )
    least = _least_margin(held, alpha, 1.0) if held >= MINIMUM_STRATUM else 1.0
    return _judge(
        paired, margin, alpha, (paired.unit_totals(), floor, short, least), INFLUENCE_METHOD
    )


def _judge(
    paired: Paired,
    margin: float,
    alpha: float,
    facts: tuple[UnitTotals, int, str, float],
    method: str,
) -> Judgement:
    sample, floor, short, least = facts
    n = sample.drops.size
    p_value = skew_corrected_p_value(sample, margin)
    harm = skew_corrected_p_value(UnitTotals(-sample.drops, sample.bases), -margin)
    bound = skew_corrected_bound(sample, alpha, least)
    verdict = "undecided" if short else verdict_of(p_value, harm, alpha)
    plan = planned_drop(sample.estimate, margin)
    scale = float(sample.bases.mean())
    deviation = float(np.std(sample.drops - sample.estimate * sample.bases)) / scale
    needed = partial(_needed, (margin, deviation, plan, alpha), floor, n, paired)
    return Judgement(
        verdict=verdict,
        estimate=sample.estimate,
        bound=agreeing_bound(bound, margin, verdict),
        p_value=p_value,
        grade="B",
        n=n,
        method=method.format("rows" if paired.rows_are_units else "units"),
        rows_needed=more_rows(needed, n) if verdict == "undecided" else 0,
        reason=reason_for(verdict, bound, margin, plan, short),
    )


def _needed(plan: tuple[float, float, float, float], floor: int, n: int, paired: Paired) -> int:
    """Rows that give power, and enough of what is rare."""
    if paired.kind == "influence":
        least = floor * n / max(_rarest(paired), 1)
    else:
        least = floor * n / paired.unit_totals().effective_units
    return max(skewed_rows_needed(*plan), math.ceil(least))


def _least_margin(held: float, alpha: float, worst: float) -> float:
    """The smallest margin whose floor these rows reach: the inverse of `skewed_floor`."""
    return worst * -math.expm1(math.log(0.8 * alpha) / held)


def _rarest(paired: Paired) -> int:
    """Counts the rows (or units) of the rarest stratum; a stratum that is absent counts 0."""
    if paired.strata is None:
        return 0
    codes = paired.unit_codes()
    counts = []
    for stratum in (0, 1):
        rows = paired.strata == stratum
        counts.append(int(rows.sum()) if codes is None else len(np.unique(codes[rows])))
    return min(counts)
