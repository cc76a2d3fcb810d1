"""Reweighing: the model is fitted anew with weights that make group and class independent."""

from __future__ import annotations

import inspect
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed


class Reweighing:
    """Refits a scikit-learn classifier on the fitting rows, weighted as Kamiran and Calders do.

    W(g, y) = P(g) P(y) / P(g, y) (2012, section 4.2). What prepares the columns stays as it is;
    the last part learns anew, so give the rows that the model was trained on as `data.fitting`.
    The group is read when the model answers only if it was an input already. Setting: `columns` (of groups, separated by
    commas; empty for all, as intersections).
    """

    name: ClassVar[str] = "reweighing"
    requires: ClassVar[frozenset[str]] = frozenset({"sklearn"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "skops")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing is searched."""
        return {"columns": Choices(("",), "", others=True)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives groups the same chances."""
        if model.task != "classification":
            return Refusal(self.name, "only classes can be made independent of a group")
        return Potential(
            1.0, 1.0, "the refitted model is as large as the original; it treats groups more alike"
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Fits the last part of a copy, and saves it in the format that it came in.

        Raises:
            CandidateFailed: without groups or classes, with one group only, with too few rows, or
                for a model that takes no weights.
        """
        from jettison.graphs.sklearn_refit import lesson_of, with_last
        from jettison.numerics.balancing import group_cells, reweighed

        estimator = bench.open(model)
        lesson = lesson_of(estimator, fitting, self.name)
        columns = tuple(c.strip() for c in str(settings.get("columns", "")).split(",") if c.strip())
        labels = fitting.labels
        cells = group_cells(labels, columns)
        before = None if labels is None else labels.weights
        weights = reweighed(cells, lesson.targets, before)
        last = lesson.fresh()
        kind = type(last).__name__
        if "sample_weight" not in inspect.signature(last.fit).parameters:
            raise CandidateFailed(
                f"a `{kind}` can't be fitted with weights; leave `{self.name}` out for this model"
            )
        last.fit(lesson.features, lesson.targets, sample_weight=weights)
        saved = bench.save(with_last(estimator, last), model.artifact.format, model)
        change = Change(
            f"{kind} fitted anew on {fitting.rows.n:,} rows of {len(np.unique(cells))} groups, "
            f"weights from {weights.min():.2f} to {weights.max():.2f}",
            weights=fitting.rows.n,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
