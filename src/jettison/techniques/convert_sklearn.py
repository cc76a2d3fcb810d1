"""The conversion `convert_sklearn`: a scikit-learn estimator becomes an ONNX graph."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Runner, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Batch
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, ModelError

UNCONVERTIBLE = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})
"""Estimators that skl2onnx 1.20 fails on at every operator set that was tried."""

QUICKEST_CALL_MS = 0.01
"""About what one call of ONNX Runtime takes before it computes anything (measured, 1 thread)."""

SMALLEST_RATIO = 0.02
"""An ONNX graph had 0.04 to 0.57 of the bytes of its skops file (13 estimators on Adult)."""

THRESHOLDS = 200
LARGEST_SHARE = 0.01
"""Share of the fitting rows whose answer may change; more is a broken conversion."""

CLOSE = 1e-4
"""Answers are close up to this, relative to the largest answer (at least 1). 32-bit sums stay far
below it; a row that takes another branch of a tree goes far beyond it.
"""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a converted graph is from the estimator on some rows.

    Attributes:
        rows: compared.
        changed: with another label (classification), or not close (regression).
        apart: whose scores are not close.
        largest: difference of a score.
    """

    rows: int
    changed: int
    apart: int
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.changed} of {self.rows} answers changed, {self.apart} scores apart, largest "
            f"difference {self.largest:.1e}"
        )


