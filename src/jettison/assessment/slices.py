"""Slices that compression hurts, proposed on one half of the search rows, measured on the other.

A shallow tree over plain conditions proposes; what it found is then counted on rows that it did
not see, because the best of many splits looks harmful by chance on its own rows.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from jettison.assessment.conditions import conditions_of, holds
from jettison.assessment.exemplars import exemplars_of, harm_of, sureness
from jettison.assessment.search_rows import SearchRows
from jettison.domain.found import Condition, Found, Slice
from jettison.domain.rows import Array
from jettison.errors import DataError, MissingDependency
from jettison.statistics.intervals import wilson_interval

SMALLEST, DEPTH, MOST = 20, 2, 6
"""Rows of a half that a slice must have, conditions that it may have, and slices proposed."""


def find(rows: SearchRows, seed: int = 0) -> Found:
    """Finds changed rows and proposes slices.

    Args:
        rows: selection rows of a run under both models.
        seed: of the division into halves.

    Raises:
        DataError: if there are too few rows to propose anything.
        MissingDependency: if scikit-learn is not installed.
    """
    n = len(rows.before)
    if n < 4 * SMALLEST:
        raise DataError(
            f"the run has {n} selection rows; at least {4 * SMALLEST} are needed to propose a slice"
        )
    harmed, harm = harm_of(rows)
    first = np.zeros(n, dtype=bool)
    first[np.random.default_rng(seed).permutation(n)[: n // 2]] = True
    sure = sureness(rows)
    conditions = conditions_of(rows.raw, rows.record.configuration.data, first, sure)
    matrix = _matrix(rows, conditions, sure)
    proposed = _propose(matrix[first], harmed[first])
    slices = [
        _measured(tuple(conditions[c] for c in chosen), matrix[~first][:, chosen], harmed[~first])
        for chosen in proposed
    ]
    changed = int(np.count_nonzero(rows.before != rows.after))
    interval = wilson_interval(changed, n)
    targets = rows.raw.labels.targets
    gained = None
    if targets is not None:
        gained = int(np.count_nonzero((rows.before != targets) & (rows.after == targets)))
    return Found(
        recipe=str(rows.trial.recipe),
        location=rows.raw.location,
        n=n,
        exemplars=exemplars_of(rows),
        share=changed / n,
        low=float(interval.low),
        high=float(interval.high),
        lost=None if targets is None else int(harmed.sum()),
        gained=gained,
        slices=_corrected([one for one in slices if one is not None]),
        harm=harm,
    )


def _matrix(rows: SearchRows, conditions: tuple[Condition, ...], sure: Array | None) -> Array:
    """Which row meets which condition, shape (n, conditions) of bool."""
    columns = [holds(condition, rows.raw.table, sure) for condition in conditions]
    return np.stack(columns, axis=1) if columns else np.empty((len(rows.before), 0), dtype=bool)


def _propose(matrix: Array, harmed: Array) -> list[tuple[int, ...]]:
    """Conjunctions of at most `DEPTH` conditions with more harm than the whole."""
    if not matrix.shape[1] or not harmed.any():
        return []
    found = {*_leaves(matrix, harmed), *((c,) for c in range(matrix.shape[1]))}
    scored = []
    for chosen in found:
        inside = matrix[:, chosen].all(axis=1)
        n = int(inside.sum())
        excess = float(harmed[inside].mean() - harmed.mean()) if n else 0.0
        if n >= SMALLEST and excess > 0:
            scored.append((excess * np.sqrt(n), chosen))
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    return [chosen for _, chosen in scored[:MOST]]


def _leaves(matrix: Array, harmed: Array) -> list[tuple[int, ...]]:
    """The conditions that are met on the way to each leaf of a shallow tree."""
    try:
        from sklearn.tree import DecisionTreeRegressor
    except ImportError as error:
        raise MissingDependency(
            "slices are proposed by a tree of scikit-learn, which is not installed; run: "
            "pip install 'jettison[sklearn]'"
        ) from error
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=SMALLEST, random_state=0)
    fitted = tree.fit(matrix.astype(np.float64), harmed.astype(np.float64)).tree_
    paths: list[tuple[int, ...]] = []

    def walk(node: int, met: tuple[int, ...]) -> None:
        if fitted.children_left[node] < 0:
            if met:
                paths.append(tuple(sorted(met)))
            return
        chosen = int(fitted.feature[node])
        # «Not this» is no plain name: another condition says it («below» for «at least»), or none.
        opposite = np.flatnonzero((matrix != matrix[:, [chosen]]).all(axis=0))[:1]
        walk(int(fitted.children_left[node]), (*met, *(int(c) for c in opposite)))
        walk(int(fitted.children_right[node]), (*met, chosen))

    walk(0, ())
    return paths


def _measured(conditions: tuple[Condition, ...], met: Array, harmed: Array) -> Slice | None:
    inside = met.all(axis=1)
    n, k = int(inside.sum()), int(harmed[inside].sum())
    others, rest = int((~inside).sum()), int(harmed[~inside].sum())
    if not n or not others:
        return None
    counts = np.array([[k, n - k], [rest, others - rest]])
    test = stats.fisher_exact(counts, alternative="greater")
    interval = wilson_interval(k, n)
    low, high = float(interval.low), float(interval.high)
    return Slice("", conditions, n, k, k / n, low, high, rest / others, float(test.pvalue))


def _corrected(slices: list[Slice]) -> tuple[Slice, ...]:
    """Holm's correction, in the order of p-values; names are given in that order."""
    slices.sort(key=lambda one: one.p_value)
    corrected: list[Slice] = []
    largest = 0.0
    for place, one in enumerate(slices):
        largest = max(largest, min(1.0, one.p_value * (len(slices) - place)))
        figures = (one.n, one.harmed, one.share, one.low, one.high, one.elsewhere)
        corrected.append(Slice(f"slice_{place + 1}", one.conditions, *figures, largest))
    return tuple(corrected)
