"""The test-suite that every plug-in must pass, ours first.

Each function raises `AssertionError` with a sentence that says which promise is broken. Plug-ins
are asked for by name, through the same entry points and worker processes as in a real run:

    from jettison.testing import contracts

    def test_my_technique(tmp_path):
        contracts.check_technique("my_technique", model, fitting, tmp_path)
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np

from jettison import registry, worker_client
from jettison.domain.device import ServingProfile
from jettison.domain.exports import ExportJob
from jettison.domain.extension_points import Evidence, MetricKind, QualityMetric, Scores
from jettison.domain.jobs import ApplyAnswer, ApplyJob, SessionJob
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, Potential, Refusal, Step
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.domain.splits import FittingData
from jettison.domain.traits import TRAITS
from jettison.registry import Family

HEAVY = (
    "torch",
    "onnxruntime",
    "openvino",
    "nncf",
    "sklearn",
    "transformers",
    "optuna",
    "pandas",
    "skl2onnx",
)
UNITS = ("_ms", "_s", "_bytes", "_j", "_per_s")


def ensure(condition: bool, promise: str) -> None:
    """Raises `AssertionError` with the broken promise."""
    if not condition:
        raise AssertionError(promise)


def check_import_is_light(family: Family, name: str) -> None:
    """Importing the plug-in's module loads no framework."""
    entry = next(e for e in metadata.entry_points(group=f"jettison.{family}") if e.name == name)
    code = f"import sys, {entry.module}; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ensure(
        not done.stdout.strip(),
        f"importing {entry.module} loads {done.stdout.strip()}; import it inside the method",
    )


def check_technique(
    name: str,
    model: Model,
    fitting: FittingData,
    folder: Path,
    *,
    settings: Settings | None = None,
    profile: Profile | None = None,
) -> ApplyAnswer:
    """Applies a technique through a worker, twice, and checks every promise.

    Args:
        name: of the registered technique.
        model: one that has all traits that it requires.
        fitting: calibration rows for it.
        folder: an empty folder.
        settings: to apply; by default the value of each open setting that is to be tried first.
        profile: for `search_space` and `potential`; needed unless `settings` is given.

    Returns:
        What the first application answered.
    """
    check_import_is_light("techniques", name)
    technique = registry.get("techniques", name)
    ensure(technique.name == name, f"`name` is {technique.name!r}, its entry point says {name!r}")
    for words in (technique.requires, technique.adds, technique.removes):
        unknown = words - set(TRAITS)
        ensure(not unknown, f"unknown traits {sorted(unknown)}; the vocabulary is domain/traits.py")
    lacking = technique.requires - model.traits
    ensure(not lacking, f"the model of this check lacks {sorted(lacking)}")
    if profile is not None:
        _check_plans(technique, model, profile)
        space = technique.search_space(model, profile)
        settings = {key: r.default for key, r in space.items()} if settings is None else settings
    before = Artifact.of(model.artifact.format, model.artifact.folder, model.artifact.files)
    first = _apply(name, model, settings or {}, fitting, folder / "first")
    second = _apply(name, model, settings or {}, fitting, folder / "second")
    after = Artifact.of(model.artifact.format, model.artifact.folder, model.artifact.files)
    ensure(before == after, "it changed the files of the model that it was given")
    ensure(
        first.model.artifact.digest == second.model.artifact.digest,
        "two applications with the same seed and settings gave different bytes",
    )
    _check_traits(technique, model, first.model)
    ensure(bool(first.changes), "it tells nothing of what it changed")
    _check_reload(first.model, fitting, folder)
    return first


def _apply(
    name: str, model: Model, settings: Settings, fitting: FittingData, folder: Path
) -> ApplyAnswer:
    for place in (folder / "model", folder / "cache"):
        place.mkdir(parents=True)
    return worker_client.run_apply(
        ApplyJob(
            model=model,
            step=Step(name, settings),
            fitting=fitting,
            folder=str(folder / "model"),
            cache=str(folder / "cache"),
            serving=ServingProfile(),
        )
    )


