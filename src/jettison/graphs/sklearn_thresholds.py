"""Rows that lie exactly at the split thresholds of decision trees.

scikit-learn compares a feature, rounded to 32 bits, with a 64-bit threshold. A converter that
rounds either one otherwise sends rows at the threshold down the other branch; random rows almost
never show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison.domain.rows import Array, Batch
from jettison.graphs.sklearn_pipeline import EstimatorFacts, column_places, flat_steps
from jettison.graphs.sklearn_store import parts_of


@dataclass(frozen=True, slots=True)
class Affine:
    """A feature of the trees is `scale * x + shift` of column `place` of the fitted table."""

    place: int
    scale: float = 1.0
    shift: float = 0.0

    def then(self, scale: float, shift: float) -> Affine:
        """The same column after another such step."""
        return Affine(self.place, self.scale * scale, self.shift * scale + shift)

    def input_for(self, feature: float) -> float:
        """The column value that becomes this feature."""
        return (feature - self.shift) / self.scale


def rows_at_thresholds(
    estimator: Any, facts: EstimatorFacts, batch: Batch, limit: int, seed: int
) -> dict[str, Array] | None:
    """Makes rows whose features lie at split thresholds, and one step to both sides.

    Args:
        estimator: fitted.
        facts: of it.
        batch: rows to start from.
        limit: thresholds to take, at random.
        seed: of the choice.

    Returns:
        Five rows per threshold: at it, the next 64-bit numbers, and the next 32-bit numbers. `None`
        without trees, or where no feature can be followed back to a column of numbers.
    """
    from sklearn.tree._tree import Tree

    sources = _sources(estimator, facts)
    splits = []
    for tree in parts_of(flat_steps(estimator)[-1], Tree):
        inner = np.asarray(tree.children_left) != -1
        for feature, value in zip(tree.feature[inner], tree.threshold[inner], strict=True):
            source = sources[feature] if feature < len(sources) else None
            if source is not None and source.scale:
                splits.append((source.place, source.input_for(float(value))))
    if not splits:
        return None
    random = np.random.default_rng(seed)
    splits = sorted(set(splits))
    chosen = [splits[i] for i in random.permutation(len(splits))[:limit]]
    n = len(next(iter(batch.values())))
    index = np.repeat(random.integers(0, n, len(chosen)), 5)
    rows = {name: np.array(array[index]) for name, array in batch.items()}
    places = _input_places(facts)
    for number, (place, value) in enumerate(chosen):
        name, axis = places[place]
        rows[name][5 * number : 5 * number + 5, axis] = _neighbours(value)
    return rows


def _neighbours(value: float) -> Array:
    narrow = np.float32(value)
    return np.array(
        [
            value,
            np.nextafter(value, -np.inf),
            np.nextafter(value, np.inf),
            float(np.nextafter(narrow, np.float32(-np.inf))),
            float(np.nextafter(narrow, np.float32(np.inf))),
        ]
    )


def _input_places(facts: EstimatorFacts) -> dict[int, tuple[str, int]]:
    """Column of the fitted table -> input and place in it, for columns of numbers."""
    if not facts.as_columns:
        return {place: ("X", place) for place in range(len(facts.names))}
    return {
        place: (spec.name, 0)
        for place, spec in zip(facts.places, facts.inputs, strict=True)
        if spec.dtype == "float64"
    }


def _sources(estimator: Any, facts: EstimatorFacts) -> list[Affine | None]:
    """For each feature of the last step, the column it comes from by an affine map."""
    places = _input_places(facts)
    sources: list[Affine | None] = [
        Affine(place) if place in places else None for place in range(len(facts.names))
    ]
    for step in flat_steps(estimator)[:-1]:
        sources = _after(step, sources, facts.names)
    return sources


def _after(step: Any, sources: list[Affine | None], names: Sequence[str]) -> list[Affine | None]:
    from sklearn.compose import ColumnTransformer

    if not isinstance(step, ColumnTransformer):
        return _through(step, sources)
    width = max((part.stop for part in step.output_indices_.values()), default=0)
    result: list[Affine | None] = [None] * width
    for name, part, chosen in step.transformers_:
        span = step.output_indices_.get(name)
        if span is None or (isinstance(part, str) and part == "drop"):
            continue
        inner = [sources[place] for place in column_places(chosen, names)]
        for inside in [] if isinstance(part, str) else flat_steps(part):
            inner = _through(inside, inner)
        if len(inner) == span.stop - span.start:
            result[span] = inner
    return result


def _through(step: Any, sources: list[Affine | None]) -> list[Affine | None]:
    """Follows features through one step; empty where it can't be followed."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import (
        FunctionTransformer,
        MaxAbsScaler,
        MinMaxScaler,
        StandardScaler,
    )

    count = len(sources)
    if not count:
        return []
    if isinstance(step, FunctionTransformer) and step.func is None:
        return sources
    if isinstance(step, SimpleImputer) and len(step.statistics_) == count:
        return sources
    scale, shift = np.ones(count), np.zeros(count)
    if isinstance(step, StandardScaler):
        scale = scale if step.scale_ is None else 1.0 / step.scale_
        shift = shift if step.mean_ is None else -step.mean_ * scale
    elif isinstance(step, MinMaxScaler):
        scale, shift = step.scale_, step.min_
    elif isinstance(step, MaxAbsScaler):
        scale = 1.0 / step.scale_
    else:
        return []
    return [
        None if source is None else source.then(float(a), float(b))
        for source, a, b in zip(sources, scale, shift, strict=True)
    ]
