"""Every figure of one model by group, as estimates, gaps, ratios, bins and conflicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jettison.assessment.answers import ModelAnswers
from jettison.assessment.people import GroupColumn, People
from jettison.domain.assessment import BaseRateConflict, GroupGap, ImpactRatio, ReliabilityBin
from jettison.domain.measurement import OVERALL, Better, Estimate
from jettison.reporting.quantities import percent
from jettison.statistics.calibration_error import (
    CalibrationErrors,
    Reliability,
    calibration_errors,
    reliability,
)
from jettison.statistics.group_differences import (
    FOUR_FIFTHS,
    SMALLEST,
    Difference,
    comparable,
    largest_difference,
    smallest_ratio,
    worse_of,
)
from jettison.statistics.group_rates import (
    BASE,
    ERROR,
    FALSE_POSITIVE,
    PREDICTIVE,
    SELECTION,
    TRUE_POSITIVE,
    Answers,
    class_rates,
    error_rates,
    tally,
)
from jettison.statistics.group_values import GroupValues, group_means
from jettison.statistics.incompatibility import conflict

BRIER = "brier_score"
BIAS = "score_minus_share"
CALIBRATION = "calibration_error"
MEAN_ERROR = "mean_error"
ABSOLUTE_ERROR = "absolute_error"

GAPS: Mapping[str, str] = {
    SELECTION: "demographic_parity_difference",
    TRUE_POSITIVE: "equal_opportunity_difference",
    FALSE_POSITIVE: "false_positive_rate_difference",
    PREDICTIVE: "predictive_parity_difference",
    ERROR: "error_rate_difference",
    BASE: "base_rate_difference",
    MEAN_ERROR: "mean_error_difference",
    ABSOLUTE_ERROR: "absolute_error_difference",
}
ODDS = "equalised_odds_difference"

_HIGHER = frozenset({SELECTION, BASE, TRUE_POSITIVE, PREDICTIVE})
DRAWN_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to assess.

    Attributes:
        adverse: being given the positive class is to a person's disadvantage.
        threshold: of the disparate-impact ratio.
        smallest: rows below which a group is not compared.
        limits: gap -> largest value allowed.
    """

    adverse: bool = False
    threshold: float = FOUR_FIFTHS
    smallest: int = SMALLEST
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnFigures:
    """All figures of one column.

    Attributes:
        column: of groups.
        values: name -> figure of each group.
        by_class: class -> rates of it against the rest, of a multi-class model.
        bins, calibration: where there are scores and labels.
    """

    column: GroupColumn
    values: Mapping[str, GroupValues]
    by_class: Mapping[str, Mapping[str, GroupValues]] = field(default_factory=dict)
    bins: Reliability | None = None
    calibration: CalibrationErrors | None = None


def figures_of(people: People, answers: ModelAnswers, column: GroupColumn) -> ColumnFigures:
    """Computes every figure of one column in one pass over the rows."""
    if people.task == "regression":
        return ColumnFigures(column, _regression(people, answers, column))
    decisions = answers.decisions
    if decisions is None:
        raise ValueError("a classification needs decisions")
    given = Answers(decisions, people.targets, len(people.classes), people.weights)
    counts = tally(given, column.codes, column.count)
    values: dict[str, GroupValues] = {}
    by_class: dict[str, Mapping[str, GroupValues]] = {}
    if people.task == "binary":
        values.update(class_rates(counts, people.positive))
    else:
        by_class = {name: class_rates(counts, k) for k, name in enumerate(people.classes)}
    wrong = error_rates(counts)
    if wrong is not None:
        values[ERROR] = wrong
    scores = answers.top(people.positive, people.task == "binary")
    if scores is None or people.targets is None:
        return ColumnFigures(column, values, by_class)
    return _with_calibration(people, answers, ColumnFigures(column, values, by_class))


def _with_calibration(people: People, answers: ModelAnswers, found: ColumnFigures) -> ColumnFigures:
    binary = people.task == "binary"
    scores, column = answers.top(people.positive, binary), found.column
    if scores is None or people.targets is None or answers.scores is None:
        return found
    event = people.targets == (people.positive if binary else answers.decisions)
    positives = event.astype(np.float64)
    if binary:
        squares = (scores - positives) ** 2
    else:
        # The score of several classes: sum over classes of (score - hit)^2 (Brier 1950).
        own = answers.scores[np.arange(len(scores)), people.targets]
        squares = (answers.scores**2).sum(axis=1) - 2.0 * own + 1.0
    values = dict(found.values)
    told = (column.codes, column.count)
    values[BRIER] = group_means(BRIER, *told, squares, people.weights, "squared")
    values[BIAS] = group_means(BIAS, *told, scores - positives, people.weights, "fraction")
    bins = reliability(*told, scores, positives, people.weights)
    errors = calibration_errors(bins, column.count)
    return ColumnFigures(column, values, found.by_class, bins, errors)


