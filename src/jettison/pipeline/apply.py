"""Carries out a recipe step by step in worker processes; finished steps are kept and reused."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from jettison import machine, registry, worker_client
from jettison.domain.device import ServingProfile
from jettison.domain.files import replace_folder, write_atomically
from jettison.domain.jobs import ApplyAnswer, ApplyJob, Ready, SessionJob
from jettison.domain.model import Artifact, Model
from jettison.domain.recipe import Candidate, Change, Recipe, Step
from jettison.domain.record import digest, from_json, to_json
from jettison.domain.splits import FittingData

STEP_FILE = "step.json"
MODEL_FOLDER = "model"
CACHE_FOLDER = "facts"


@dataclass(frozen=True, slots=True)
class Finished:
    """One step that was carried out, as kept on disk.

    Attributes:
        seconds: wall time with the start of the worker.
    """

    answer: ApplyAnswer
    seconds: float


@dataclass(frozen=True, slots=True)
class FirstRun:
    """How a built model behaved when it was loaded on its runtime for the first time."""

    ready: Ready
    seconds: float


def apply(
    model: Model, recipe: Recipe, fitting: FittingData, folder: Path, serving: ServingProfile
) -> Candidate:
    """Builds the model of a recipe, loads it on its runtime, and finds out what it is like.

    Args:
        model: the untouched model.
        recipe: what to do. A runtime without a name stands for the home of what comes out.
        fitting: calibration rows; also used to load and try the finished model.
        folder: where artifacts are kept, keyed by content; shared by all recipes of a run.
        serving: how the model will be served.

    Returns:
        The candidate. Its model has the trait `batch-dependent` if rows alone and together gave
        different answers (only looked at where the profile serves more than one row at once).

    Raises:
        CandidateFailed: if a step, or loading the result, fails; says why.
    """
    begun = time.monotonic()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    current, chosen, log, spent, editing = model, fitting, list[Change](), 0.0, 0.0
    for place in range(len(recipe.steps)):
        key = artifact_key(model, recipe.steps[: place + 1], fitting, serving)
        job = ApplyJob(current, recipe.steps[place], chosen, "", "", serving, model)
        finished = _kept(folder / key)
        if finished is None:
            finished = _carry_out(job, folder, key)
            editing += finished.answer.seconds - finished.answer.running_seconds
        current = finished.answer.model
        chosen = finished.answer.fitting or chosen
        log.extend(finished.answer.changes)
        spent += finished.seconds
    key = artifact_key(model, recipe.steps, fitting, serving)
    runtime = recipe.runtime
    if not runtime.name:
        runtime = Step(registry.home_runtime(current.traits).name)
    trial = _try_out(current, runtime, fitting, folder / key, serving)
    if trial.ready.batch_dependent:
        current = current.with_traits(add=frozenset({"batch-dependent"}), remove=frozenset())
    now = time.monotonic() - begun
    return Candidate(recipe, current, tuple(log), max(now, spent + trial.seconds), now, editing)


def artifact_key(
    model: Model, steps: tuple[Step, ...], fitting: FittingData, serving: ServingProfile
) -> str:
    """Gives the name under which the result of some steps is kept (DESIGN section 5, point 8)."""
    facts = {
        "model": model.artifact.digest,
        "encoder": model.encoder.digest,
        "reading": [model.prediction, model.task],
        "fitting": fitting.rows.digest,
        "fitting rows": fitting.rows.n,
        "fitting targets": fitting.target_digest,
        "fitting groups": fitting.group_digest,
        "seed": fitting.seed,
        "steps": [{"name": s.name, "settings": dict(s.settings)} for s in steps],
        "sources": [registry.source_digest("techniques", step.name) for step in steps],
        "packages": [registry.versions_of(registry.get("techniques", step.name)) for step in steps],
        "versions": {
            **machine.describe_device().versions,
            "jettison": metadata.version("jettison"),
        },
        "cpu": machine.describe_device().cpu_class,
        "serving": [list(serving.batch_sizes), serving.threads],
    }
    return digest(facts)[:32]


def _kept(place: Path) -> Finished | None:
    """Reads a finished step; removes it and gives `None` if its files are not what was recorded."""
    record = place / STEP_FILE
    if not record.exists():
        return None
    finished = from_json(Finished, record.read_bytes())
    artifact = finished.answer.model.artifact
    present = all((Path(artifact.folder) / name).is_file() for name in artifact.files)
    if present and Artifact.of(artifact.format, artifact.folder, artifact.files) == artifact:
        return finished
    shutil.rmtree(place)
    return None


def _carry_out(job: ApplyJob, folder: Path, key: str) -> Finished:
    """Runs one step beside its place, and renames it into place when it is whole."""
    begun = time.monotonic()
    for stale in folder.glob(".*.part"):
        _remove_if_left(stale)
    part = folder / f".{key}.{os.getpid()}.part"
    part.mkdir(parents=True)
    try:
        job = dataclasses.replace(
            job, folder=str(part / MODEL_FOLDER), cache=str(folder / CACHE_FOLDER)
        )
        answer = worker_client.run_apply(job)
        answer = dataclasses.replace(
            answer,
            model=_moved(answer.model, part, folder / key),
            fitting=_moved_rows(answer.fitting, part, folder / key),
        )
        finished = Finished(answer, time.monotonic() - begun)
        write_atomically(part / STEP_FILE, to_json(finished))
        replace_folder(part, folder / key)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return finished


def _remove_if_left(part: Path) -> None:
    """Removes what a run that was killed has left."""
    owner = int(part.name.split(".")[-2])
    if owner == os.getpid() or not psutil.pid_exists(owner):
        shutil.rmtree(part, ignore_errors=True)


def _moved(model: Model, old: Path, new: Path) -> Model:
    """The same model after its folder was renamed; an encoder that lies in it moves along."""
    artifact = dataclasses.replace(model.artifact, folder=_under(model.artifact.folder, old, new))
    encoder = dataclasses.replace(model.encoder, folder=_under(model.encoder.folder, old, new))
    return dataclasses.replace(model, artifact=artifact, encoder=encoder)


def _moved_rows(fitting: FittingData | None, old: Path, new: Path) -> FittingData | None:
    """The same fitting rows after their folder was renamed."""
    if fitting is None:
        return None
    rows = dataclasses.replace(fitting.rows, folder=_under(fitting.rows.folder, old, new))
    return dataclasses.replace(fitting, rows=rows)


def _under(folder: str, old: Path, new: Path) -> str:
    if folder and Path(folder).is_relative_to(old):
        return str(new / Path(folder).relative_to(old))
    return folder


def _try_out(
    model: Model, runtime: Step, fitting: FittingData, place: Path, serving: ServingProfile
) -> FirstRun:
    """Loads a finished model on its runtime in a worker, once per artifact and runtime."""
    record = place / f"ready-{digest(runtime)[:16]}.json"
    if record.exists():
        return from_json(FirstRun, record.read_bytes())
    begun = time.monotonic()
    job = SessionJob(model, runtime, fitting.rows, serving, inspect=True)
    with worker_client.WorkerSession(job, place / "log") as session:
        trial = FirstRun(session.ready, time.monotonic() - begun)
    write_atomically(record, to_json(trial))
    return trial
