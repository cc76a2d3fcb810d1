"""One door to every test: a metric's kind picks the test, the test gives the verdict.

What depends on the rows (none, too few, a missing number, a value beyond its declared bounds)
gives `undecided` with the reason, so that a certification never ends in a crash after the seal
was opened. What depends on the caller's code (shapes, margins, a 0/1 metric that isn't 0/1)
raises `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from jettison.statistics.bounded_means import MINIMUM_UNITS, bounded_mean_test, guarded
from jettison.statistics.judgement import (
    Grade,
    Judgement,
    Verdict,
    agreeing_bound,
    more_rows,
    planned_drop,
    reason_for,
    verdict_of,
)
from jettison.statistics.linear_verdicts import judge_influence, judge_ratio, unfit_for_linear
from jettison.statistics.non_inferiority import (
    agreement_harm_p_value,
    agreement_p_value,
    agreement_upper_bound,
    paired_binary_harm_p_value,
    paired_binary_p_value,
    paired_binary_upper_bound,
)
from jettison.statistics.paired import Kind, Paired, usable_weights
from jettison.statistics.sample_size import (
    agreement_rows_needed,
    floor_rows,
    mean_rows_needed,
    rows_needed,
)

__all__ = ["Grade", "Judgement", "Kind", "Paired", "Verdict", "binary_verdict", "judge"]

BINARY_METHOD = "paired 0/1: Tango score, Berger-Boos p-value"
AGREEMENT_METHOD = "disagreement with the baseline: exact binomial"
MEAN_METHOD = "bounded mean over {}: t with one worst-case {} appended"
REPORTED_METHOD = "reported only: no test certifies this kind of metric"


def judge(paired: Paired, margin: float, alpha: float = 0.05) -> Judgement:
    """Tests whether the metric has dropped by less than the margin.

    Args:
        paired: contributions of the baseline and the candidate.
        margin: largest drop allowed, above 0, in the metric's unit (a fraction for 0/1 metrics).
        alpha: error rate of each verdict, above 0 and below 0.5.

    Raises:
        ValueError: if the margin or alpha is out of range.

    >>> right = np.ones(400)
    >>> judge(Paired(right, right, "binary"), 0.01).verdict
    'held'
    >>> judge(Paired(right[:3], right[:3], "binary"), 0.01).reason
    '3 rows are below the floor of 299 for a margin of 0.01'
    """
    if not 0.0 < margin < math.inf or (paired.kind == "binary" and margin >= 1.0):
        raise ValueError(f"margin must be above 0 (and below 1 for a 0/1 metric); got {margin}")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, exclusive; got {alpha}")
    rows = len(paired.baseline)
    missing = int(np.isnan(paired.drops).sum())
    if not rows or missing:
        what = "there are no rows" if not rows else f"{missing} of {rows} rows have no number"
        return _unknown(paired, what)
    return _TESTS[paired.kind](paired, margin, alpha)


def _judge_binary(paired: Paired, margin: float, alpha: float) -> Judgement:
    if not paired.rows_are_units:
        return _judge_mean(paired, margin, alpha)
    drops = paired.drops
    b, c, n = int((drops > 0).sum()), int((drops < 0).sum()), drops.size
    plan = planned_drop((b - c) / n, margin)
    if paired.against_reference:
        verdict = _agreement_verdict(b, n, margin, alpha)
        p_value = agreement_p_value(b, n, margin)
        bound = agreement_upper_bound(b, n, alpha)
        needed = partial(agreement_rows_needed, margin, plan, alpha)
    else:
        verdict = binary_verdict(b, c, n, margin, alpha)
        p_value = paired_binary_p_value(b, c, n, margin)
        bound = paired_binary_upper_bound(b, c, n, alpha)
        needed = partial(rows_needed, margin, _planned_disagreement(b + c, n), plan, alpha)
    floor = floor_rows(margin, alpha)
    short = f"{n} rows are below the floor of {floor} for a margin of {margin:g}"
    return Judgement(
        verdict=verdict,
        estimate=(b - c) / n,
        bound=agreeing_bound(bound, margin, verdict),
        p_value=p_value,
        grade="A",
        n=n,
        method=AGREEMENT_METHOD if paired.against_reference else BINARY_METHOD,
        rows_needed=more_rows(needed, n) if verdict == "undecided" else 0,
        reason=reason_for(verdict, bound, margin, plan, short if n < floor else ""),
    )


def _judge_mean(paired: Paired, margin: float, alpha: float) -> Judgement:
    worst = paired.high - paired.low
    if not math.isfinite(worst):
        return _unknown(paired, "the metric declares no finite bounds of a contribution")
    values = np.concatenate([paired.baseline, paired.candidate])
    if float(values.min()) < paired.low or float(values.max()) > paired.high:
        what = f"a contribution is beyond its declared bounds, {paired.low:g} to {paired.high:g}"
        return _unknown(paired, what)
    if paired.weights is not None and not usable_weights(paired.weights):
        return _unknown(paired, "weights must be finite, at least 0 and not all 0")
    sample = paired.unit_means()
    n, effective = sample.means.size, sample.effective_units
    short = ""
    if effective < MINIMUM_UNITS * (1 - 1e-9):
        short = f"{effective:.0f} units (by weight) are below the minimum of {MINIMUM_UNITS}"
    test = guarded(bounded_mean_test(sample, margin, worst, alpha), sample, margin, worst, alpha)
    verdict = "undecided" if short else verdict_of(test.p_value, test.harm_p_value, alpha)
    plan, deviation = planned_drop(sample.estimate, margin), float(sample.means.std())
    needed = partial(mean_rows_needed, margin, deviation, plan, worst, alpha)
    noun = "rows" if paired.rows_are_units else "units"
    return Judgement(
        verdict=verdict,
        estimate=sample.estimate,
        bound=agreeing_bound(test.bound, margin, verdict),
        p_value=test.p_value,
        grade="B",
        n=n,
        method=MEAN_METHOD.format(noun, noun[:-1]),
        rows_needed=more_rows(needed, n, n / effective) if verdict == "undecided" else 0,
        reason=reason_for(verdict, test.bound, margin, plan, short),
    )


def _judge_linear(paired: Paired, margin: float, alpha: float) -> Judgement:
    if paired.weights is not None and not usable_weights(paired.weights):
        return _unknown(paired, "weights must be finite, at least 0 and not all 0")
    unfit = unfit_for_linear(paired)
    if unfit:
        return _unknown(paired, unfit)
    test = judge_ratio if paired.kind == "ratio_of_sums" else judge_influence
    return test(paired, margin, alpha)


def _judge_reported(paired: Paired, margin: float, alpha: float) -> Judgement:
    return _unknown(paired, "no test certifies this kind of metric; its grade is C")


def _planned_disagreement(seen: int, n: int) -> float:
    """Guesses the disagreement for planning: what was seen, and ten rows' worth of a typical 3 %.

    Without the latter a group with no disagreement so far would seem to need the floor only.
    """
    return (seen + 0.3) / (n + 10)


def _unknown(paired: Paired, reason: str) -> Judgement:
    """Gives up on a verdict, but not on what can still be said."""
    drops = paired.drops
    known = bool(drops.size) and bool(np.isfinite(drops).all())
    estimate = None
    if known:
        usable = paired.weights is None or usable_weights(paired.weights)
        estimate = float(np.average(drops, weights=paired.weights)) if usable else None
        if paired.bases is not None and usable:
            estimate = paired.unit_totals().estimate if paired.bases.sum() > 0 else None
    return Judgement("undecided", estimate, None, None, "C", drops.size, REPORTED_METHOD, 0, reason)


def binary_verdict(b: int, c: int, n: int, margin: float, alpha: float = 0.05) -> Verdict:
    """Gives the verdict on a paired 0/1 table alone; `judge` calls it, and adds the rest.

    Args:
        b: rows that only the baseline got right.
        c: rows that only the candidate got right.
        n: all rows.
        margin: largest drop allowed, between 0 and 1.
        alpha: error rate of each verdict.

    >>> [binary_verdict(b, 2, 1000, 0.01) for b in (3, 9, 40)]
    ['held', 'undecided', 'broken']
    """
    if n >= floor_rows(margin, alpha) and paired_binary_p_value(b, c, n, margin) <= alpha:
        return "held"
    # A drop seen below the margin can't be above it with confidence; skip the search.
    harmful = b - c > n * margin and paired_binary_harm_p_value(b, c, n, margin) <= alpha
    return "broken" if harmful else "undecided"


def _agreement_verdict(disagreements: int, n: int, margin: float, alpha: float) -> Verdict:
    p_value = agreement_p_value(disagreements, n, margin)
    return verdict_of(p_value, agreement_harm_p_value(disagreements, n, margin), alpha)


_TESTS: Mapping[Kind, Callable[[Paired, float, float], Judgement]] = {
    "binary": _judge_binary,
    "bounded_mean": _judge_mean,
    "ratio_of_sums": _judge_linear,
    "influence": _judge_linear,
    "reported_only": _judge_reported,
}
