"""Rates of a classifier in every group, from one pass of counting: memory is linear in rows.

Names are fairlearn's where fairlearn has the figure: selection rate, true and false positive rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettison.statistics.group_values import Codes, Floats, GroupValues, Sums

SELECTION = "selection_rate"
BASE = "base_rate"
TRUE_POSITIVE = "true_positive_rate"
FALSE_POSITIVE = "false_positive_rate"
PREDICTIVE = "positive_predictive_value"
ERROR = "error_rate"


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """Rows of each group by class.

    Attributes:
        rows: all, shape (groups,).
        targets: whose right answer is the class, shape (groups, classes); `None` without labels.
        predicted: that were given the class, shape (groups, classes).
        hits: both; `None` without labels.
    """

    rows: Floats
    predicted: Floats
    targets: Floats | None = None
    hits: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The counts of one column of groups: of rows, of weights, and of squared weights."""

    counted: ClassCounts
    weighed: ClassCounts
    squared: ClassCounts

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.counted.predicted.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Decisions of a classifier beside the right answers.

    Attributes:
        decisions: class index of each row, shape (n,); below 0 is no class, which is never right.
        targets: class index of each row, shape (n,), or `None` without labels.
        classes: how many there are.
        weights: shape (n,), or `None` for equal ones.
    """

    decisions: Codes
    targets: Codes | None
    classes: int
    weights: Floats | None = None


def tally(answers: Answers, codes: Codes, groups: int) -> Tally:
    """Counts every group of one column.

    Args:
        answers: of the model.
        codes: group of each row, shape (n,), from 0 to `groups` - 1.
        groups: how many there are.

    Raises:
        ValueError: if the arrays differ in length.
    """
    lengths = {len(a) for a in (answers.decisions, codes, answers.targets) if a is not None}
    if len(lengths) != 1:
        raise ValueError(f"one value for each row is needed; got {sorted(lengths)} values")
    w = answers.weights
    if w is None:
        counted = _count(answers, codes, groups, None)
        return Tally(counted, counted, counted)
    return Tally(*(_count(answers, codes, groups, x) for x in ((w > 0).astype(float), w, w * w)))


def _count(answers: Answers, codes: Codes, groups: int, weights: Floats | None) -> ClassCounts:
    k, decisions, targets = answers.classes, answers.decisions, answers.targets
    # No class becomes one more class, which is cut off again.
    given = np.where((decisions < 0) | (decisions >= k), k, decisions)
    rows = np.bincount(codes, weights, minlength=groups).astype(np.float64)
    predicted = _by_class(codes, given, (groups, k), weights)
    if targets is None:
        return ClassCounts(rows, predicted)
    hits = np.where(given == targets, given, k)
    return ClassCounts(
        rows,
        predicted,
        _by_class(codes, targets, (groups, k), weights),
        _by_class(codes, hits, (groups, k), weights),
    )


def _by_class(
    codes: Codes, classes: Codes, shape: tuple[int, int], weights: Floats | None
) -> Floats:
    groups, k = shape
    flat = np.bincount(codes * (k + 1) + classes, weights, minlength=groups * (k + 1))
    made: Floats = flat.reshape(groups, k + 1)[:, :k].astype(np.float64)
    return made


def class_rates(counts: Tally, positive: int) -> Mapping[str, GroupValues]:
    """The rates of one class against the rest, in every group.

    Args:
        counts: of one column.
        positive: the class whose choice is the selection.

    Returns:
        Name -> values. Without labels, only the selection rate.
    """
    parts = (counts.counted, counts.weighed, counts.squared)
    everyone = Sums(*(c.rows for c in parts))
    chosen = Sums(*(c.predicted[:, positive] for c in parts))
    found = {SELECTION: _rate(SELECTION, chosen, everyone)}
    if counts.counted.targets is None:
        return found
    wanted = Sums(*(_known(c.targets)[:, positive] for c in parts))
    hits = Sums(*(_known(c.hits)[:, positive] for c in parts))
    found[BASE] = _rate(BASE, wanted, everyone)
    found[TRUE_POSITIVE] = _rate(TRUE_POSITIVE, hits, wanted)
    found[FALSE_POSITIVE] = _rate(FALSE_POSITIVE, chosen.less(hits), everyone.less(wanted))
    found[PREDICTIVE] = _rate(PREDICTIVE, hits, chosen)
    return found


def error_rates(counts: Tally) -> GroupValues | None:
    """The share of wrong answers in every group, over all classes; `None` without labels."""
    parts = (counts.counted, counts.weighed, counts.squared)
    if counts.counted.hits is None:
        return None
    everyone = Sums(*(c.rows for c in parts))
    right = Sums(*(_known(c.hits).sum(axis=1) for c in parts))
    return _rate(ERROR, everyone.less(right), everyone)


def _rate(name: str, part: Sums, whole: Sums) -> GroupValues:
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where((whole.n > 0) & (whole.mass > 0), part.mass / whole.mass, np.nan)
    # Differences of large sums of weights may end one bit outside.
    return GroupValues(name, np.clip(value, 0.0, 1.0), whole)


def _known(counts: Floats | None) -> Floats:
    if counts is None:
        raise ValueError("these counts were made without labels")
    return counts