def _regression(
    people: People, answers: ModelAnswers, column: GroupColumn
) -> Mapping[str, GroupValues]:
    told = (column.codes, column.count)
    values = answers.values
    if values is None:
        raise ValueError("a regression needs values")
    if people.targets is None:
        name = "mean_prediction"
        return {name: group_means(name, *told, values, people.weights)}
    error = values - people.targets
    return {
        MEAN_ERROR: group_means(MEAN_ERROR, *told, error, people.weights),
        ABSOLUTE_ERROR: group_means(ABSOLUTE_ERROR, *told, np.abs(error), people.weights),
    }


def estimates_of(found: Sequence[ColumnFigures]) -> Iterator[Estimate]:
    """Every figure overall (once) and by group."""
    for place, figures in enumerate(found):
        if place == 0:
            for name, values in _all_values(figures):
                yield from _estimates(name, values.whole(), (OVERALL,))
        for name, values in _all_values(figures):
            yield from _estimates(name, values, figures.column.names)
        if figures.calibration is not None:
            yield from _calibrations(figures.calibration, figures.column.names)


def _all_values(figures: ColumnFigures) -> Iterator[tuple[str, GroupValues]]:
    yield from figures.values.items()
    for name, rates in figures.by_class.items():
        for metric, values in rates.items():
            yield f"{metric}[{name}]", values


def _estimates(name: str, values: GroupValues, groups: Sequence[str]) -> Iterator[Estimate]:
    low, high = values.bounds()
    better: Better = "higher" if values.name in _HIGHER else "lower"
    for g, group in enumerate(groups):
        ends = (_known(values.value[g]), _known(low[g]), _known(high[g]))
        if ends[0] is None:
            ends = (None, None, None)
        yield Estimate(name, group, *ends, int(values.rows.n[g]), values.unit, better)


def _calibrations(errors: CalibrationErrors, groups: Sequence[str]) -> Iterator[Estimate]:
    for g, group in enumerate(groups):
        ends = (_known(errors.value[g]), _known(errors.low[g]), _known(errors.high[g]))
        yield Estimate(CALIBRATION, group, *ends, int(errors.n[g]), "fraction", "lower")


def gaps_of(figures: ColumnFigures, wishes: Wishes) -> Iterator[GroupGap]:
    """The largest differences between the groups of a column, in the order of `GAPS`."""
    found: dict[str, Difference] = {}
    for name, title in GAPS.items():
        if name in figures.values:
            one = largest_difference(figures.values[name], wishes.smallest)
            found[name] = one
            told = (figures.values[name].unit, _whole(figures, (name,), wishes))
            yield _gap(title, one, figures.column, wishes, *told)
    if TRUE_POSITIVE in found:
        odds = worse_of(ODDS, found[TRUE_POSITIVE], found[FALSE_POSITIVE])
        whole = _whole(figures, (TRUE_POSITIVE, FALSE_POSITIVE), wishes)
        yield _gap(ODDS, odds, figures.column, wishes, whole=whole)
    for label, rates in figures.by_class.items():
        for name, values in rates.items():
            one = largest_difference(values, wishes.smallest)
            whole = not _dropped(values, wishes.smallest)
            yield _gap(f"{GAPS[name]}[{label}]", one, figures.column, wishes, whole=whole)


def _dropped(values: GroupValues, smallest: int) -> list[int]:
    """Numbers of the groups that no difference of a figure speaks of."""
    some = set(comparable(values, smallest).tolist())
    return [g for g in range(len(values.value)) if g not in some]


def _whole(figures: ColumnFigures, names: Sequence[str], wishes: Wishes) -> bool:
    return not any(_dropped(figures.values[name], wishes.smallest) for name in names)


