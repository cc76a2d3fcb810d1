"""Each row's part in a metric, scored so that every group can be judged by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.extension_points import Evidence, QualityMetric
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, DataError
from jettison.trust.outcomes import GroupColumn

BY_GROUP = frozenset({"influence", "reported_only"})
"""Kinds whose value on a group is not a sum over its rows, so that each group is scored alone."""


@dataclass(frozen=True, slots=True, eq=False)
class RowParts:
    """What is kept of a metric.

    Attributes:
        values: shape (n,); (n, 2) of a ratio of sums; for the kinds of `BY_GROUP` (n, 1 + k): a
            row's part in the whole, then in its group of each of the k columns of groups. NaN
            where a row is in no group of a column, or the metric is undefined in its group.
        strata: shape (n,) of int64, or `None` where the metric tells none.
    """

    values: Array
    strata: Array | None = None


def row_parts(
    metric: QualityMetric, evidence: Evidence, whole: Array, columns: Sequence[GroupColumn]
) -> RowParts:
    """Scores all rows.

    Args:
        metric: scores them.
        evidence: outputs and targets of all n rows.
        whole: rows of the overall claim, shape (n,) of bool.
        columns: of groups.

    Raises:
        DataError: if the metric is undefined on the whole.
        CandidateFailed: if the metric breaks its promise about shapes.
    """
    n = len(whole)
    if metric.kind not in BY_GROUP:
        values = np.asarray(metric.score(evidence).contributions, dtype=np.float64)
        due: tuple[int, ...] = (n, 2) if metric.kind == "ratio_of_sums" else (n,)
        if values.shape != due:
            raise CandidateFailed(
                f"`{metric.name}` gave contributions of shape {values.shape} for {n} rows; its "
                f"kind `{metric.kind}` needs {due}"
            )
        return RowParts(values)
    table = np.full((n, 1 + len(columns)), np.nan)
    strata = np.full(n, -1, dtype=np.int64)
    told = False
    for place, rows in _subsets(whole, columns):
        try:
            scores = metric.score(evidence if rows.all() else _of_rows(evidence, rows, metric))
        except DataError:
            if place == 0:
                raise
            continue
        table[rows, place] = np.asarray(scores.contributions, dtype=np.float64)
        if scores.strata is not None:
            strata[rows], told = scores.strata, True
    return RowParts(table, strata if told else None)


def _subsets(whole: Array, columns: Sequence[GroupColumn]) -> Iterator[tuple[int, Array]]:
    """The whole, then every group, with the number of the column of its parts."""
    yield 0, whole
    for place, column in enumerate(columns, start=1):
        for code in range(len(column.names)):
            yield place, column.codes == code


def _of_rows(evidence: Evidence, rows: Array, metric: QualityMetric) -> Evidence:
    """Cuts evidence to some rows.

    A metric that isn't against the reference reads it only to tell what the scores are (logits or
    probabilities, so where the threshold lies). All rows of it say so; a few could say otherwise.
    """
    reference = evidence.reference
    if metric.against_reference:
        reference = {name: np.asarray(values)[rows] for name, values in reference.items()}
    return dataclasses.replace(
        evidence,
        targets=None if evidence.targets is None else evidence.targets[rows],
        outputs={name: np.asarray(values)[rows] for name, values in evidence.outputs.items()},
        reference=reference,
    )


def column_of(group: str, columns: Sequence[GroupColumn]) -> int:
    """The number of the column that holds the parts of a group: 0 for the whole, or none known.

    >>> age, sex = (GroupColumn((name,), np.zeros(2)) for name in ("age=old", "sex=F"))
    >>> column_of("sex=F", [age, sex]), column_of("overall", [age, sex])
    (2, 0)
    """
    for place, column in enumerate(columns, start=1):
        if group in column.names:
            return place
    return 0