def _check_plans(technique: Any, model: Model, profile: Profile) -> None:
    answer = technique.potential(model, profile)
    ensure(isinstance(answer, Potential | Refusal), "`potential` gives a Potential or a Refusal")
    ensure(bool(answer.reason.strip()), "`potential` gives no reason")
    if isinstance(answer, Potential):
        ensure(answer.speedup >= 1.0, "a potential speed-up is at least 1: it is an upper bound")
        ensure(0.0 < answer.size_ratio <= 1.0, "a size ratio is a lower bound, above 0, at most 1")
    for key, allowed in technique.search_space(model, profile).items():
        if isinstance(allowed, Choices):
            inside = allowed.default in allowed.values
        else:
            inside = allowed.low <= allowed.default <= allowed.high
        ensure(inside, f"the default of `{key}` lies outside its own range")


def _check_traits(technique: Any, before: Model, after: Model) -> None:
    ensure(technique.adds <= after.traits, f"it promises {sorted(technique.adds)}, not all are set")
    left = technique.removes & after.traits
    ensure(not left, f"it promises to remove {sorted(left)}, they are still set")
    unknown = after.traits - set(TRAITS)
    ensure(not unknown, f"the result has unknown traits {sorted(unknown)}")
    if not technique.conversion:
        kept = before.traits - technique.removes - after.traits
        ensure(not kept, f"it removes {sorted(kept)} without saying so in `removes`")


def _check_reload(model: Model, fitting: FittingData, folder: Path) -> None:
    """The saved files, copied elsewhere and loaded again, answer the same."""
    moved = folder / "moved"
    moved.mkdir()
    for name in model.artifact.files:
        (moved / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(model.artifact.folder) / name, moved / name)
    artifact = Artifact.of(model.artifact.format, moved, model.artifact.files)
    ensure(artifact.digest == model.artifact.digest, "the artifact's digest depends on its folder")
    copy = dataclasses.replace(model, artifact=artifact)
    one = answers(model, fitting, folder / "answers-original")
    two = answers(copy, fitting, folder / "answers-moved")
    for output, values in one.items():
        ensure(
            np.array_equal(values, two[output], equal_nan=values.dtype.kind == "f"),
            f"output `{output}` differs after copying the files and loading them again",
        )


def answers(model: Model, fitting: FittingData, folder: Path, rows: int = 8) -> dict[str, Array]:
    """Runs the first rows of some fitting data through a model in a worker, one at a time."""
    runtime = registry.home_runtime(model.traits)
    few = dataclasses.replace(fitting.rows, n=min(rows, fitting.rows.n))
    folder.mkdir(parents=True, exist_ok=True)
    job = SessionJob(model, Step(runtime.name), few, ServingProfile(), one_by_one=True)
    with worker_client.WorkerSession(job, folder) as session:
        scored = session.score(few, folder / "scored", 1)
    return {name: np.load(scored.file(name), allow_pickle=False) for name in scored.outputs}


def check_runtime(name: str, model: Model, fitting: FittingData, folder: Path) -> None:
    """Prepares a model on a runtime and checks what comes back."""
    check_import_is_light("runtimes", name)
    runtime = registry.get("runtimes", name)
    ensure(runtime.name == name, f"`name` is {runtime.name!r}, its entry point says {name!r}")
    unknown = (runtime.requires | ({runtime.home} if runtime.home else set())) - set(TRAITS)
    ensure(not unknown, f"unknown traits {sorted(unknown)}")
    few = dataclasses.replace(fitting.rows, n=min(6, fitting.rows.n))
    folder.mkdir(parents=True, exist_ok=True)
    alone = "fixed-batch" in model.traits
    job = SessionJob(model, Step(name), few, ServingProfile(), alone, inspect=True)
    with worker_client.WorkerSession(job, folder) as session:
        ensure(sum(session.ready.providers.values()) > 0, "it can't tell where its nodes ran")
        scored = session.score(few, folder / "scored", 1)
        burst = session.burst(1, 2)
        ensure(len(burst.seconds) == 2 and min(burst.seconds) > 0, "a timed call took no time")
    told = {spec.name for spec in model.outputs}
    ensure(
        set(scored.outputs) == told, f"outputs are {sorted(scored.outputs)}, told {sorted(told)}"
    )
    for output in scored.outputs:
        values = np.load(scored.file(output), allow_pickle=False)
        ensure(len(values) == few.n, f"output `{output}` has {len(values)} rows for {few.n}")


