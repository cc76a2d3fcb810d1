"""Which group was shown to be treated worse than everyone else, worst first, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.assessment.figures import (
    ABSOLUTE_ERROR,
    BIAS,
    ColumnFigures,
    Wishes,
)
from jettison.assessment.people import People
from jettison.domain.assessment import AssessedModel, Finding, GroupGap, ImpactRatio
from jettison.reporting.quantities import listed, percent
from jettison.statistics.group_rates import ERROR, FALSE_POSITIVE, TRUE_POSITIVE
from jettison.statistics.group_values import CONFIDENCE, GroupValues, difference_bounds

MOST = 12
"""Findings that are kept: the rest stands in the tables."""

OVER, UNDER = 1.0, -1.0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A figure of every group of a column, and the direction that is worse."""

    metric: str
    values: GroupValues
    worse: float
    harm: bool


def findings_of(
    people: People, found: Sequence[ColumnFigures], wishes: Wishes
) -> tuple[Finding, ...]:
    """Compares every group with all rows outside it, and sorts by what the rows leave certain.

    The lower ends hold for all comparisons together (Bonferroni), so that the worst of many groups
    is not merely the luckiest draw, and a small group leads only where it must.
    """
    listed = [(figures, one) for figures in found for one in _candidates(people, figures, wishes)]
    count = sum(_comparable(one.values, wishes.smallest).sum() for _, one in listed)
    made: list[Finding] = []
    for figures, one in listed:
        made += _worse(people, figures, one, (wishes.smallest, max(1, int(count))))
    made.sort(key=lambda finding: (not finding.harm, -finding.at_least, finding.group))
    return tuple(made[:MOST])


def _candidates(people: People, figures: ColumnFigures, wishes: Wishes) -> Iterator[_Candidate]:
    values = figures.values
    if FALSE_POSITIVE in values:
        yield _Candidate(FALSE_POSITIVE, values[FALSE_POSITIVE], OVER, wishes.adverse)
        yield _Candidate(TRUE_POSITIVE, values[TRUE_POSITIVE], UNDER, not wishes.adverse)
    if ERROR in values:
        # Of two answers one is the better for a person: errors of both kinds together are no harm.
        yield _Candidate(ERROR, values[ERROR], OVER, harm=people.task != "binary")
    if ABSOLUTE_ERROR in values:
        yield _Candidate(ABSOLUTE_ERROR, values[ABSOLUTE_ERROR], OVER, harm=True)
    if BIAS in values and people.task == "binary":
        worse = OVER if wishes.adverse else UNDER
        yield _Candidate(BIAS, values[BIAS], worse, harm=False)


def _comparable(values: GroupValues, smallest: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    rest = values.rest()
    enough = (values.rows.n >= smallest) & (rest.rows.n >= smallest)
    known: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        enough & np.isfinite(values.value) & np.isfinite(rest.value)
    )
    return known


def _worse(
    people: People, figures: ColumnFigures, one: _Candidate, told: tuple[int, int]
) -> Iterator[Finding]:
    smallest, count = told
    some = np.flatnonzero(_comparable(one.values, smallest))
    rest, level = one.values.rest(), 1.0 - (1.0 - CONFIDENCE) / count
    mine, theirs = one.values.bounds(level), rest.bounds(level)
    pair = difference_bounds(
        (one.values.value, mine[0], mine[1]), (rest.value, theirs[0], theirs[1])
    )
    low = pair[0] if one.worse > 0 else -pair[1]
    for g in some[low[some] > 0.0].tolist():
        told_value, others = float(one.values.value[g]), float(rest.value[g])
        n = int(one.values.rows.n[g])
        sentence = _sentence(people, one.metric, (figures.column.names[g], told_value, others, n))
        yield Finding(
            sentence,
            one.metric,
            figures.column.names[g],
            told_value,
            others,
            float(low[g]),
            n,
            one.harm,
        )


