"""The runtime `scikit_learn`: the estimator itself, as its user calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.recipe import Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.graphs.sklearn_pipeline import EstimatorFacts, answer_of, facts_of, table_of


class ScikitLearn:
    """Runs an estimator in scikit-learn: the baseline of every scikit-learn model.

    Threads: BLAS and OpenMP are held to the serving profile's number; `n_jobs` is set to it
    wherever the estimator was given one, and stays as it is where it was not.
    """

    name: ClassVar[str] = "scikit_learn"
    requires: ClassVar[frozenset[str]] = frozenset({"sklearn"})
    home: ClassVar[str] = "sklearn"
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "skops", "pandas")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose."""
        return {}

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> EstimatorRunner:
        """Holds the estimator to the serving profile's threads.

        Raises:
            ModelError: if the estimator is not fitted or not supported.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        facts = facts_of(native)
        jobs = {
            name: serving.threads
            for name, value in native.get_params(deep=True).items()
            if name.rpartition("__")[2] == "n_jobs" and value is not None
        }
        native.set_params(**jobs)
        for member in getattr(native, "estimators_", ()):
            if getattr(member, "n_jobs", None) is not None:
                member.set_params(n_jobs=1)
        return EstimatorRunner(native, facts, threadpool_limits(limits=serving.threads))


class EstimatorRunner:
    """An estimator that is ready to answer."""

    def __init__(self, estimator: Any, facts: EstimatorFacts, limits: Any) -> None:
        self._estimator = estimator
        self._facts = facts
        # Kept alive: the limit on threads ends with this object.
        self._limits = limits

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers with `probabilities`, `scores`, `label` or `prediction`."""
        table = table_of(self._facts, batch)
        return {self._facts.answer: answer_of(self._estimator, self._facts, table)}

    def providers(self) -> Mapping[str, int]:
        """Everything runs in scikit-learn."""
        return {"scikit-learn": 1}

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Empty: scikit-learn does not tell the time of its parts."""
        return ()