def check_metric(name: str, evidence: Evidence) -> None:
    """Scores evidence and checks what a metric promises to the statistics."""
    check_import_is_light("metrics", name)
    metric = registry.get("metrics", name)
    ensure(metric.name == name, f"`name` is {metric.name!r}, its entry point says {name!r}")
    ensure(metric.kind in get_args(MetricKind), f"`kind` {metric.kind!r} is not a MetricKind")
    ensure(metric.better in ("higher", "lower"), f"`better` is {metric.better!r}")
    scores = metric.score(evidence)
    n = len(evidence.outputs[evidence.prediction])
    parts = np.asarray(scores.contributions)
    due = (n, 2) if metric.kind == "ratio_of_sums" else (n,)
    ensure(parts.shape == due, f"contributions have shape {parts.shape}, not {due}")
    if metric.kind == "ratio_of_sums":
        _check_ratio(metric, scores, evidence)
    inside = metric.kind == "ratio_of_sums" or bool(
        np.all((parts >= metric.low) & (parts <= metric.high))
    )
    ensure(inside, f"a contribution lies outside [{metric.low}, {metric.high}]")
    if metric.kind == "binary":
        ensure(bool(np.all((parts == 0) | (parts == 1))), "a binary contribution is not 0 or 1")
    if metric.kind == "influence":
        told = scores.strata is not None and scores.strata.shape == (n,)
        ensure(told, "`strata` doesn't tell each row's class")
    if metric.kind in ("binary", "bounded_mean", "influence"):
        same = bool(np.isclose(scores.value, parts.mean(), atol=1e-9))
        ensure(same, "the value is not the mean of the contributions")
    if metric.against_reference:
        perfect = metric.score(dataclasses.replace(evidence, outputs=evidence.reference))
        best = metric.high if metric.better == "higher" else metric.low
        ensure(
            bool(np.allclose(perfect.contributions, best, atol=1e-6)), "the original is not best"
        )
    order = np.random.default_rng(0).permutation(n)
    shuffled = metric.score(_reordered(evidence, order))
    ensure(
        bool(np.allclose(np.asarray(shuffled.contributions), parts[order], atol=1e-9)),
        "a row's contribution depends on the order of the rows",
    )


def _check_ratio(metric: QualityMetric, scores: Scores, evidence: Evidence) -> None:
    parts, bases = np.asarray(scores.contributions).T
    ensure(bool(np.all(bases >= 0)) and bases.sum() > 0, "a base is negative, or all are 0")
    inside = bool(np.all((parts >= metric.low * bases) & (parts <= metric.high * bases)))
    ensure(inside, f"a contribution lies outside [{metric.low}, {metric.high}] of its base")
    same = bool(np.isclose(scores.value, parts.sum() / bases.sum(), atol=1e-9))
    ensure(same, "the value is not the ratio of the sums")
    other = metric.score(dataclasses.replace(evidence, outputs=evidence.reference))
    ensure(bool(np.array_equal(other.contributions[:, 1], bases)), "the base depends on the model")


def _reordered(evidence: Evidence, order: Array) -> Evidence:
    def take(outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.asarray(values)[order] for name, values in outputs.items()}

    targets = None if evidence.targets is None else evidence.targets[order]
    return dataclasses.replace(
        evidence,
        targets=targets,
        outputs=take(evidence.outputs),
        reference=take(evidence.reference),
    )


def check_cost(name: str) -> None:
    """Checks what a cost metric declares; its readings are checked where it is measured."""
    check_import_is_light("costs", name)
    cost = registry.get("costs", name)
    ensure(cost.name == name, f"`name` is {cost.name!r}, its entry point says {name!r}")
    ensure(name.endswith(UNITS), f"the unit must be the last part of the name: {', '.join(UNITS)}")
    ensure(cost.better in ("higher", "lower"), f"`better` is {cost.better!r}")


def check_format(name: str, model: Model, folder: Path) -> None:
    """Opening and saving an artifact again keeps what it is."""
    check_import_is_light("formats", name)
    kind = registry.get("formats", name)
    ensure(kind.name == name, f"`name` is {kind.name!r}, its entry point says {name!r}")
    ensure(kind.trait in TRAITS, f"`trait` {kind.trait!r} is not in the vocabulary")
    ensure(kind.trait in model.traits, f"the model of this check is not `{kind.trait}`")
    folder.mkdir(parents=True, exist_ok=True)
    saved = kind.save(kind.open(model.artifact), folder)
    ensure(saved.format == name, f"a saved artifact says format {saved.format!r}")
    ensure(saved.path.exists(), f"{saved.path} was not written")
    kind.open(saved)