class ConvertSklearn:
    """Converts with skl2onnx, and keeps the cheapest precision that changes no answer.

    Answers are compared on the fitting rows and on rows that lie exactly at split thresholds.
    Tree ensembles are operators of `ai.onnx.ml`, so the trait `standard-operators` is set only
    where the graph has none of them.
    """

    name: ClassVar[str] = "convert_sklearn"
    requires: ClassVar[frozenset[str]] = frozenset({"sklearn"})
    adds: ClassVar[frozenset[str]] = frozenset({"onnx"})
    removes: ClassVar[frozenset[str]] = frozenset({"sklearn"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "skl2onnx", "onnx")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: the precision follows from the answers."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """What a call costs here beyond the quickest call of ONNX Runtime."""
        from jettison.graphs.sklearn_store import type_names

        stuck = sorted(UNCONVERTIBLE & type_names(model.artifact.path))
        if stuck:
            return Refusal(
                self.name,
                f"skl2onnx can't convert {stuck[0]}, so this model stays in scikit-learn; a "
                "GradientBoosting or RandomForest model of the same quality could be converted",
            )
        spent = next((s.milliseconds for s in profile.stages if s.name == "model"), 0.0)
        return Potential(
            speedup=max(1.0, spent / QUICKEST_CALL_MS),
            size_ratio=SMALLEST_RATIO,
            reason=f"a row takes {spent:.3g} ms in scikit-learn, most of it Python and checks; "
            f"ONNX Runtime needs at least about {QUICKEST_CALL_MS} ms a call",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Converts, and compares with the estimator.

        Raises:
            CandidateFailed: if skl2onnx can't convert it, or the answers differ in every
                precision.
        """
        from jettison.graphs.sklearn_onnx import precisions_for
        from jettison.graphs.sklearn_pipeline import facts_of
        from jettison.graphs.sklearn_thresholds import rows_at_thresholds

        estimator = bench.open(model)
        facts = facts_of(estimator)
        rows = fitting.rows.batch(slice(0, fitting.rows.n))
        edge = rows_at_thresholds(estimator, facts, rows, THRESHOLDS, fitting.seed)
        judge = _Judge(model, bench, rows, edge)
        attempts = []
        for precision in precisions_for(estimator, facts):
            attempts.append(judge.attempt(estimator, facts, precision))
            if attempts[-1].is_exact:
                break
        best, change = _best(attempts, type(estimator).__name__)
        # Later attempts wrote over the files of earlier ones.
        return Applied(_save(best.graph, model, bench), (change,))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One precision: the graph and its drift, or why there is none."""

    precision: str
    graph: Any
    fitting: Drift
    edge: Drift
    operators: int
    reason: str = ""

    @property
    def is_exact(self) -> bool:
        return self.graph is not None and self.badness == (0, 0, 0)

    @property
    def badness(self) -> tuple[int, int, int]:
        """What to make small: changed answers first, then scores that moved."""
        apart = self.fitting.apart + self.edge.apart
        return self.fitting.changed, self.edge.changed, apart

    def __str__(self) -> str:
        if self.graph is None:
            return f"in {self.precision}: {self.reason}"
        edge = f"; on rows at split thresholds {self.edge}" if self.edge.rows else ""
        return f"in {self.precision}: on fitting rows {self.fitting}{edge}"


class _Judge:
    """Compares conversions of one estimator with it."""

    def __init__(self, model: Model, bench: Workbench, rows: Batch, edge: Batch | None) -> None:
        self._model = model
        self._bench = bench
        self._original = bench.runner(model)
        self._rows = rows
        self._edge = edge

    def attempt(self, estimator: Any, facts: Any, precision: Any) -> _Attempt:
        from jettison.graphs.sklearn_onnx import convert

        nothing = Drift(0, 0, 0, 0.0)
        try:
            graph = convert(estimator, facts, precision)
            runner = self._bench.runner(_save(graph, self._model, self._bench))
        except (CandidateFailed, ModelError) as error:
            return _Attempt(precision, None, nothing, nothing, 0, str(error))
        return _Attempt(
            precision,
            graph,
            self._drift(runner, self._rows),
            self._drift(runner, self._edge) if self._edge else nothing,
            len(graph.graph.node),
        )

    def _drift(self, runner: Runner, rows: Batch) -> Drift:
        name = self._model.prediction
        expected = np.asarray(self._original.run(rows)[name], dtype=np.float64)
        found = np.asarray(runner.run(rows)[name], dtype=np.float64)
        if found.shape != expected.shape:
            raise CandidateFailed(
                f"the converted model answers with shape {found.shape}, the estimator with "
                f"{expected.shape}"
            )
        gap = np.abs(found - expected)
        # A missing answer is as far off as can be.
        gap[~np.isfinite(found)] = np.inf
        apart = gap.max(axis=1) > CLOSE * max(1.0, float(np.abs(expected).max()))
        changed = apart
        if self._model.task == "classification":
            changed = found.argmax(axis=1) != expected.argmax(axis=1)
            changed |= ~np.isfinite(found).all(axis=1)
        return Drift(len(found), int(changed.sum()), int(apart.sum()), float(gap.max(initial=0.0)))


def _best(attempts: list[_Attempt], kind: str) -> tuple[_Attempt, Change]:
    """The attempt that changes the fewest answers; the cheapest of equals.

    Raises:
        CandidateFailed: if none was converted, or the best changes more than `LARGEST_SHARE`.
    """
    made = [a for a in attempts if a.graph is not None]
    told = "; ".join(str(a) for a in attempts)
    if not made:
        raise CandidateFailed(f"this `{kind}` can't be converted to ONNX: {told}")
    best = min(made, key=lambda a: a.badness)
    if best.fitting.changed > LARGEST_SHARE * best.fitting.rows:
        raise CandidateFailed(
            f"the ONNX graph of this `{kind}` answers differently in every precision, so it was "
            f"not kept: {told}"
        )
    others = [str(a) for a in attempts if a is not best]
    tail = f" (not kept, {'; '.join(others)})" if others else ""
    return best, Change(f"{kind} to ONNX {best}{tail}", operators=best.operators)


def _save(graph: Any, like: Model, bench: Workbench) -> Model:
    from jettison.graphs.onnx_graph import tensor_specs, traits_of

    model = bench.save(graph, "onnx_file", like)
    inputs, outputs = tensor_specs(model.artifact.path)
    kept = model.with_traits(add=traits_of(model.artifact.path), remove=frozenset({"sklearn"}))
    return dataclasses.replace(kept, inputs=inputs, outputs=outputs)
