"""From answers to an `Assessment`: figures by group, findings, changes, questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.assessment.answers import ModelAnswers
from jettison.assessment.figures import (
    GAPS,
    ODDS,
    ColumnFigures,
    Wishes,
    bins_of,
    conflict_of,
    estimates_of,
    figures_of,
    gaps_of,
    left_out_of_limits,
    ratio_of,
)
from jettison.assessment.findings import answer_of, findings_of
from jettison.assessment.people import People
from jettison.domain.assessment import AssessedModel, Assessment, Question
from jettison.domain.measurement import OVERALL, Estimate
from jettison.domain.rows import Array
from jettison.errors import UsageError
from jettison.reporting.quantities import percent
from jettison.statistics.group_rates import FALSE_POSITIVE, PREDICTIVE, TRUE_POSITIVE
from jettison.statistics.incompatibility import conflict, least_false_positive_gap
from jettison.statistics.intervals import (
    Interval,
    mean_interval,
    newcombe_interval,
    wilson_interval,
)

GATED_TOGETHER = tuple(GAPS[name] for name in (PREDICTIVE, TRUE_POSITIVE, FALSE_POSITIVE))

CHANGED = "answers_changed"
CHANGE = "error_rate_change"
CHANGE_OF_ERROR = "absolute_error_change"


@dataclass(frozen=True, slots=True)
class Told:
    """What an assessment says about itself besides figures."""

    subject: str
    rows_from: str
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    command: str = ""
    created: str = ""


def check_limits(limits: Sequence[str], people: People) -> None:
    """Refuses limits on figures that are not there.

    Raises:
        UsageError: for an unknown gap, or one that these rows don't have.
    """
    known = {*GAPS.values(), ODDS}
    for name in limits:
        plain = name.partition("[")[0]
        if plain not in known:
            raise UsageError(
                f"there is no gap `{name}` to limit; there are: {', '.join(sorted(known))}"
            )
        if people.targets is None and plain != "demographic_parity_difference":
            raise UsageError(f"`{name}` needs right answers: name their column with --target")


def assess(
    people: People, models: Sequence[ModelAnswers], wishes: Wishes, told: Told
) -> Assessment:
    """Assesses one model, or an original and what was made of it, on the same rows.

    Args:
        people: the rows.
        models: answers, the original first.
        wishes: how to assess.
        told: what else stands in the report.

    Raises:
        UsageError: if limits are asked for that can't be met together, or not be computed.
    """
    check_limits(tuple(wishes.limits), people)
    left_out: list[str] = []
    assessed = tuple(_assessed(people, answers, wishes, left_out) for answers in models)
    _refuse_lost(wishes, people, assessed)
    notes = (*told.notes, *_notes(people, wishes), *dict.fromkeys(left_out))
    return Assessment(
        subject=told.subject,
        rows_from=told.rows_from,
        task=people.task,
        positive=people.classes[people.positive] if people.task == "binary" else "",
        adverse=wishes.adverse,
        labelled=people.targets is not None,
        n=people.n,
        groups=_sizes(people),
        smallest=wishes.smallest,
        answer=answer_of(people, assessed[-1], wishes),
        models=assessed,
        changes=tuple(_changes(people, models)) if len(models) > 1 else (),
        questions=told.questions,
        notes=notes,
        command=told.command,
        created=told.created,
    )


def _refuse_lost(wishes: Wishes, people: People, models: Sequence[AssessedModel]) -> None:
    """Refuses limits that no gap of this task answers: they would seem to be held.

    Raises:
        UsageError: with the gaps that there are.
    """
    seen = dict.fromkeys(gap.metric for model in models for gap in model.gaps)
    lost = [name for name in wishes.limits if name not in seen]
    if lost:
        raise UsageError(
            f"`{lost[0]}` can't be limited here: a {people.task} task has no such gap; there "
            f"are: {', '.join(list(seen)[:30]) or 'none'}"
        )


def _assessed(
    people: People, answers: ModelAnswers, wishes: Wishes, left_out: list[str]
) -> AssessedModel:
    found = [figures_of(people, answers, column) for column in people.columns]
    conflicts = tuple(
        one for one in (conflict_of(f, wishes.smallest) for f in found) if one is not None
    )
    for figures in found:
        _refuse_impossible(figures, wishes)
        left_out += left_out_of_limits(figures, wishes)
    return AssessedModel(
        answers.name,
        tuple(estimates_of(found)),
        tuple(gap for figures in found for gap in gaps_of(figures, wishes)),
        tuple(r for r in (ratio_of(f, wishes) for f in found) if r is not None),
        conflicts,
        tuple(one for figures in found for one in bins_of(figures)),
        findings_of(people, found, wishes),
    )


def _refuse_impossible(figures: ColumnFigures, wishes: Wishes) -> None:
    """Refuses limits on PPV, TPR and FPR that no classifier of this quality could meet together.

    Raises:
        UsageError: with the numbers.
    """
    gated = wishes.limits
    both_odds = ODDS in gated and GATED_TOGETHER[0] in gated
    if not (both_odds or all(name in gated for name in GATED_TOGETHER)):
        return
    found = conflict(figures.values, wishes.smallest)
    if found is None or not found.shown:
        return
    odds = gated.get(ODDS, np.inf)
    ppv = gated[GATED_TOGETHER[0]]
    tpr, fpr = (min(odds, gated.get(name, np.inf)) for name in GATED_TOGETHER[1:])
    least = least_false_positive_gap(found, ppv, tpr)
    if least <= fpr:
        return
    names = figures.column.names
    raise UsageError(
        f"these limits can't be met together between the groups of `{figures.column.name}`. The "
        f"base rate is {percent(found.base_rates[0])} in {names[found.high]} and "
        f"{percent(found.base_rates[1])} in {names[found.low]}; with PPV within {ppv:g} and TPR within "
        f"{tpr:g} of each other, about the {percent(found.level_ppv)} and {percent(found.level_tpr)} of all "
        f"rows, the false positive rates differ by at least {percent(least)}, more than the {fpr:g} "
        "allowed (FPR = p / (1 - p) * (1 - PPV) / PPV * TPR, whatever the model; Chouldechova "
        "2017). Decide which of the three matters here, and drop the limit on one"
    )


def _sizes(people: People) -> dict[str, dict[str, int]]:
    sizes: dict[str, dict[str, int]] = {}
    for column in people.columns:
        some = column.codes if people.weights is None else column.codes[people.weights > 0]
        counts = np.bincount(some, minlength=column.count)
        sizes[column.name] = {
            name: int(count) for name, count in zip(column.names, counts, strict=True)
        }
    return sizes


def _notes(people: People, wishes: Wishes) -> Sequence[str]:
    notes = []
    for column, sizes in _sizes(people).items():
        small = [name for name, n in sizes.items() if n < wishes.smallest]
        if small:
            shown = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if small[5:] else "")
            notes.append(
                f"{len(small)} of {len(sizes)} groups of {column} have fewer than "
                f"{wishes.smallest} rows and are listed, but not compared: {shown}."
            )
    if people.weights is not None:
        zero = len(people.weights) - people.n
        left = f" {zero:,} rows have weight 0 and don't count." if zero else ""
        notes.append(f"Rows are weighted; intervals use Kish's effective number of rows.{left}")
    if people.targets is None:
        notes.append(
            "There are no right answers, so only how often each group is selected can be told."
        )
    return notes


def _changes(people: People, models: Sequence[ModelAnswers]) -> Iterator[Estimate]:
    """What changed from the first model to the last on the same rows; above 0 is worse.

    Every row with a weight above 0 counts once: the paired interval has no weighted form here.
    """
    weights = people.weights
    counts = np.ones(len(people.columns[0].codes), dtype=bool) if weights is None else weights > 0
    yield from _change(people, models, OVERALL, counts)
    for column in people.columns:
        for g, name in enumerate(column.names):
            yield from _change(people, models, name, counts & (column.codes == g))


def _change(
    people: People, models: Sequence[ModelAnswers], group: str, some: Array
) -> Iterator[Estimate]:
    first, last = models[0], models[-1]
    targets = people.targets
    if first.decisions is not None and last.decisions is not None:
        old, new = first.decisions[some], last.decisions[some]
        flips = wilson_interval(int((old != new).sum()), len(old))
        yield _estimate(CHANGED, group, flips, "fraction")
        if targets is not None:
            was, now = old == targets[some], new == targets[some]
            lost, won = int((was & ~now).sum()), int((now & ~was).sum())
            drop = newcombe_interval(lost, won, int((was & now).sum()), len(was))
            yield _estimate(CHANGE, group, drop, "fraction")
    elif first.values is not None and last.values is not None and targets is not None:
        before, after = (np.abs(v[some] - targets[some]) for v in (first.values, last.values))
        yield _estimate(CHANGE_OF_ERROR, group, mean_interval(after - before), "")


def _estimate(metric: str, group: str, one: Interval, unit: str) -> Estimate:
    value, low, high = (x if np.isfinite(x) else None for x in (one.value, one.low, one.high))
    return Estimate(metric, group, value, low, high, one.n, unit, "lower")
