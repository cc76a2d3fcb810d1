"""One-shot jobs: load, apply, profile. A record in, a record out, both as JSON files."""

from __future__ import annotations

import ctypes
import gc
import importlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jettison import machine, registry
from jettison.domain.extension_points import Applied, Source, Technique
from jettison.domain.files import write_atomically
from jettison.domain.jobs import (
    ApplyAnswer,
    ApplyJob,
    AttributeJob,
    Failure,
    LoadJob,
    ProfileJob,
    RatesJob,
)
from jettison.domain.model import Artifact, Model
from jettison.domain.record import from_json, to_json
from jettison.domain.running_time import counted
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.worker.attributing import attribute
from jettison.worker.equality import check_same_answers
from jettison.worker.profiling import profile
from jettison.worker.rates import measure
from jettison.worker.workbench import Bench


def answer_job(kind: str, job: Path, answer: Path) -> None:
    """Does the job and writes the answer, or a `Failure` with the reason.

    Raises:
        Exception: whatever the job raised, after the `Failure` was written, so that the log
            holds the traceback and the exit code is not 0.
    """
    handlers: dict[str, Callable[[bytes], Any]] = {
        "load": lambda text: load(from_json(LoadJob, text)),
        "apply": lambda text: apply(from_json(ApplyJob, text)),
        "profile": lambda text: profile(from_json(ProfileJob, text)),
        "rates": lambda text: measure(from_json(RatesJob, text)),
        "attribute": lambda text: attribute(from_json(AttributeJob, text)),
    }
    try:
        result = handlers[kind](job.read_bytes())
    except Exception as error:
        write_atomically(answer, to_json(failure_of(error)))
        raise
    write_atomically(answer, to_json(result))


def failure_of(error: Exception) -> Failure:
    """Describes an exception for the parent."""
    return Failure(type(error).__name__, str(error), traceback.format_exc())


def load(job: LoadJob) -> Model:
    """Loads a source with a registered loader."""
    source = Source(job.location, job.task, job.options)
    return registry.get("loaders", job.loader).load(source, Path(job.folder))


def apply(job: ApplyJob) -> ApplyAnswer:
    """Applies one step, and checks that the technique did what it says it does.

    Raises:
        NothingChanged: if no operator, weight or byte changed.
        CandidateFailed: if the answers of a conversion differ, or the traits are not as declared.
    """
    technique = registry.get("techniques", job.step.name)
    registry.require_packages(technique)
    for package in technique.packages:
        importlib.import_module(package)
    base = machine.memory_bytes()
    folder, cache = Path(job.folder), Path(job.cache)
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, cache, machine.describe_device(), job.serving, job.original)
    begun = time.monotonic()
    with counted() as ran:
        applied = technique.apply(job.model, job.step.settings, job.fitting, bench)
    seconds = time.monotonic() - begun
    if applied.fitting is not None and applied.model == job.model:
        _check_other_rows(technique, job.fitting, applied.fitting, folder)
    else:
        _check_declared(technique, applied, folder)
        _check_changed(technique, job.model, applied)
    if technique.conversion:
        _return_memory()
        check_same_answers(job.model, applied.model, job.fitting.rows, bench)
    peak = machine.peak_memory_bytes()
    return ApplyAnswer(
        applied.model, tuple(applied.changes), seconds, peak, base, ran.seconds, applied.fitting
    )


def _return_memory() -> None:
    """Gives freed memory back to the system, so that a check does not come on top of it.

    glibc keeps what lies between pieces still in use: after fusing a 268 MB graph, 250 MB.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _check_declared(technique: Technique, applied: Applied, folder: Path) -> None:
    """Checks traits and files against what the technique declares."""
    traits = applied.model.traits
    absent, left = technique.adds - traits, technique.removes & traits
    if absent or left:
        raise CandidateFailed(
            f"the technique `{technique.name}` gave a model with traits {sorted(traits)}; it "
            f"declares adds={sorted(technique.adds)} and removes={sorted(technique.removes)}. "
            "This is a fault of the technique: set both on `Applied.model`"
        )
    artifact = applied.model.artifact
    if not Path(artifact.folder).is_relative_to(folder.resolve()):
        raise CandidateFailed(
            f"the technique `{technique.name}` saved its model in {artifact.folder}, outside "
            f"the folder of its step ({folder}); it must save with `bench.save`"
        )
    seen = Artifact.of(artifact.format, artifact.folder, artifact.files)
    if seen.digest != artifact.digest:
        raise CandidateFailed(
            f"the technique `{technique.name}` changed {artifact.path} after it was described "
            f"(digest {artifact.digest[:12]}, now {seen.digest[:12]})"
        )


def _check_other_rows(
    technique: Technique, before: FittingData, after: FittingData, folder: Path
) -> None:
    """Refuses a choice of the same rows, and rows outside the folder of the step."""
    if after.rows.digest == before.rows.digest:
        raise NothingChanged(f"`{technique.name}` chose the same fitting rows")
    if not Path(after.rows.folder).is_relative_to(folder.resolve()):
        raise CandidateFailed(
            f"the technique `{technique.name}` wrote fitting rows in {after.rows.folder}, outside "
            f"the folder of its step ({folder}); it must write into `bench.folder`"
        )


def _check_changed(technique: Technique, before: Model, applied: Applied) -> None:
    """Refuses a step that did nothing: its gain would be noise."""
    if applied.model.artifact.digest == before.artifact.digest:
        raise NothingChanged(f"`{technique.name}` gave back the same bytes")
    counted = any(change.operators or change.weights for change in applied.changes)
    if not technique.conversion and not counted:
        raise NothingChanged(f"`{technique.name}` changed no operator and no weight of this model")