def _sentence(people: People, metric: str, told: tuple[str, float, float, int]) -> str:
    group, value, rest, n = told
    label = people.classes[people.positive] if people.classes else ""
    if metric == FALSE_POSITIVE:
        return (
            f"{percent(value, 0)} of the rows with {group} that are not {label} are called {label} "
            f"(n = {n:,}); of all other rows it is {percent(rest, 0)}."
        )
    if metric == TRUE_POSITIVE:
        return (
            f"{percent(1 - value, 0)} of the rows with {group} that are {label} are missed (n = {n:,}); of "
            f"all other rows it is {percent(1 - rest, 0)}."
        )
    if metric == ERROR:
        return (
            f"{percent(value)} of the answers for {group} are wrong (n = {n:,}); for all other rows it "
            f"is {percent(rest)}."
        )
    if metric == BIAS:
        side = "above" if value > 0 else "below"
        return (
            f"Scores of {group} lie {percent(abs(value))} {side} what happens on average (n = {n:,}); "
            f"those of all other rows {percent(abs(rest))} {'above' if rest > 0 else 'below'}."
        )
    return (
        f"The answers for {group} are off by {value:.4g} on average (n = {n:,}), those for all "
        f"other rows by {rest:.4g}."
    )


def answer_of(people: People, model: AssessedModel, wishes: Wishes) -> str:
    """The whole result in one sentence: the worst finding, or what these rows can't show."""
    worst = next((finding for finding in model.findings if finding.harm), None)
    overall = model.get(ERROR)
    if worst is not None:
        if overall is None or overall.value is None:
            return worst.sentence
        return f"{worst.sentence} Over all rows, {percent(1 - overall.value, 0)} of the answers are right."
    below = [ratio for ratio in model.ratios if ratio.verdict == "below"]
    if below:
        return ratio_sentence(min(below, key=lambda ratio: ratio.high), wishes)
    shown = [_broken_sentence(gap) for gap in model.gaps if gap.verdict == "broken"][:1]
    # A finding that is no harm by itself is still one: «nothing found» would be untrue.
    shown += [finding.sentence for finding in model.findings[:1]]
    return " ".join(shown) or _nothing_shown(people, model, wishes)


def _broken_sentence(gap: GroupGap) -> str:
    """A gap whose whole interval lies above its limit, in words."""
    ends = (gap.value, gap.low, gap.high)
    fraction = gap.unit == "fraction"
    value, low, high = ("–" if x is None else percent(x) if fraction else f"{x:.4g}" for x in ends)
    limit = percent(gap.limit or 0.0) if fraction else f"{gap.limit:.4g}"
    return (
        f"The {gap.metric.replace('_', ' ')} between {gap.highest} and {gap.lowest} is {value} "
        f"({low} to {high}, n = {gap.n:,}), above the limit of {limit}."
    )


def ratio_sentence(ratio: ImpactRatio, wishes: Wishes) -> str:
    """One disparate-impact ratio in words, whatever its verdict."""
    what = "spared" if wishes.adverse else "selected"
    words = {
        "below": f"it is below {ratio.threshold:g}, beyond chance",
        "not below": f"it is not below {ratio.threshold:g}",
        "undecided": f"these rows can't say whether it is below {ratio.threshold:g}",
    }
    return (
        f"{ratio.lowest} is {what} {ratio.value:.2f} times as often as {ratio.highest} "
        f"({ratio.low:.2f} to {ratio.high:.2f}, n = {ratio.n:,}): {words[ratio.verdict]}"
        f"{_without(ratio, wishes)}."
    )


def _without(ratio: ImpactRatio, wishes: Wishes) -> str:
    """The groups that a verdict says nothing about."""
    if not ratio.left_out:
        return ""
    return f"; of {listed(ratio.left_out)} nothing is said (fewer than {wishes.smallest} rows)"


def _nothing_shown(people: People, model: AssessedModel, wishes: Wishes) -> str:
    gaps = [gap for gap in model.gaps if gap.high is not None and gap.unit == "fraction"]
    gaps = [gap for gap in gaps if not gap.metric.startswith("base_rate")]
    open_ratio = next((r for r in model.ratios if r.verdict == "undecided"), None)
    if not gaps:
        return (
            f"Undecided: no two groups have {wishes.smallest} rows that can be compared, so "
            f"{people.n:,} rows say nothing about differences between groups."
        )
    widest = max(gaps, key=lambda gap: gap.high or 0.0)
    head = "Undecided" if open_ratio is not None or (widest.high or 0.0) > 0.1 else "Nothing found"
    return (
        f"{head}: no group was shown to be treated worse than the others, and {people.n:,} rows "
        f"leave room for a {widest.metric.replace('_', ' ')} of up to {percent(widest.high, 0)} between "
        f"{widest.highest} and {widest.lowest}."
    )
