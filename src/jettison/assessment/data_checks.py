"""Where the data may be biased, as questions: only a person who knows its origin can answer them.

Four kinds after H. Suresh and J. Guttag, "A framework for understanding sources of harm throughout
the machine learning life cycle" (2021): historical (label rates), representation (shares),
measurement (missing values, labels of rows that look alike), aggregation (one score for all).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jettison.assessment.answers import ModelAnswers
from jettison.assessment.figures import BIAS, figures_of
from jettison.assessment.people import MISSING_GROUP, GroupColumn, People
from jettison.domain.assessment import BiasKind, Question
from jettison.domain.rows import Array
from jettison.errors import UsageError
from jettison.reporting.quantities import percent
from jettison.statistics.group_differences import SMALLEST, surest_difference
from jettison.statistics.group_rates import BASE
from jettison.statistics.group_values import (
    GroupValues,
    group_means,
    group_sums,
    wilson_bounds,
)
from jettison.statistics.near_duplicates import alike, disagreement

MOST = 4
"""Questions of one kind about one column: the largest first."""

LEAST_MISSING = 0.02
"""Differences in missing values below this are not asked about."""


def questions_about(
    people: People,
    inputs: Mapping[str, Array],
    population: Mapping[str, float],
    answers: ModelAnswers | None = None,
) -> tuple[Question, ...]:
    """Looks at the rows from four sides.

    Args:
        people: the rows, with their groups.
        inputs: raw columns that feed the model, each of shape (n, ...); may be empty.
        population: share of each group in the population that the model is for, by group name.
        answers: of the model that is assessed, for aggregation bias.

    Raises:
        UsageError: for a population of unknown groups, or shares that are none.
    """
    check_population(people, population)
    found: list[Question] = []
    for column in people.columns:
        found += list(_representation(people, column, population))[:MOST]
        found += list(_historical(people, column))
        found += list(_missing(people, column, inputs))[:MOST]
        found += list(_label_noise(people, column, inputs))[:MOST]
        found += list(_aggregation(people, column, answers))[:MOST]
    return tuple(found)


def check_population(people: People, population: Mapping[str, float]) -> None:
    """Refuses a population that doesn't fit the groups.

    Raises:
        UsageError: for a group that is not in the data, or a share outside 0 to 1.
    """
    known = {name for column in people.columns for name in column.names}
    for name, share in population.items():
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"the share of `{name}` must be from 0 to 1; got {share:g}")
        if name not in known:
            shown = ", ".join(sorted(known)[:8])
            raise UsageError(f"there is no group `{name}` in the data; there are: {shown}")


def _representation(
    people: People, column: GroupColumn, population: Mapping[str, float]
) -> Iterator[Question]:
    rows = group_sums(column.codes, column.count, people.weights)
    share = rows.mass / rows.mass.sum()
    low, high = wilson_bounds(share, np.full(column.count, float(people.n)))
    asked: list[tuple[float, Question]] = []
    for g, name in enumerate(column.names):
        n = int(rows.n[g])
        if name in population and not low[g] <= population[name] <= high[g]:
            wanted = population[name]
            side = "only " if share[g] < wanted else ""
            sentence = (
                f"{name} is {side}{percent(share[g])} of the rows and {percent(wanted)} of the population. "
                "Who is missing, and would the model answer them as well?"
            )
            asked.append((abs(share[g] - wanted), _q("representation", sentence, column, name, n)))
        elif name not in population and n < SMALLEST:
            sentence = (
                f"{name} has {n} rows. Are there so few where the model will be used, or were they "
                "not reached?"
            )
            asked.append((0.0, _q("representation", sentence, column, name, n)))
        if name.endswith(f"={MISSING_GROUP}"):
            sentence = f"{percent(share[g])} of the rows don't say their {column.name}. Whose are they, and why?"
            asked.append((float(share[g]), _q("measurement", sentence, column, name, n)))
    yield from (question for _, question in sorted(asked, key=lambda pair: -pair[0]))


def _historical(people: People, column: GroupColumn) -> Iterator[Question]:
    if people.targets is None:
        return
    if people.task == "regression":
        base = group_means(BASE, column.codes, column.count, people.targets, people.weights)
        what = "target"
    else:
        hit = (people.targets == people.positive).astype(np.float64)
        rows = group_sums(column.codes, column.count, people.weights)
        means = group_means(BASE, column.codes, column.count, hit, people.weights)
        base = GroupValues(BASE, means.value, rows)
        what = f"share of {people.classes[people.positive]}"
    gap = surest_difference(base)
    if gap.highest < 0 or not gap.low > 0.0:
        return
    pair = (float(base.value[g]) for g in (gap.highest, gap.lowest))
    top, bottom = (f"{x:.4g}" if people.task == "regression" else percent(x) for x in pair)
    sentence = (
        f"The {what} in the labels is {top} in {column.names[gap.highest]} and {bottom} in "
        f"{column.names[gap.lowest]}. Is that so in the world, or do the labels repeat how people "
        "were treated before?"
    )
    yield Question("historical", sentence, column.name, column.names[gap.lowest], gap.value, gap.n)


def _missing(
    people: People, column: GroupColumn, inputs: Mapping[str, Array]
) -> Iterator[Question]:
    asked: list[tuple[float, Question]] = []
    for name, values in inputs.items():
        absent = _absent(values)
        if absent is None or not absent.any():
            continue
        rows = group_sums(column.codes, column.count, people.weights)
        means = group_means(
            name, column.codes, column.count, absent.astype(np.float64), people.weights
        )
        gap = surest_difference(GroupValues(name, means.value, rows))
        if gap.highest < 0 or not (gap.low > 0.0 and gap.value >= LEAST_MISSING):
            continue
        group = column.names[gap.highest]
        sentence = (
            f"`{name}` is missing in {percent(means.value[gap.highest])} of the rows of {group} and "
            f"{percent(means.value[gap.lowest])} of those of {column.names[gap.lowest]}. Is it asked or "
            "measured in the same way for both?"
        )
        asked.append((gap.value, _q("measurement", sentence, column, group, gap.n)))
    yield from (question for _, question in sorted(asked, key=lambda pair: -pair[0]))


def _absent(values: Array) -> Array | None:
    """Rows without a value; «?» stands for none in many public tables."""
    if values.ndim != 1:
        return None
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "OU":
        told = values.tolist()  # arrays of their own too, where rows differ in length
        return np.array([v is None or (isinstance(v, str) and v in ("", "?")) for v in told])
    return None


def _label_noise(
    people: People, column: GroupColumn, inputs: Mapping[str, Array]
) -> Iterator[Question]:
    flat = [values for values in inputs.values() if values.ndim == 1]
    if people.targets is None or people.task == "regression" or not flat:
        return
    value, low, high, rows = disagreement(alike(flat), people.targets, column.codes, column.count)
    # Labels near one half differ more often in any case: beside what random labels would do.
    random = _random_disagreement(people.targets, column)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, least, most = value / random, low / random, high / random
    some = np.flatnonzero((rows.n >= SMALLEST) & np.isfinite(least))
    if len(some) < 2:
        return
    worst, best = some[int(np.argmax(least[some]))], some[int(np.argmin(most[some]))]
    if least[worst] <= most[best]:
        return
    sentence = (
        f"Rows of {column.names[worst]} that look alike carry different labels in "
        f"{percent(value[worst])} of pairs, {share[worst]:.2f} of what labels at random would; "
        f"those of {column.names[best]} in {percent(value[best])}, {share[best]:.2f}. Are the "
        "labels of the former less reliable, or do the inputs say less about them?"
    )
    n = int(rows.n[worst])
    yield Question(
        "measurement", sentence, column.name, column.names[worst], float(share[worst]), n
    )


def _random_disagreement(targets: Array, column: GroupColumn) -> Array:
    """The chance that two labels of a group drawn at random differ, shape (groups,)."""
    kinds = int(targets.max(initial=0)) + 1
    counts = np.bincount(column.codes * kinds + targets, minlength=column.count * kinds)
    table = counts.reshape(column.count, kinds).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = table / table.sum(axis=1, keepdims=True)
    return np.asarray(1.0 - (shares**2).sum(axis=1))


def _aggregation(
    people: People, column: GroupColumn, answers: ModelAnswers | None
) -> Iterator[Question]:
    if answers is None or people.task != "binary" or people.targets is None:
        return
    values = figures_of(people, answers, column).values
    if BIAS not in values:
        return
    gap = surest_difference(values[BIAS])
    if gap.highest < 0 or not (gap.low > 0.0 and gap.value >= LEAST_MISSING):
        return
    bias = values[BIAS].value
    high, low = column.names[gap.highest], column.names[gap.lowest]
    sentence = (
        f"The same score means different things: on average it lies {percent(bias[gap.highest])} off in "
        f"{high} and {percent(bias[gap.lowest])} in {low}. Does one model fit both, or is something "
        "that matters for one of them missing?"
    )
    yield Question("aggregation", sentence, column.name, high, gap.value, gap.n)


def _q(kind: BiasKind, sentence: str, column: GroupColumn, group: str, n: int) -> Question:
    return Question(kind, sentence, column.name, group, None, n)


def flat_inputs(columns: Mapping[str, Array], apart: Sequence[str]) -> dict[str, Array]:
    """The raw columns that are no target, weight, unit or group."""
    return {name: column for name, column in columns.items() if name not in apart}