def check_encoder(name: str, model: Model) -> None:
    """Made-up inputs fit the model's declared inputs, and are the same for the same seed."""
    check_import_is_light("encoders", name)
    kind = registry.get("encoders", name)
    ensure(kind.name == name, f"`name` is {kind.name!r}, its entry point says {name!r}")
    one = kind.made_up(model.encoder, model, 5, 3)
    two = kind.made_up(model.encoder, model, 5, 3)
    ensure(
        set(one.arrays) == {spec.name for spec in model.inputs}, "made-up inputs have other names"
    )
    for spec in model.inputs:
        values = one.arrays[spec.name]
        ensure(len(values) == 5, f"made-up `{spec.name}` has {len(values)} rows for 5")
        text = spec.dtype == "str" and values.dtype.kind in "UO"
        ensure(text or values.dtype == spec.dtype, f"made-up `{spec.name}` is {values.dtype}")
        ensure(np.array_equal(values, two.arrays[spec.name]), "one seed made up different inputs")


def check_exporter(name: str, job: ExportJob, folder: Path) -> None:
    """Writes an export twice: the same bytes, all in its folder, and the bundle untouched."""
    check_import_is_light("exports", name)
    exporter = registry.get("exports", name)
    ensure(exporter.name == name, f"`name` is {exporter.name!r}, its entry point says {name!r}")
    unknown = exporter.requires - set(TRAITS)
    ensure(not unknown, f"unknown traits {sorted(unknown)}; the vocabulary is domain/traits.py")
    lacking = exporter.requires - job.model.traits
    ensure(not lacking, f"the model of this check lacks {sorted(lacking)}")
    for key, setting in exporter.settings.items():
        ensure(bool(setting.meaning.strip()), f"the setting `{key}` has no meaning")
        allowed = not setting.choices or setting.default in setting.choices
        ensure(allowed, f"the default of `{key}` is not one of its choices")
        ensure(key in job.settings, f"the job of this check lacks the setting `{key}`")
    before = _contents(Path(job.bundle))
    written = []
    for place in (folder / "first", folder / "second"):
        place.mkdir(parents=True)
        steps = exporter.write(job, place)
        ensure(bool(steps) and all(step.strip() for step in steps), "it tells no next step")
        written.append(_contents(place))
    ensure(bool(written[0]), "it wrote nothing")
    ensure(written[0] == written[1], "the same job gave different bytes")
    ensure(_contents(Path(job.bundle)) == before, "it changed the bundle")


def check_guardrail(
    name: str, model: Model, settings: Mapping[str, object], allowed: Batch, refused: Batch
) -> None:
    """Lets one request pass and refuses another, twice alike, with a reason, changing neither."""
    check_import_is_light("guardrails", name)
    guardrail = registry.get("guardrails", name)
    ensure(guardrail.name == name, f"`name` is {guardrail.name!r}, its entry point says {name!r}")
    before = {key: np.array(array) for key, array in refused.items()}
    reasons = set()
    for _ in range(2):
        check = guardrail.prepare(model, settings)
        ensure(check(allowed) is None, "it refuses the request that is allowed")
        refusal = check(refused)
        ensure(refusal is not None, "it lets the request pass that is to be refused")
        reasons.add((refusal.name, refusal.reason) if refusal is not None else ("", ""))
    ensure(len(reasons) == 1, f"the same request is refused for several reasons: {reasons}")
    told, reason = next(iter(reasons))
    ensure(told == name and bool(reason.strip()), "a refusal needs its guardrail and a reason")
    same = all(np.array_equal(before[key], array) for key, array in refused.items())
    ensure(same, "it changed the request")


def check_transformation(name: str, value: Any, settings: Settings | None = None) -> Any:
    """Changes one value of one row, the same way for one seed, and leaves the given one alone.

    Returns:
        The changed value.
    """
    check_import_is_light("transformations", name)
    plugin = registry.get("transformations", name)
    ensure(plugin.name == name, f"`name` is {plugin.name!r}, its entry point says {name!r}")
    defaults = {key: allowed.default for key, allowed in plugin.settings().items()}
    before = np.array(value, copy=True) if isinstance(value, np.ndarray) else value
    made = [
        plugin.apply(value, {**defaults, **(settings or {})}, np.random.default_rng(7))
        for _ in range(2)
    ]
    ensure(bool(np.array_equal(before, value)), "it changed the value that it was given")
    ensure(bool(np.array_equal(made[0], made[1])), "one seed gave two results")
    ensure(type(made[0]) is type(value), "it gave back a value of another kind")
    return made[0]


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