def left_out_of_limits(figures: ColumnFigures, wishes: Wishes) -> Iterator[str]:
    """Sentences about groups that a limit can't be held for: too few rows that its figure counts."""
    odds = {name: ODDS for name in (TRUE_POSITIVE, FALSE_POSITIVE) if ODDS in wishes.limits}
    listed = [
        (GAPS[name], odds.get(name, ""), v) for name, v in figures.values.items() if name in GAPS
    ]
    for label, rates in figures.by_class.items():
        listed += [(f"{GAPS[name]}[{label}]", "", values) for name, values in rates.items()]
    for title, also, values in listed:
        small = [figures.column.names[g] for g in _dropped(values, wishes.smallest)]
        if small and (title in wishes.limits or also):
            shown = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if small[5:] else "")
            yield (
                f"No limit on {title}{f' ({also})' if also else ''} can be held for {shown}: fewer "
                f"than {wishes.smallest} rows that it counts."
            )


def _gap(
    title: str,
    one: Difference,
    column: GroupColumn,
    wishes: Wishes,
    unit: str = "fraction",
    whole: bool = True,
) -> GroupGap:
    limit = wishes.limits.get(title)
    verdict = None
    if limit is not None:
        verdict = "undecided"
        if np.isfinite(one.low) and one.low > limit:
            verdict = "broken"
        elif whole and np.isfinite(one.high) and one.high <= limit:
            verdict = "held"
    return GroupGap(
        title,
        column.name,
        _known(one.value),
        _known(one.low),
        _known(one.high),
        column.names[one.highest] if one.highest >= 0 else "",
        column.names[one.lowest] if one.lowest >= 0 else "",
        one.n,
        unit,
        limit,
        verdict,  # type: ignore[arg-type]
    )


def ratio_of(figures: ColumnFigures, wishes: Wishes) -> ImpactRatio | None:
    """The disparate-impact ratio of the favourable answer; `None` where it is undefined."""
    if SELECTION not in figures.values:
        return None
    chosen = figures.values[SELECTION]
    favoured = chosen
    if wishes.adverse:
        favoured = GroupValues(SELECTION, 1.0 - chosen.value, chosen.rows)
    one = smallest_ratio(favoured, wishes.threshold, wishes.smallest)
    if one is None:
        return None
    names = figures.column.names
    return ImpactRatio(
        figures.column.name,
        one.value,
        one.low,
        one.high,
        names[one.lowest],
        names[one.highest],
        one.n,
        one.threshold,
        one.verdict,
        tuple(names[group] for group in _dropped(favoured, wishes.smallest)),
    )


def bins_of(figures: ColumnFigures) -> Iterator[ReliabilityBin]:
    """Reliability of the largest groups of a column."""
    bins = figures.bins
    if bins is None:
        return
    sizes = np.bincount(bins.group, bins.n, minlength=figures.column.count)
    largest = set(np.argsort(-sizes, kind="stable")[:DRAWN_GROUPS].tolist())
    for i, group in enumerate(bins.group.tolist()):
        if group in largest:
            yield ReliabilityBin(
                figures.column.names[group],
                float(bins.score[i]),
                float(bins.share[i]),
                float(bins.low[i]),
                float(bins.high[i]),
                int(bins.n[i]),
            )


def conflict_of(figures: ColumnFigures, smallest: int) -> BaseRateConflict | None:
    """The incompatibility of equal PPV, TPR and FPR between the groups of a column, in words."""
    found = conflict(figures.values, smallest)
    if found is None:
        return None
    names = figures.column.names
    higher, lower = names[found.high], names[found.low]
    (p_high, p_low), (f_high, f_low) = found.base_rates, found.forced_fpr
    if found.shown:
        words = (
            f"The base rate is {percent(p_high)} in {higher} and {percent(p_low)} in {lower}. With PPV "
            f"{percent(found.level_ppv)} and TPR {percent(found.level_tpr)} in both, as over all rows, the "
            f"false positive rates would have to be {percent(f_high)} and {percent(f_low)}: equal PPV, TPR "
            "and FPR can't be had together here, unless a model makes no mistake."
        )
    else:
        words = (
            f"The base rates of {higher} ({percent(p_high)}) and {lower} ({percent(p_low)}) may differ by "
            "chance only, so these rows show no conflict between equal PPV, TPR and FPR."
        )
    return BaseRateConflict(
        figures.column.name,
        higher,
        lower,
        found.base_rates,
        found.shown,
        found.level_ppv,
        found.level_tpr,
        found.forced_fpr,
        found.observed_fpr,
        words,
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
