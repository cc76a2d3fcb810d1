"""One trial: build, check the outputs, rank the costs, then score quality; cheap checks first."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jettison import registry
from jettison.domain.certificate import Requirement
from jettison.domain.device import Device, ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.model import Model
from jettison.domain.recipe import Candidate, Recipe
from jettison.domain.rows import Array
from jettison.domain.run import GAIN, Trial
from jettison.domain.splits import FittingData, Labels, SelectionSet
from jettison.errors import CandidateFailed, DataError, InternalError, ModelError
from jettison.pipeline import apply as applying
from jettison.pipeline import measure
from jettison.statistics import Paired, judge, linear_drops

SANITY_ROWS = 64
FIRST_LOOK_ROWS = 100
HOPELESS_ALPHA = 0.001
"""A first look at a few selection rows stops a trial whose harm is beyond the margin at this
error rate: it costs at most one good candidate in a thousand, and never validity."""

NOT_CHEAPER = 0.97
"""Ranking resolves about 3 %; a candidate below this in every cost is not worth scoring."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every trial of a search is measured against.

    Attributes:
        baseline: the untouched model, ready to run.
        fitting, selection: the rows that a search may see; no selection in a run without data.
        quality: of the baseline on the selection rows, with its outputs; `None` without data.
        sanity_reference: its outputs on the first fitting rows.
        costs: cost metrics; the first is *the cost*.
        requirements: quality metrics and margins.
        folder: artifacts and outputs of this run.
    """

    model: Model
    baseline: Variant
    fitting: FittingData
    selection: SelectionSet | None
    quality: measure.QualityResult | None
    sanity_reference: Mapping[str, Array]
    costs: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    serving: ServingProfile
    device: Device
    folder: Path


def run_trial(
    bench: Bench,
    workers: measure.Sessions,
    number: int,
    recipe: Recipe,
    earlier: Sequence[Trial],
) -> Trial:
    """Carries out one recipe as far as it deserves.

    The baseline's worker in `workers` serves all trials; the candidate's is ended here.
    A candidate that can't be built, run or scored gives a trial in state `failed`; never an exception.
    One whose files are those of an earlier trial on the same runtime is not measured again.
    """
    started = time.monotonic()
    candidate: Candidate | None = None
    ranking: Measurement | None = None
    state: Literal["complete", "failed", "stopped"] = "complete"
    reason, working = "", 0.0
    try:
        begun = time.monotonic()
        candidate = applying.apply(
            bench.model, recipe, bench.fitting, bench.folder / "artifacts", bench.serving
        )
        working = time.monotonic() - begun
        twin = _twin(candidate, earlier)
        if twin is not None:
            ranking, reason = twin.ranking, f"it gives the same file as trial {twin.number}"
        else:
            begun = time.monotonic()
            ranking, reason = _measure(bench, workers, candidate)
            working += time.monotonic() - begun
        state = "stopped" if reason else "complete"
    except (CandidateFailed, DataError, ModelError) as failure:
        # Its file may not open, or a metric be undefined on its answers: the original passed both.
        state, reason = "failed", str(failure)
    seconds = time.monotonic() - started
    overhead = 0.0 if state == "failed" else seconds - working
    return Trial(number, recipe, state, reason, candidate, ranking, seconds, overhead)


def _twin(candidate: Candidate, earlier: Sequence[Trial]) -> Trial | None:
    for trial in earlier:
        other = trial.candidate
        if (
            other is not None
            and other.model.artifact.digest == candidate.model.artifact.digest
            and other.recipe.runtime == candidate.recipe.runtime
        ):
            return trial
    return None


def variant_of(candidate: Candidate) -> Variant:
    """A candidate as it is run: one by one where a call of several rows would change answers."""
    traits = candidate.model.traits
    alone = bool(traits & {"batch-dependent", "fixed-batch"})
    return Variant(candidate.recipe.digest, candidate.model, candidate.recipe.runtime, alone)


def _measure(
    bench: Bench, workers: measure.Sessions, candidate: Candidate
) -> tuple[Measurement, str]:
    """Gives the ranking figures so far and why the trial stops early, or an empty string."""
    variant = variant_of(candidate)
    try:
        return _questions(bench, workers, candidate, variant)
    finally:
        workers.end(variant)


def _questions(
    bench: Bench, workers: measure.Sessions, candidate: Candidate, variant: Variant
) -> tuple[Measurement, str]:
    """Asks one worker of the candidate the cheap questions first."""
    place = bench.folder / "trials" / candidate.recipe.digest[:16]
    rows = dataclasses.replace(bench.fitting.rows, n=min(SANITY_ROWS, bench.fitting.rows.n))
    outputs = measure.score_rows(variant, rows, workers, place / "sanity")
    insane = measure.sanity(bench.sanity_reference, outputs, candidate.model)
    costs: tuple[Estimate, ...] = ()
    quality: tuple[Estimate, ...] = ()
    contributions: Mapping[str, str] = {}
    reason = f"its outputs are not those of the original: {insane}" if insane else ""
    if not reason:
        costs = measure.ranking_costs(bench.baseline, variant, workers, bench.costs)
        reason = _not_cheaper(costs, bench.costs)
    if not reason and bench.selection is not None:
        reason = _first_look(bench, workers, variant, place)
    if not reason and bench.selection is not None and bench.quality is not None:
        result = measure.selection_quality(
            variant,
            bench.selection,
            reference_of(bench, variant),
            tuple(r.metric for r in bench.requirements),
            workers,
            place / "selection",
        )
        quality, contributions = result.estimates, result.contributions
    figures = (*costs, *quality)
    return (
        Measurement(candidate.recipe.digest, "ranking", figures, bench.device, contributions),
        reason,
    )


def _not_cheaper(estimates: Sequence[Estimate], costs: Sequence[str]) -> str:
    gains = {
        e.metric.removesuffix(GAIN): e.value
        for e in estimates
        if e.group == OVERALL and e.state == "ok"
    }
    known = {cost: gains[cost] for cost in costs if gains.get(cost) is not None}
    if len(known) == len(costs) and all(
        value is not None and value < NOT_CHEAPER for value in known.values()
    ):
        figures = ", ".join(f"{cost} {value:.2f}x" for cost, value in known.items() if value)
        return f"no cost is better than the original's ({figures} of it, above 1 is better)"
    return ""


def _first_look(bench: Bench, workers: measure.Sessions, variant: Variant, place: Path) -> str:
    """Scores a few rows first, and stops where the harm is already clear."""
    selection = bench.selection
    if selection is None or bench.quality is None:
        return ""
    # Copies in contexts stand behind all rows as they came, so the first rows are no copies.
    n = FIRST_LOOK_ROWS
    if selection.labels.as_they_came(selection.rows.n).sum() < 3 * n:
        return ""
    # Only 0/1 metrics can be called broken by so few rows; on them F1 may be undefined.
    asked = [r for r in bench.requirements if registry.get("metrics", r.metric).kind == "binary"]
    if not asked:
        return ""
    few = SelectionSet(
        dataclasses.replace(selection.rows, n=n),
        Labels(None if selection.labels.targets is None else selection.labels.targets[:n]),
    )
    reference = {name: values[:n] for name, values in reference_of(bench, variant).items()}
    result = measure.selection_quality(
        variant,
        few,
        reference,
        tuple(r.metric for r in asked),
        workers,
        place / "first-look",
    )
    for requirement in asked:
        metric = registry.get("metrics", requirement.metric)
        base = baseline_contributions(bench, requirement.metric)[:n]
        verdict = judge(
            Paired.of(metric, base, np.load(result.contributions[requirement.metric])),
            requirement.max_drop,
            HOPELESS_ALPHA,
        )
        if verdict.verdict == "broken":
            return (
                f"{requirement.metric} on the first {n} selection rows is worse by "
                f"{verdict.estimate:.3f}, clearly beyond the margin of {requirement.max_drop:g}"
            )
    return ""


def reference_of(bench: Bench, variant: Variant) -> Mapping[str, Array]:
    """The original's answers, also under the name that a conversion gave to the output."""
    if bench.quality is None:
        return {}
    outputs = bench.quality.outputs
    return {**outputs, variant.model.prediction: outputs[bench.model.prediction]}


