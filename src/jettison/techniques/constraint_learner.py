"""A constraint learner: the model is fitted anew under a fairness constraint, by fairlearn."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

CONSTRAINTS = (
    "demographic_parity",
    "equalized_odds",
    "true_positive_rate_parity",
    "false_positive_rate_parity",
    "error_rate_parity",
)
REDUCTIONS = ("exponentiated_gradient", "grid_search")
SMALLEST_WEIGHT = 1e-4
GRID = 15


class ConstraintLearner:
    """Fits a scikit-learn classifier of two classes under a constraint (Agarwal et al. 2018).

    fairlearn turns the constraint into a sequence of weighted fits. `exponentiated_gradient` mixes
    some of them: what is saved is their weighted vote (`VotingClassifier`), which always answers a
    row the same way, where fairlearn itself draws one at random; so the constraint holds only about
    as well. `grid_search` keeps the one fit with the best trade-off (two groups only). What
    prepares the columns stays as it is, and the group is not read when the model answers.

    fairlearn sets the weights of the rows itself, so those of `data.weight` do not count.

    Settings: `constraint`, `reduction`, `allowed` (difference of rates that is allowed, 0 to 1),
    `columns` (of groups, separated by commas).
    """

    name: ClassVar[str] = "constraint_learner"
    requires: ClassVar[frozenset[str]] = frozenset({"sklearn"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "skops", "fairlearn")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `allowed`."""
        return {
            "constraint": Choices(CONSTRAINTS[:1], CONSTRAINTS[0], others=True),
            "reduction": Choices(REDUCTIONS[:1], REDUCTIONS[0], others=True),
            "allowed": FloatRange(0.005, 0.3, 0.02, logarithmic=True),
            "columns": Choices(("",), "", others=True),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives groups the same rates."""
        if model.task != "classification":
            return Refusal(self.name, "the constraints are about rates of classes")
        return Potential(1.0, 1.0, "several weighted fits are slower than one; rates come closer")

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Fits, and saves the result in the format that it came in.

        Raises:
            CandidateFailed: without groups or two classes, with one group only, with too few
                rows, for unknown settings, or where fairlearn can't fit this model.
        """
        from jettison.graphs.sklearn_refit import lesson_of, with_last
        from jettison.numerics.balancing import group_cells

        estimator = bench.open(model)
        lesson = lesson_of(estimator, fitting, self.name)
        if len(np.unique(lesson.targets)) != 2:
            raise CandidateFailed(f"`{self.name}` is for two classes")
        columns = tuple(c.strip() for c in str(settings.get("columns", "")).split(",") if c.strip())
        cells = group_cells(fitting.labels, columns)
        allowed = float(settings.get("allowed", 0.02))
        constraint = str(settings.get("constraint", CONSTRAINTS[0]))
        _check_known("constraint", constraint, CONSTRAINTS)
        reduction = str(settings.get("reduction", REDUCTIONS[0]))
        _check_known("reduction", reduction, REDUCTIONS)
        positive = estimator.classes_[1]
        binary = (lesson.targets == positive).astype(int)
        fits, shares = _reduced(lesson, binary, cells, (constraint, reduction, allowed))
        last = _vote(fits, shares, np.asarray(estimator.classes_))
        saved = bench.save(with_last(estimator, last), model.artifact.format, model)
        change = Change(
            f"{type(lesson.last).__name__} fitted anew by {reduction} under {constraint} (difference "
            f"allowed {allowed:g}) on {fitting.rows.n:,} rows of {len(np.unique(cells))} groups: "
            f"a vote of {len(fits)}" + _unread(fitting),
            weights=fitting.rows.n,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _unread(fitting: FittingData) -> str:
    weighted = fitting.labels is not None and fitting.labels.weights is not None
    return "; `data.weight` does not count: fairlearn sets weights of its own" if weighted else ""


def _check_known(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CandidateFailed(
            f"`{key}` of `constraint_learner` must be one of {', '.join(allowed)}; got {value!r}"
        )


def _reduced(
    lesson: Any, binary: Any, cells: Any, wish: tuple[str, str, float]
) -> tuple[list[Any], list[float]]:
    """The fits that fairlearn keeps, and the share of each."""
    from fairlearn import reductions

    constraint, reduction, allowed = wish
    moments = {
        "demographic_parity": reductions.DemographicParity,
        "equalized_odds": reductions.EqualizedOdds,
        "true_positive_rate_parity": reductions.TruePositiveRateParity,
        "false_positive_rate_parity": reductions.FalsePositiveRateParity,
        "error_rate_parity": reductions.ErrorRateParity,
    }
    moment = moments[constraint](difference_bound=allowed)
    features = lesson.features.toarray() if hasattr(lesson.features, "toarray") else lesson.features
    try:
        with warnings.catch_warnings():
            # fairlearn repeats advice about its inputs; what matters is raised.
            warnings.simplefilter("ignore")
            if reduction == "grid_search":
                search = reductions.GridSearch(lesson.fresh(), moment, grid_size=GRID)
                search.fit(features, binary, sensitive_features=cells)
                return [search.predictors_[search.best_idx_]], [1.0]
            learner = reductions.ExponentiatedGradient(lesson.fresh(), moment, eps=allowed)
            learner.fit(features, binary, sensitive_features=cells)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CandidateFailed(
            f"fairlearn can't fit a `{type(lesson.last).__name__}` under {constraint}: {error}"
        ) from error
    kept = [(i, float(w)) for i, w in learner.weights_.items() if w > SMALLEST_WEIGHT]
    return [learner.predictors_[i] for i, _ in kept], [w for _, w in kept]


def _vote(fits: list[Any], shares: list[float], classes: Any) -> Any:
    """The weighted vote of fits of the classes 0 and 1, for the classes of the original."""
    from sklearn.ensemble import VotingClassifier
    from sklearn.preprocessing import LabelEncoder

    constant = [fit for fit in fits if len(getattr(fit, "classes_", (0, 1))) < 2]
    if constant:
        raise CandidateFailed(
            "fairlearn ended with a part that always answers the same class; allow a larger "
            "difference (`allowed`), or give more fitting rows"
        )
    if len(fits) == 1:
        fits[0].classes_ = classes
        return fits[0]
    named = [(f"fit_{place}", fit) for place, fit in enumerate(fits)]
    soft = all(hasattr(fit, "predict_proba") for fit in fits)
    vote = VotingClassifier(named, voting="soft" if soft else "hard", weights=np.asarray(shares))
    vote.estimators_ = fits
    vote.le_ = LabelEncoder().fit(classes)
    vote.classes_ = vote.le_.classes_
    return vote
