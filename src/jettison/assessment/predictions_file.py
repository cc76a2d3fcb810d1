"""Assessment of predictions alone: a table with scores or decisions, right answers and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.assessment.answers import ModelAnswers, finite_values
from jettison.assessment.people import (
    FEWEST_TO_TELL,
    MISSING_GROUP,
    People,
    group_columns,
)
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.pipeline.split import labelling
from jettison.pipeline.split.labelling import check_columns, missing_rows, text_of, usable_weights
from jettison.statistics.group_values import Floats

MOST_CLASSES = 100

OTHERS: Mapping[str, str] = {
    "0": "1",
    "1": "0",
    "-1": "1",
    "False": "True",
    "True": "False",
    "false": "true",
    "true": "false",
}
"""Classes that tell the other of two by themselves."""


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """Which column holds what.

    Attributes:
        data: target, groups and weight.
        score: probability of the positive class; empty if there is none.
        decision: class that was decided on, or the value of a regression; empty for score >= 0.5.
        positive: class that is the selection; empty to find out.
        regression: decisions and targets are values.
        crossings: of groups.
    """

    data: DataSection
    score: str = ""
    decision: str = ""
    positive: str = ""
    regression: bool = False
    crossings: tuple[tuple[str, ...], ...] = ()


def read_predictions(
    table: Example, columns: PredictionColumns, where: str
) -> tuple[People, ModelAnswers]:
    """Reads rows and answers from one table.

    Raises:
        DataError: for missing columns, scores that are no probabilities, targets that look like
            probabilities, or groups that are none.
    """
    data = columns.data
    if not (columns.score or columns.decision):
        raise DataError(
            f"{where}: name the column of `--score` (probability of the positive class) or of "
            f"`--decision`; there are: {', '.join(f'`{c}`' for c in table.columns)}"
        )
    grouped = labelling.group_columns(data.groups, table.columns)
    needed = (data.target, *grouped, data.weight, columns.score, columns.decision)
    check_columns(table, needed, where)
    groups = group_columns(group_texts(table, data.groups), columns.crossings, where)
    weights = row_weights(table, data.weight, where) if data.weight else None
    n = table.n if weights is None else int((weights > 0).sum())
    if columns.regression:
        return _regression(
            table, columns, where, People("regression", n, groups, None, (), 0, weights)
        )
    return _classification(table, columns, where, People("binary", n, groups, None, (), 1, weights))


def _regression(
    table: Example, columns: PredictionColumns, where: str, people: People
) -> tuple[People, ModelAnswers]:
    if not columns.decision:
        raise DataError(f"{where}: a regression needs the column of its values as `--decision`")
    values = finite_values(_numbers(table, columns.decision, where), where)
    targets = None
    if columns.data.target:
        targets = finite_values(_numbers(table, columns.data.target, where), where)
    made = People("regression", people.n, people.columns, targets, (), 0, people.weights)
    return made, ModelAnswers("predictions", values=values)


def _classification(
    table: Example, columns: PredictionColumns, where: str, people: People
) -> tuple[People, ModelAnswers]:
    target, decision = columns.data.target, columns.decision
    names: dict[str, Array] = {}
    for column, other in ((target, decision), (decision, target)):
        if column:
            _refuse_probabilities(table.columns[column], column, where)
            beside = table.columns[other] if other else None
            names[column] = _texts(table, column, where, beside)
    _refuse_strangers(names, where)
    classes = _classes(names, columns, where)
    place = {name: index for index, name in enumerate(classes)}
    positive = place[columns.positive] if columns.positive else len(classes) - 1
    coded = {
        column: np.array([place[name] for name in texts.tolist()], dtype=np.int64)
        for column, texts in names.items()
    }
    scores = None
    if columns.score:
        chance = _probabilities(table, columns.score, where)
        if len(classes) > 2:
            raise DataError(
                f"{where} holds {len(classes)} classes, and one score a row says nothing about "
                "several: give `--decision` alone"
            )
        scores = np.empty((table.n, 2))
        scores[:, positive], scores[:, 1 - positive] = chance, 1.0 - chance
    if decision:
        decided = coded[decision]
    else:
        chance = scores[:, positive] if scores is not None else np.empty(0)
        decided = np.where(chance >= 0.5, positive, 1 - positive).astype(np.int64)
    made = People(
        "binary" if len(classes) == 2 else "multi-class",
        people.n,
        people.columns,
        coded.get(target),
        classes,
        positive,
        people.weights,
    )
    return made, ModelAnswers("predictions", decided, scores)


def _classes(names: Mapping[str, Array], columns: PredictionColumns, where: str) -> tuple[str, ...]:
    """Names of the classes in sorted order; two for scores without labels."""
    found = sorted({name for texts in names.values() for name in np.unique(texts).tolist()})
    if not found:
        found = ["0", "1"]
    if len(found) == 1:
        found = sorted([found[0], _other(found[0], columns.positive, where)])
    if columns.positive and columns.positive not in found:
        raise DataError(
            f"no row of {where} is of the positive class `{columns.positive}`; classes: "
            f"{', '.join(found[:8])}"
        )
    if len(found) > MOST_CLASSES:
        raise DataError(
            f"{where} holds {len(found):,} different answers; at most {MOST_CLASSES} classes can be "
            "assessed: if the answers are values, add --task regression"
        )
    return tuple(found)


def _other(only: str, positive: str, where: str) -> str:
    """The second class where all rows are of one: which of the two it is must not be guessed."""
    if positive and positive != only:
        return positive
    if only not in OTHERS and not positive:
        raise DataError(
            f"every row of {where} is of the class `{only}`, which doesn't tell whether it is the "
            "selection: name the class that is with --positive"
        )
    return OTHERS.get(only, "0")


def group_texts(table: Example, groups: Sequence[str]) -> dict[str, Array]:
    """The groups of each row as texts; a missing one is a group of its own."""
    return {
        name: labelling.joined_group(
            [
                _texts_with_missing(table, part)
                for part in labelling.group_parts(name, table.columns)
            ]
        )
        for name in groups
    }


def _texts_with_missing(table: Example, name: str) -> Array:
    values = table.columns[name]
    if values.ndim != 1:
        raise DataError(f"the group column `{name}` has shape {values.shape}; give one a row")
    missing = missing_rows(values)
    texts = text_of(values).astype(object)
    texts[missing] = MISSING_GROUP
    return texts.astype(np.str_)


def row_weights(table: Example, name: str, where: str) -> Floats:
    """Weights of the rows; some may be 0, but not all.

    Raises:
        DataError: for weights that are no numbers from 0 up, or all 0.
    """
    return usable_weights(_numbers(table, name, where), name, where)


def _refuse_probabilities(values: Array, name: str, where: str) -> None:
    """Labels that are probabilities can't be right answers of a classification."""
    if values.dtype.kind != "f":
        return
    known = values[np.isfinite(values)]
    broken = known[np.mod(known, 1.0) != 0]
    if not len(broken):
        return
    if known.min() >= 0.0 and known.max() <= 1.0:
        raise DataError(
            f"column `{name}` of {where} holds {broken[0]:g}, so its values look like probabilities "
            "and no classes: name it as --score if a model gave it; if it is a share of votes, "
            "decide each row (0.5 and above is 1), or assess it with --task regression"
        )
    if len(np.unique(broken)) * 2 > min(len(known), FEWEST_TO_TELL):
        raise DataError(
            f"column `{name}` of {where} holds {broken[0]:g}; a classification needs class names or "
            "whole numbers (--task regression assesses values)"
        )