def baseline_contributions(bench: Bench, metric: str) -> Array:
    """Each selection row's part in a metric of the baseline, shape (n,)."""
    if bench.quality is None:
        raise InternalError(f"{metric} of the baseline was asked for in a run without data")
    contributions: Array = np.load(bench.quality.contributions[metric], allow_pickle=False)
    return contributions


def objectives(bench: Bench, trial: Trial) -> tuple[float, ...] | None:
    """Values to be minimised: log cost ratios, then the drop of each required metric.

    A stopped trial counts as the worst quality seen in principle, so that the sampler leaves its
    surroundings; a failed one has no values.
    """
    if trial.ranking is None:
        return None
    values: list[float] = []
    for cost in bench.costs:
        gain = trial.ranking.get(cost + GAIN)
        if gain is None or not gain.value or gain.value <= 0:
            return None
        values.append(-math.log(gain.value))
    for requirement in bench.requirements if bench.selection is not None else ():
        values.append(drop_of(bench, trial.ranking, requirement.metric))
    return tuple(values)


def drop_of(bench: Bench, ranking: Measurement, metric: str) -> float:
    """Mean paired drop on the selection rows, positive is worse; 1.0 when it was not scored."""
    path = ranking.contributions.get(metric)
    if path is None:
        return 1.0
    plugin = registry.get("metrics", metric)
    candidate = np.load(path, allow_pickle=False)
    base, selection = baseline_contributions(bench, metric), bench.selection
    whole = slice(None) if selection is None else selection.labels.as_they_came(len(base))
    return float(np.mean(linear_drops(plugin, base[whole], candidate[whole])))
