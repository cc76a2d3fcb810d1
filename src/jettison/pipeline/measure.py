"""Measures saved models in worker processes: costs, outputs, and quality on selection rows."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import machine, registry
from jettison.domain.extension_points import Evidence, Outputs, QualityMetric
from jettison.domain.files import replace_folder, write_atomically
from jettison.domain.jobs import Variant, output_file
from jettison.domain.measurement import OVERALL, Estimate
from jettison.domain.model import Model
from jettison.domain.record import digest, from_json, to_json
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import SelectionSet
from jettison.statistics import columns_of, value_of
from jettison.statistics.intervals import Interval, mean_interval, wilson_interval
from jettison.timing.claims import (
    SECOND_COPY,
    ClaimPlan,
    ClaimResult,
    FasterVerdict,
    claim_costs,
    faster_verdict,
    ranking_costs,
)
from jettison.timing.sessions import Sessions
from jettison.trust.contributions import column_of, row_parts
from jettison.trust.outcomes import describe_rows

__all__ = [
    "SECOND_COPY",
    "ClaimPlan",
    "ClaimResult",
    "FasterVerdict",
    "QualityResult",
    "Sessions",
    "claim_costs",
    "faster_verdict",
    "quality_of",
    "ranking_costs",
    "reference_quality",
    "sanity",
    "score_rows",
    "selection_quality",
]

LOWEST_COSINE = 0.5
LOWEST_AGREEMENT = 0.5
RESULT_FILE = "quality.json"
OUTPUTS_FOLDER = "outputs"


@dataclass(frozen=True, slots=True)
class QualityResult:
    """Quality of one variant on selection rows.

    Attributes:
        estimates: each metric overall and by group, with 95 % interval and rows.
        contributions: metric -> `.npy` file, shape (n,), each row's part.
        outputs: name -> memory-mapped array, rows first.
    """

    estimates: tuple[Estimate, ...]
    contributions: Mapping[str, str]
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Kept:
    """A quality result as it lies on disk: figures, and the metrics and outputs with a file."""

    estimates: tuple[Estimate, ...]
    contributions: tuple[str, ...]
    outputs: tuple[str, ...]


def score_rows(variant: Variant, rows: Rows, workers: Sessions, folder: Path) -> dict[str, Array]:
    """Answers all rows in a worker, in batches of the largest size that is served.

    Returns:
        Output name -> memory-mapped array of shape (n, ...), lying in `folder`.

    Raises:
        CandidateFailed: if the model can't be loaded or run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scored = workers.of(variant).score(rows, folder, max(workers.serving.batch_sizes))
    return _opened(folder, scored.outputs)


def sanity(reference: Outputs, outputs: Outputs, model: Model) -> str | None:
    """Says what is plainly wrong with outputs, before any metric is computed; `None` if nothing.

    Args:
        reference: outputs of the original on the same rows.
        outputs: of the candidate.
        model: the candidate, which says which output is read, and for which task.
    """
    name = model.prediction
    if name not in outputs:
        return f"there is no output `{name}`; the model gives {sorted(outputs)}"
    before = next((reference[n] for n in (name, *reference) if n in reference), None)
    if before is None:
        return "there is no output of the original to compare with"
    before, after = np.asarray(before), np.asarray(outputs[name])
    if before.shape != after.shape:
        return f"output `{name}` has shape {after.shape}; the original's has {before.shape}"
    if not np.issubdtype(after.dtype, np.floating):
        return _agreement(before, after, name)
    bad = ~np.isfinite(after.reshape(len(after), -1)).all(axis=1)
    bad &= np.isfinite(before.reshape(len(before), -1).astype(np.float64)).all(axis=1)
    if bad.any():
        return (
            f"output `{name}` is NaN or infinite in {int(bad.sum())} of {len(after)} rows where "
            "the original's is not"
        )
    cosine = _median_cosine(before, after)
    if cosine < LOWEST_COSINE:
        return (
            f"the median cosine between output `{name}` and the original's is {cosine:.2f} "
            f"(lowest sane value: {LOWEST_COSINE:g})"
        )
    if model.task == "classification" and after.ndim == 2:
        return _agreement(before.argmax(axis=1), after.argmax(axis=1), name)
    return None


