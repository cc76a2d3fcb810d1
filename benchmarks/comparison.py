"""One model: jettison's choice beside ONNX Runtime's own default quantizers, in one run.

All variants are timed side by side by the claim protocol, and judged on the same selection rows.
The margin of a benchmark stands in its script, so it is fixed before the first run.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import Row
from jettison import preparation, registry, whole_run
from jettison.domain.configuration import Configuration
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Measurement
from jettison.domain.model import Artifact, Model
from jettison.domain.progress import Silent
from jettison.domain.recipe import Step
from jettison.domain.run import GAIN, RunRecord
from jettison.domain.splits import FittingData, SelectionSet
from jettison.errors import CandidateFailed
from jettison.pipeline import measure
from jettison.preparation import Prepared
from jettison.search.trial import variant_of
from jettison.statistics.verdicts import Paired, judge

ORIGINAL, CHOICE = "original", "jettison"


@dataclass(frozen=True)
class Comparison:
    """What one benchmark found."""

    record: RunRecord
    rows: list[Row]


class Lines(Silent):
    """Prints what a run says, one line each."""

    def advance(self, note: str = "") -> None:
        """Prints the note of a step."""
        if note:
            print("  ", note, flush=True)

    def stage(self, name: str, total: int | None = None) -> None:
        """Prints the name of a stage."""
        print(name, flush=True)


def compare(
    title: str,
    configuration: Configuration,
    live: Any = None,
    live_data: Any = None,
    adjust: Callable[[Prepared], Prepared] = lambda prepared: prepared,
) -> Comparison:
    """Runs jettison as a user would, then measures its choice beside the peers' defaults."""
    folder = Path(configuration.output)
    shutil.rmtree(folder, ignore_errors=True)
    configuration = dataclasses.replace(configuration, ledger=str(folder / "ledger"))
    progress = Lines()
    with preparation.run_folder(folder):
        prepared = adjust(preparation.prepare(configuration, progress, live, live_data))
        record = whole_run.run(prepared, progress)
    print(record.answer, flush=True)
    start = prepared.starts[-1].model
    built, failures = _peers(start, prepared.splits.fitting, folder / "peers")
    variants = {ORIGINAL: prepared.baseline}
    if prepared.starts[-1].techniques:
        variants["ONNX, float, no other change"] = Variant("float", start, Step("onnx_runtime"))
    chosen = record.trial_of(record.shipped)
    if chosen is not None and chosen.candidate is not None:
        variants[CHOICE] = variant_of(chosen.candidate)
    variants.update(built)
    variants = {name: dataclasses.replace(v, name=name) for name, v in variants.items()}
    claims = measure.claim_costs(
        tuple(variants.values()),
        prepared.splits.fitting.rows,
        configuration.serving,
        ("latency_ms", "size_bytes", "peak_memory_bytes"),
        measure.ClaimPlan(max_seconds=900),
        folder / "bench-claims",
    )
    rows = [*_cost_rows(title, claims.measurements), *_quality_rows(title, prepared, variants)]
    rows += [Row(title, name, "built", None, None, None, "", 0, why) for name, why in failures]
    rows.append(
        Row(
            title,
            "a/a",
            "noise floor",
            claims.noise_floor,
            None,
            None,
            "fraction",
            5,
            "noisy" if claims.noisy else "",
        )
    )
    rows += _certificate_rows(title, record)
    rows += _against_best_peer(title, prepared, variants, rows, folder)
    rows += trial_shares(title, record)
    return Comparison(record, rows)


