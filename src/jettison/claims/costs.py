"""Experiments about speed and size: two networks, or one before and after techniques."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettison import registry
from jettison.claims.catalogue import Reading
from jettison.claims.networks import build
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Measurement
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.record import digest
from jettison.domain.run import GAIN
from jettison.domain.splits import FittingData
from jettison.errors import MissingDependency, UsageError
from jettison.pipeline import apply as applying
from jettison.pipeline import load, measure, split


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how thoroughly experiments are made.

    Attributes:
        folder: for networks and what is made of them.
        launches: fresh processes of every variant.
        max_seconds: of one comparison, while others disturb it.
        readings: what was measured already, by experiment and settings.
    """

    folder: Path
    launches: int = 5
    max_seconds: float = 120.0
    readings: dict[str, Reading] = field(default_factory=dict)


def compare(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """How many times less a cost is for the candidate than for the baseline.

    Args:
        bench: where.
        settings: `baseline` and `candidate` (`network` and its sizes; the candidate's default is
            the baseline), `steps` (names, or tables of `technique` and settings), `runtime`, `cost`,
            and `batch_sizes`.

    Raises:
        CandidateFailed: if the candidate can't be made or run here; says why.
        MissingDependency: if a package is missing.
    """
    serving = ServingProfile(batch_sizes=tuple(settings.get("batch_sizes", [1])))
    first = _load(bench, settings["baseline"])
    second = _load(bench, settings.get("candidate", settings["baseline"]))
    runtime = Step(settings.get("runtime", "onnx_runtime"))
    home = Step(registry.home_runtime(first.traits).name)
    recipe = Recipe(read_steps(settings.get("steps", [])), runtime)
    fitting = _inputs(bench, second)
    made = applying.apply(second, recipe, fitting, bench.folder / "artifacts", serving)
    variants = [
        Variant("baseline", first, home),
        Variant("candidate", made.model, made.recipe.runtime),
    ]
    cost = str(settings["cost"])
    measured = _measured(bench, variants, serving, cost)
    notes = [change.what for change in made.log]
    return _reading(measured["candidate"], cost + GAIN, OVERALL, "; ".join(notes))


def library_default(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """As `compare`, for what ONNX Runtime's `quantize_dynamic` makes with its default arguments.

    Args:
        bench: where.
        settings: `baseline` and `cost`.

    Raises:
        MissingDependency: without onnxruntime.
        CandidateFailed: if the model that it makes can't be run.
    """
    try:
        from onnxruntime.quantization import quantize_dynamic
    except ImportError as error:
        raise MissingDependency(
            "onnxruntime is not installed; run: pip install 'jettison[cpu]'"
        ) from error
    first = _load(bench, settings["baseline"])
    place = bench.folder / f"{digest(dict(settings['baseline']))[:16]}-dynamic"
    place.mkdir(parents=True, exist_ok=True)
    file = Path(first.artifact.folder) / "model.onnx"
    quantize_dynamic(file, place / "model.onnx")
    section = ModelSection(str(place / "model.onnx"), task="classification")
    second = load.load_model(section, place / "loaded")
    home = Step(registry.home_runtime(first.traits).name)
    variants = [Variant("baseline", first, home), Variant("candidate", second, home)]
    cost = str(settings["cost"])
    measured = _measured(bench, variants, ServingProfile(), cost)
    return _reading(measured["candidate"], cost + GAIN, OVERALL)


def batching(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """How many times less a row costs in a batch than alone; the same model, unchanged.

    Args:
        bench: where.
        settings: `baseline` (`network` and its sizes) and `rows`, the size of the batch.
    """
    rows = int(settings["rows"])
    serving = ServingProfile(batch_sizes=(1, rows))
    model = _load(bench, settings["baseline"])
    variant = Variant("baseline", model, Step(registry.home_runtime(model.traits).name))
    measured = _measured(bench, [variant], serving, "latency_ms")["baseline"]
    alone = _reading(measured, "latency_ms", "batch=1")
    together = _reading(measured, "latency_ms", f"batch={rows}")
    return dataclasses.replace(
        alone,
        value=alone.value / together.value,
        low=alone.low / together.high,
        high=alone.high / together.low,
        note="from the ends of both intervals, so a wide one",
        noisy=alone.noisy or together.noisy,
    )


def batch_mates(bench: Bench, settings: Mapping[str, Any]) -> Reading:
    """Whether answers change with the rows of the same batch: 1 if they do, 0 if not.

    Args:
        bench: where.
        settings: `baseline` and `steps`, as for `compare`.
    """
    serving = ServingProfile(batch_sizes=(1, 16))
    model = _load(bench, settings["baseline"])
    recipe = Recipe(read_steps(settings.get("steps", [])), Step("onnx_runtime"))
    fitting = _inputs(bench, model)
    made = applying.apply(model, recipe, fitting, bench.folder / "artifacts", serving)
    changed = float("batch-dependent" in made.model.traits)
    return Reading(changed, changed, changed, fitting.rows.n, "rows alone and together")


def _load(bench: Bench, asked: Mapping[str, Any]) -> Model:
    sizes = {name: value for name, value in asked.items() if name != "network"}
    place = bench.folder / digest(dict(asked))[:16]
    file = place / "model.onnx"
    if not file.exists():
        place.mkdir(parents=True, exist_ok=True)
        build(str(asked["network"]), file, **sizes)
    return load.load_model(ModelSection(str(file), task="classification"), place / "loaded")


def _inputs(bench: Bench, model: Model) -> FittingData:
    place = bench.folder / "inputs" / model.artifact.digest[:16]
    return split.load_data(DataSection(), model, place).fitting


def read_steps(given: list[Any]) -> tuple[Step, ...]:
    """Steps as a data file writes them: names, or tables of `technique` and its settings."""
    steps: list[Step] = []
    for one in given:
        table = {"technique": one} if isinstance(one, str) else dict(one)
        name = str(table.pop("technique", ""))
        if not name:
            raise UsageError(f"a step needs `technique`; got {one}")
        steps.append(Step(name, table))
    return tuple(steps)


def _measured(
    bench: Bench, variants: list[Variant], serving: ServingProfile, cost: str
) -> Mapping[str, Measurement]:
    timed = registry.get("costs", cost).timed
    plan = measure.ClaimPlan(
        launches=bench.launches if timed else 2,
        rounds=8 if timed else 1,
        max_seconds=bench.max_seconds if timed else 0.0,
    )
    rows = _inputs(bench, variants[0].model).rows
    folder = bench.folder / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return measure.claim_costs(variants, rows, serving, (cost,), plan, folder).measurements


def _reading(measured: Measurement, metric: str, group: str, note: str = "") -> Reading:
    found = measured.get(metric, group)
    if found is None or found.value is None or found.low is None or found.high is None:
        raise UsageError(f"no interval of {metric} ({group}) came out of the measurement")
    noisy = found.state == "noisy"
    return Reading(found.value, found.low, found.high, found.n, "launches", note, noisy)