def selection_quality(
    variant: Variant,
    selection: SelectionSet,
    reference: Outputs,
    metrics: tuple[str, ...],
    workers: Sessions,
    folder: Path,
) -> QualityResult:
    """Scores a variant on selection rows; every row counts once, weights are not used.

    A result is kept in `folder` under a key of everything that it depends on (DESIGN section 5,
    point 8), and read back when the same is asked again.

    Raises:
        CandidateFailed: if the model can't be loaded or run.
        DataError: if a metric is undefined on these rows.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    key = _quality_key(variant, selection, reference, metrics, workers)
    place = folder / key
    if not (place / RESULT_FILE).exists():
        part = folder / f".{key}.part"
        shutil.rmtree(part, ignore_errors=True)
        outputs = score_rows(variant, selection.rows, workers, part / OUTPUTS_FOLDER)
        made = quality_of(outputs, reference, selection, variant.model, metrics, part)
        fresh = Kept(made.estimates, tuple(made.contributions), tuple(sorted(outputs)))
        write_atomically(part / RESULT_FILE, to_json(fresh))
        replace_folder(part, place)
    kept = from_json(Kept, (place / RESULT_FILE).read_bytes())
    return QualityResult(
        kept.estimates,
        {metric: str(place / f"{metric}.npy") for metric in kept.contributions},
        _opened(place / OUTPUTS_FOLDER, kept.outputs),
    )


def reference_quality(
    baseline: Variant,
    selection: SelectionSet,
    metrics: tuple[str, ...],
    workers: Sessions,
    folder: Path,
) -> QualityResult:
    """Scores the untouched model, which is its own reference; its outputs are those of all others.

    Raises:
        CandidateFailed: if the model can't be run.
        DataError: if a metric is undefined on these rows.
    """
    folder = folder.resolve()
    outputs = score_rows(baseline, selection.rows, workers, folder / OUTPUTS_FOLDER)
    return quality_of(outputs, outputs, selection, baseline.model, metrics, folder)


def quality_of(
    outputs: Outputs,
    reference: Outputs,
    selection: SelectionSet,
    model: Model,
    metrics: tuple[str, ...],
    folder: Path,
) -> QualityResult:
    """Scores outputs that are at hand; each row's part in a metric goes to `folder`.

    Raises:
        DataError: if a metric is undefined on these rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    estimates: list[Estimate] = []
    contributions: dict[str, str] = {}
    evidence = Evidence(
        selection.labels.targets, outputs, reference, model.prediction, model.encoder.labels
    )
    labels = selection.labels
    whole, columns = labels.as_they_came(len(outputs[model.prediction])), describe_rows(labels)[0]
    parts = {OVERALL: whole, **labels.membership()}
    for name in metrics:
        metric = registry.get("metrics", name)
        values = row_parts(metric, evidence, whole, columns).values
        contributions[name] = str(folder / f"{name}.npy")
        np.save(contributions[name], values, allow_pickle=False)
        for group, mask in parts.items():
            estimates.append(_estimate(metric, group, values[mask], column_of(group, columns)))
    return QualityResult(tuple(estimates), contributions, outputs)


def _estimate(metric: QualityMetric, group: str, contributions: Array, column: int) -> Estimate:
    """A value with its interval; ratios, and metrics that no test certifies, get none."""
    n = len(contributions)
    value = value_of(metric.kind, contributions, column=column)
    interval = Interval(float("nan"), float("nan"), float("nan"), n)
    if value is not None and metric.kind == "binary":
        interval = wilson_interval(round(float(contributions.sum())), n)
    elif value is not None and metric.kind in ("bounded_mean", "influence"):
        interval = mean_interval(columns_of(metric.kind, contributions, contributions, column)[0])
    low, high = (None if np.isnan(end) else float(end) for end in (interval.low, interval.high))
    return Estimate(metric.name, group, value, low, high, n, metric.unit, metric.better)


def _quality_key(
    variant: Variant,
    selection: SelectionSet,
    reference: Outputs,
    metrics: tuple[str, ...],
    workers: Sessions,
) -> str:
    labels = selection.labels
    facts = {
        "artifact": variant.model.artifact.digest,
        "encoder": variant.model.encoder.digest,
        "prediction": variant.model.prediction,
        "task": variant.model.task,
        "runtime": {"name": variant.runtime.name, "settings": dict(variant.runtime.settings)},
        "rows": [selection.rows.digest, selection.rows.n],
        "labels": _array_digest(
            labels.targets, labels.contexts, *(labels.groups[g] for g in sorted(labels.groups))
        ),
        "reference": _array_digest(*(reference[name] for name in sorted(reference))),
        "policy": ["one by one" if variant.one_by_one else max(workers.serving.batch_sizes)],
        "threads": workers.serving.threads,
        "metrics": {name: registry.source_digest("metrics", name) for name in metrics},
        "device": machine.describe_device().cpu_class,
        "versions": dict(machine.describe_device().versions),
    }
    return digest(facts)[:32]


def _array_digest(*arrays: Array | None) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        if array is None:
            whole.update(b"none")
            continue
        values = np.ascontiguousarray(array)
        whole.update(f"{values.dtype.str}{values.shape}".encode())
        whole.update(
            values.tobytes() if values.dtype.kind != "O" else repr(values.tolist()).encode()
        )
    return whole.hexdigest()


def _opened(folder: Path, names: tuple[str, ...]) -> dict[str, Array]:
    return {
        name: np.load(output_file(folder, name), mmap_mode="r", allow_pickle=False)
        for name in names
    }


def _agreement(before: Array, after: Array, name: str) -> str | None:
    share = float(np.mean(before == after))
    if share >= LOWEST_AGREEMENT:
        return None
    return (
        f"output `{name}` names the original's label in {share:.0%} of {len(after)} rows "
        f"(lowest sane value: {LOWEST_AGREEMENT:.0%})"
    )


def _median_cosine(before: Array, after: Array) -> float:
    first = before.reshape(len(before), -1).astype(np.float64)
    second = after.reshape(len(after), -1).astype(np.float64)
    if first.shape[1] < 2:
        # A single number per row has no direction: compare the rows as one vector.
        first, second = first.reshape(1, -1), second.reshape(1, -1)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    known = lengths > 0
    if not known.any():
        return 1.0 if np.array_equal(first, second) else 0.0
    products = (first * second).sum(axis=1)
    return float(np.median(products[known] / lengths[known]))