def _peers(
    model: Model, fitting: FittingData, folder: Path
) -> tuple[dict[str, Variant], list[tuple[str, str]]]:
    """ONNX Runtime's quantizers as their documentation calls them, with default arguments."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(list(fitting.rows.batches(1, limit=128)))

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._batches, None)

    found: dict[str, Variant] = {}
    failures: list[tuple[str, str]] = []
    if "onnx" not in model.traits:
        return {}, [("onnxruntime quantize_dynamic, quantize_static", "there is no ONNX model")]
    source = str(model.artifact.path)
    for name, build in (
        ("onnxruntime quantize_dynamic", lambda out: quantize_dynamic(source, out)),
        ("onnxruntime quantize_static", lambda out: quantize_static(source, out, Reader())),
    ):
        place = folder / name.replace(" ", "-")
        place.mkdir(parents=True)
        try:
            build(str(place / "model.onnx"))
            artifact = Artifact.of("onnx_file", place, ("model.onnx",))
            changed = dataclasses.replace(model, artifact=artifact)
            found[name] = Variant(name, changed, Step("onnx_runtime"))
            few = dataclasses.replace(fitting.rows, n=2)
            with measure.Sessions(few, ServingProfile(), place) as workers:
                measure.score_rows(found[name], few, workers, place / "try")
        except (CandidateFailed, ValueError, RuntimeError, KeyError, TypeError) as error:
            found.pop(name, None)
            failures.append((name, f"{type(error).__name__}: {str(error)[:200]}"))
    return found, failures


def _cost_rows(title: str, measurements: Mapping[str, Measurement]) -> list[Row]:
    rows = []
    for name, measurement in measurements.items():
        for e in measurement.estimates:
            if e.metric.removesuffix(GAIN) in ("latency_ms", "size_bytes", "peak_memory_bytes"):
                metric = e.metric if e.group == OVERALL else f"{e.metric} {e.group}"
                note = "noisy" if e.state == "noisy" else ""
                rows.append(Row(title, name, metric, e.value, e.low, e.high, e.unit, e.n, note))
    return rows


def _quality_rows(title: str, prepared: Prepared, variants: Mapping[str, Variant]) -> list[Row]:
    """The drop of each variant on the selection rows, with the verdict of the same test."""
    selection = prepared.splits.selection
    if selection is None:
        return []
    folder = Path(prepared.configuration.output) / "bench-quality"
    serving = prepared.configuration.serving
    with measure.Sessions(selection.rows, serving, folder) as workers:
        return _scored(title, prepared, variants, selection, workers)


def _scored(
    title: str,
    prepared: Prepared,
    variants: Mapping[str, Variant],
    selection: SelectionSet,
    workers: measure.Sessions,
) -> list[Row]:
    requirements = prepared.configuration.requirements
    metrics = tuple(r.metric for r in requirements)
    base = measure.reference_quality(
        variants[ORIGINAL], selection, metrics, workers, workers.folder / "original"
    )
    answers = base.outputs[variants[ORIGINAL].model.prediction]
    rows = []
    for name, variant in variants.items():
        # A conversion may have given the output another name.
        reference = {**base.outputs, variant.model.prediction: answers}
        result = measure.selection_quality(
            variant, selection, reference, metrics, workers, workers.folder / "others"
        )
        workers.end(variant)
        for requirement in requirements:
            metric = registry.get("metrics", requirement.metric)
            verdict = judge(
                Paired.of(
                    metric,
                    np.load(base.contributions[requirement.metric]),
                    np.load(result.contributions[requirement.metric]),
                ),
                requirement.max_drop,
            )
            value = next(
                e for e in result.estimates if e.metric == requirement.metric and e.group == OVERALL
            )
            n = selection.rows.n
            rows.append(
                Row(
                    title,
                    name,
                    f"{requirement.metric} (selection rows)",
                    value.value,
                    value.low,
                    value.high,
                    metric.unit,
                    n,
                )
            )
            rows.append(
                Row(
                    title,
                    name,
                    f"drop of {requirement.metric} (selection rows)",
                    verdict.estimate,
                    None,
                    verdict.bound,
                    metric.unit,
                    n,
                    f"margin {requirement.max_drop:g}",
                )
            )
    return rows


def _certificate_rows(title: str, record: RunRecord) -> list[Row]:
    certificate = record.certificate
    rows = [
        Row(
            title,
            CHOICE,
            "outcome",
            record.outcome,
            None,
            None,
            "",
            len(record.trials),
            f"{record.answer} Recipe: {_recipe(record)}",
        )
    ]
    for claim in certificate.claims:
        if claim.gates:
            rows.append(
                Row(
                    title,
                    CHOICE,
                    f"certified drop of {claim.metric}, {claim.group}",
                    claim.estimate,
                    None,
                    claim.bound,
                    "fraction",
                    claim.n,
                    f"{claim.verdict}, margin {claim.margin:g}, grade {claim.grade}",
                )
            )
    return rows


def _recipe(record: RunRecord) -> str:
    trial = record.trial_of(record.shipped)
    return str(trial.recipe) if trial is not None else "none"


def _against_best_peer(
    title: str,
    prepared: Prepared,
    variants: Mapping[str, Variant],
    rows: list[Row],
    folder: Path,
) -> list[Row]:
    """Speed of jettison's choice over the fastest peer that meets the margin, timed as a pair."""
    requirement = prepared.configuration.requirements[0]
    drops = {
        r.method: r.value
        for r in rows
        if r.metric == f"drop of {requirement.metric} (selection rows)"
    }
    speed = {r.method: r.value for r in rows if r.metric == "latency_ms"}
    meeting = [
        name
        for name in variants
        if name != CHOICE
        and isinstance(drops.get(name), float)
        and float(drops[name] or 0.0) <= requirement.max_drop
    ]
    if CHOICE not in variants or not meeting:
        return []
    best = min(meeting, key=lambda name: float(speed[name] or np.inf))
    result = measure.claim_costs(
        (variants[best], variants[CHOICE]),
        prepared.splits.fitting.rows,
        prepared.configuration.serving,
        ("latency_ms",),
        measure.ClaimPlan(max_seconds=600),
        folder / "bench-pair",
    )
    gain = result.measurements[CHOICE].get("latency_ms" + GAIN)
    if gain is None:
        return []
    return [
        Row(
            title,
            CHOICE,
            "speed over the best that meets the margin",
            gain.value,
            gain.low,
            gain.high,
            "ratio",
            gain.n,
            f"best: {best}; noise floor {result.noise_floor:.3f}",
        )
    ]


def trial_shares(title: str, record: RunRecord) -> list[Row]:
    """Where the time of the trials went; trials that failed to build count in the whole."""
    trials = record.trials
    whole = sum(t.seconds for t in trials)
    built = [t for t in trials if t.candidate is not None]
    optimiser = sum(t.overhead_seconds for t in trials)
    edits = sum(t.candidate.editing_seconds for t in built if t.candidate is not None)
    applying = sum(t.candidate.spent_seconds for t in built if t.candidate is not None)
    measuring = sum(t.seconds - t.overhead_seconds for t in built) - applying
    shares = (
        ("optimiser and storage", optimiser, "proposing, learning, writing trials down"),
        ("graph edits", edits, "applying, without running the model and starting workers"),
        (
            "optimiser, storage and graph edits",
            optimiser + edits,
            "the sum of the two above; the bar is 0.1",
        ),
        ("running the model to apply", applying - edits, "calibration, checks, worker starts"),
        ("measuring", measuring, "outputs, ranking of costs, quality on selection rows"),
    )
    n = len(trials)
    return [
        *(
            Row(
                title,
                CHOICE,
                f"share of trial time: {name}",
                _share(seconds, whole),
                None,
                None,
                "fraction",
                n,
                note,
            )
            for name, seconds, note in shares
        ),
        Row(title, CHOICE, "seconds of the search", whole, None, None, "s", n),
    ]


def _share(seconds: float, whole: float) -> float:
    return seconds / whole if whole else 0.0
