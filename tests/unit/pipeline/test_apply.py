"""Carrying out recipes: artifacts are kept, checked, and never half written."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.record import to_json
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.pipeline.apply import apply, artifact_key

ORT = Step("onnx_runtime")
DYNAMIC = Recipe((Step("int8_dynamic"),), ORT)


def test_an_empty_recipe_is_the_model_itself(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Runtime only: nothing is changed, but the model was loaded and run."""
    candidate = apply(network, Recipe((), ORT), FittingData(rows), tmp_path, serving)
    assert candidate.model == network
    assert candidate.log == ()
    assert candidate.seconds > 0


def test_batch_dependence_is_found_by_running(
    dynamic_int8: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """A model whose answers depend on the batch gets the trait, whatever made it so."""
    candidate = apply(dynamic_int8, Recipe((), ORT), FittingData(rows), tmp_path, serving)
    assert "batch-dependent" in candidate.model.traits


def test_a_step_is_carried_out_once(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """The second time, the kept artifact is used: no file in it is written again."""
    first = apply(network, DYNAMIC, FittingData(rows), tmp_path, serving)
    written = first.model.artifact.path.stat().st_mtime_ns
    second = apply(network, DYNAMIC, FittingData(rows), tmp_path, serving)
    assert second.model == first.model
    assert second.log == first.log
    assert 0 < first.editing_seconds < first.spent_seconds
    assert second.editing_seconds == 0
    assert second.model.artifact.path.stat().st_mtime_ns == written
    assert "int8" in first.model.traits


def test_a_damaged_artifact_is_made_again(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Kept files are checked against their digest before they are used."""
    first = apply(network, DYNAMIC, FittingData(rows), tmp_path, serving)
    path = first.model.artifact.path
    path.write_bytes(b"\0" * path.stat().st_size)
    second = apply(network, DYNAMIC, FittingData(rows), tmp_path, serving)
    assert second.model.artifact.digest == first.model.artifact.digest
    assert path.read_bytes().strip(b"\0")


def test_another_version_of_a_package_is_another_artifact(
    network: Model, rows: Rows, serving: ServingProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a technique declares in `packages` belongs to the key, whosever technique it is."""
    before = artifact_key(network, DYNAMIC.steps, FittingData(rows), serving)
    held = registry.versions_of(registry.get("techniques", "int8_dynamic"))
    assert held["onnxruntime"] == f"onnxruntime {metadata.version('onnxruntime')}"
    later = {name: f"{version}.post1" for name, version in held.items()}
    monkeypatch.setattr(registry, "versions_of", lambda plugin: later)
    assert artifact_key(network, DYNAMIC.steps, FittingData(rows), serving) != before


def test_the_key_covers_what_the_result_depends_on(
    network: Model, dynamic_int8: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Another model, output, setting, seed or set of rows is another artifact."""
    base = artifact_key(network, DYNAMIC.steps, FittingData(rows), serving)
    other_rows = Rows(rows.folder, rows.names, rows.n, digest="other")
    keys = {
        base,
        artifact_key(dynamic_int8, DYNAMIC.steps, FittingData(rows), serving),
        artifact_key(
            network, (Step("int8_dynamic", {"per_channel": True}),), FittingData(rows), serving
        ),
        artifact_key(network, DYNAMIC.steps, FittingData(rows, seed=1), serving),
        artifact_key(network, DYNAMIC.steps, FittingData(other_rows), serving),
        artifact_key(network, (), FittingData(rows), serving),
        artifact_key(
            dataclasses.replace(network, prediction="another output"),
            DYNAMIC.steps,
            FittingData(rows),
            serving,
        ),
    }
    assert len(keys) == 7
    assert artifact_key(network, DYNAMIC.steps, FittingData(rows), serving) == base


APPLY = """
import json, sys
from pathlib import Path
from jettison.domain.jobs import SessionJob
from jettison.domain.record import from_json
from jettison.domain.recipe import Recipe, Step
from jettison.domain.splits import FittingData
from jettison.pipeline.apply import apply

job = from_json(SessionJob, Path(sys.argv[1]).read_bytes())
recipe = Recipe((Step("int8_dynamic"),), job.runtime)
apply(job.model, recipe, FittingData(job.rows), Path(sys.argv[2]), job.serving)
"""


def test_a_kill_leaves_no_half_artifact(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Killed in the middle of a step, the run leaves nothing that a later run takes for whole."""
    from jettison.domain.jobs import SessionJob

    job, artifacts = tmp_path / "job.json", tmp_path / "artifacts"
    job.write_text(to_json(SessionJob(network, ORT, rows, serving)))
    with subprocess.Popen([sys.executable, "-c", APPLY, str(job), str(artifacts)]) as run:
        deadline = time.monotonic() + 60
        while not list(artifacts.glob(".*.part")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
    finished = list(artifacts.glob("[!.]*/step.json"))
    assert finished == []
    candidate = apply(network, DYNAMIC, FittingData(rows), artifacts, serving)
    assert candidate.model.artifact.path.is_file()
    assert list(artifacts.glob(".*.part")) == []
    kept = json.loads((Path(candidate.model.artifact.folder).parent / "step.json").read_text())
    assert kept["answer"]["model"]["artifact"]["digest"] == candidate.model.artifact.digest


def test_a_failed_step_leaves_nothing(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """A technique that refuses the model leaves no folder behind."""
    recipe = Recipe((Step("transformer_fusion"),), ORT)
    with pytest.raises(CandidateFailed):
        apply(network, recipe, FittingData(rows), tmp_path / "artifacts", serving)
    left = [p for p in (tmp_path / "artifacts").iterdir() if p.name != "facts"]
    assert left == []


def test_the_original_is_not_touched(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Applying a technique changes neither the caller's model nor its rows."""
    model_bytes, values = network.artifact.path.read_bytes(), np.array(rows.column("x"))
    apply(network, DYNAMIC, FittingData(rows), tmp_path, serving)
    assert network.artifact.path.read_bytes() == model_bytes
    np.testing.assert_array_equal(rows.column("x"), values)