def _refuse_strangers(names: Mapping[str, Array], where: str) -> None:
    """Right answers and decisions that share no class are two ways of writing, not all mistakes.

    Raises:
        DataError: with values of both.
    """
    if len(names) < 2:
        return
    (target, right), (decision, said) = names.items()
    classes = [np.unique(texts).tolist() for texts in (right, said)]
    if not set(classes[0]) & set(classes[1]):
        first, second = (", ".join(found[:3]) for found in classes)
        raise DataError(
            f"column `{target}` of {where} holds {first} and column `{decision}` holds {second}: "
            "they share no class; write the classes alike in both"
        )


def _texts(table: Example, name: str, where: str, beside: Array | None) -> Array:
    """Names of the classes; true is 1 where the other column holds numbers."""
    values = table.columns[name]
    missing = missing_rows(values)
    if values.ndim != 1 or len(missing):
        first = f"first: row {missing[0]}" if len(missing) else f"shape {values.shape}"
        raise DataError(
            f"column `{name}` of {where} has no value in {len(missing)} of {len(values)} rows "
            f"({first}); drop these rows, or fill them in"
        )
    if values.dtype.kind == "b" and beside is not None and beside.dtype.kind in "iuf":
        values = values.astype(np.int64)
    return text_of(values)


def _numbers(table: Example, name: str, where: str) -> Floats:
    values = table.columns[name]
    if values.dtype.kind not in "biuf" or values.ndim != 1:
        raise DataError(f"column `{name}` of {where} must hold one number a row; got {values[0]!r}")
    return values.astype(np.float64)


def _probabilities(table: Example, name: str, where: str) -> Floats:
    scores = _numbers(table, name, where)
    bad = np.flatnonzero(~(np.isfinite(scores) & (scores >= 0.0) & (scores <= 1.0)))
    if len(bad):
        raise DataError(
            f"the score column `{name}` of {where} must hold probabilities from 0 to 1; row "
            f"{bad[0]} holds {scores[bad[0]]:g} ({len(bad)} such rows): bring scores to "
            "probabilities first, or name the column of decisions alone"
        )
    return scores
