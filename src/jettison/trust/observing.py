"""Runs models on the opened rows, each in its worker, and keeps every row's part."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.domain.extension_points import Evidence
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import Labels
from jettison.errors import CandidateFailed, DataError
from jettison.trust.contributions import RowParts, row_parts
from jettison.trust.judging import judge_candidate
from jettison.trust.outcomes import Outcomes, Rules, describe_rows
from jettison.trust.shortlisting import CertificationRequest
from jettison.worker_client import WorkerSession

ALONE = frozenset({"batch-dependent", "fixed-batch"})
"""Traits of models that are certified and served row by row."""


Answering = Callable[[Variant], tuple[Mapping[str, Array], bool]]
"""Gives a variant's outputs on the sealed rows, and whether it was run row by row."""


def observe(
    request: CertificationRequest,
    rules: Rules,
    rows: Rows,
    labels: Labels,
    answering: Answering | None = None,
) -> tuple[Outcomes, Mapping[str, bool]]:
    """Runs the baseline, then each candidate in order until one is not held.

    With `answering`, outputs that were kept are scored, and nothing is run.

    What goes wrong with a model from here on can't give the look back: it becomes a failure in
    the outcomes, and its candidate is not held.

    Returns:
        The outcomes, and which candidates were run row by row.
    """
    groups, units = describe_rows(labels)
    copies = None if labels.contexts is None else labels.contexts != ""
    outcomes = Outcomes(rules, rows.n, {}, {}, {}, groups, units, labels.weights, copies)
    variants = {c.recipe: c.variant for c in request.contenders}
    alone: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="certify-", dir=request.folder) as place:
        bench = _Bench(request, rows, labels, Path(place))
        answer = answering or bench.run
        try:
            reference, _ = answer(request.baseline)
            baseline = bench.contributions(request.baseline, reference, reference)
        except (CandidateFailed, DataError, ValueError) as failure:
            why = f"the original can't be scored on the sealed rows: {failure}"
            failures = {"baseline": why, rules.order[0]: why}
            return dataclasses.replace(outcomes, failures=failures), alone
        outcomes = dataclasses.replace(
            outcomes,
            baseline=_values(baseline),
            strata={m: one.strata for m, one in baseline.items() if one.strata is not None},
        )
        for recipe in rules.order:
            try:
                outputs, alone[recipe] = answer(variants[recipe])
                scored = bench.contributions(variants[recipe], outputs, reference)
                candidates = {**outcomes.candidates, recipe: _values(scored)}
                extended = dataclasses.replace(outcomes, candidates=candidates)
                held = judge_candidate(extended, recipe).verdict == "held"
            except (CandidateFailed, DataError, ValueError) as failure:
                why = f"it can't be scored on the sealed rows: {failure}"
                return dataclasses.replace(outcomes, failures={recipe: why}), alone
            outcomes = extended
            if not held:
                break
    return outcomes, alone


def _values(parts: Mapping[str, RowParts]) -> dict[str, Array]:
    return {metric: one.values for metric, one in parts.items()}


def run_on_sealed(
    request: CertificationRequest, rows: Rows, variant: Variant, folder: Path
) -> tuple[Mapping[str, Array], bool]:
    """Answers the opened rows by one variant, as certification does; outputs lie in `folder`.

    Raises:
        CandidateFailed: if the model can't be loaded or run.
    """
    return _Bench(request, rows, Labels(None), folder).run(variant)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Runs and scores variants on the opened rows."""

    request: CertificationRequest
    rows: Rows
    labels: Labels
    folder: Path

    def run(self, variant: Variant) -> tuple[Mapping[str, Array], bool]:
        """Answers all rows in a worker; row by row where company in a batch changes answers."""
        serving = self.request.serving
        known = variant.one_by_one or bool(variant.model.traits & ALONE)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        for alone in dict.fromkeys((known, True)):
            job = SessionJob(variant.model, variant.runtime, self.rows, serving, alone)
            with WorkerSession(job, folder) as session:
                if session.ready.batch_dependent and not alone:
                    continue
                size = 1 if alone else max(serving.batch_sizes)
                scored = session.score(self.rows, folder / "outputs", size)
                paths = {name: scored.file(name) for name in scored.outputs}
                opened = {
                    n: np.load(p, mmap_mode="r", allow_pickle=False) for n, p in paths.items()
                }
                return opened, alone
        raise CandidateFailed(f"`{variant.name}` gave no outputs")

    def contributions(
        self, variant: Variant, outputs: Mapping[str, Array], reference: Mapping[str, Array]
    ) -> Mapping[str, RowParts]:
        """Scores every metric that is required, and those reported that can be; each row's part."""
        name = variant.model.prediction
        whole, columns = self.labels.as_they_came(self.rows.n), describe_rows(self.labels)[0]
        evidence = Evidence(
            targets=self.labels.targets,
            outputs=outputs,
            # A conversion may rename the output; metrics read both under one name.
            reference={**reference, name: reference[self.request.baseline.model.prediction]},
            prediction=name,
            labels=self.request.baseline.model.encoder.labels,
        )

        def scored(metric: str) -> RowParts:
            return row_parts(registry.get("metrics", metric), evidence, whole, columns)

        parts = {one.metric: scored(one.metric) for one in self.request.requirements}
        for metric in self.request.reported:
            # What gates nothing can't cost the look either.
            with contextlib.suppress(CandidateFailed, DataError, ValueError):
                parts.setdefault(metric, scored(metric))
        return parts
