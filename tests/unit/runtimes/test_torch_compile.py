"""The compiling torch runtime: same answers, free sizes, its files and its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import ImageSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import SessionJob
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.errors import CandidateFailed, MissingDependency
from jettison.graphs.torch_compiling import CACHE, absent_compiler
from jettison.pipeline.load import load_model
from jettison.worker_client import WorkerSession

NETWORKS = Path(__file__).resolve().parents[1] / "graphs" / "torch_models.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small convolutional network that takes images."""
    pytest.importorskip("torch")
    section = ModelSection(f"{NETWORKS}:Conv", inputs=("image: float32[batch, 3, 32, 32]",))
    return load_model(section, tmp_path_factory.mktemp("model"), tables={"image": ImageSection()})


@pytest.fixture(scope="module")
def rows(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder = tmp_path_factory.mktemp("rows")
    images = np.random.default_rng(0).standard_normal((7, 3, 32, 32)).astype(np.float32)
    np.save(folder / "image.npy", images)
    return Rows(str(folder), ("image",), 7, {}, "images")


@pytest.mark.slow
@pytest.mark.skipif(bool(absent_compiler()), reason=absent_compiler())
def test_compiled_answers(model: Model, rows: Rows, tmp_path: Path) -> None:
    """At every batch size it answers as PyTorch does; compiling is load time, also from a cache,
    and its files lie in the folder of the run.
    """
    serving = ServingProfile((1, 4), (0.5, 0.5))
    found = {}
    loads = []
    for place, runtime in enumerate(("torch_eager", "torch_compile", "torch_compile")):
        job = SessionJob(model, Step(runtime), rows, serving, inspect=True)
        with WorkerSession(job, tmp_path / "run") as session:
            ready = session.ready
            for size in (1, 3, 7):
                folder = tmp_path / f"{place}-{size}"
                scored = session.score(rows, folder, size)
                found[place, size] = np.load(scored.file("output"))
        loads.append(ready.load_seconds)
        assert ready.load_seconds > ready.first_call_seconds or runtime == "torch_eager"
    for key, answer in found.items():
        np.testing.assert_allclose(answer, found[0, 1], atol=1e-5, err_msg=str(key))
    assert ready.providers == {"torch-inductor-cpu": ready.providers["torch-inductor-cpu"]}
    told = list((tmp_path / "run" / "torch-compile").glob("seconds-*.json"))
    assert len(told) == 1
    assert loads[2] >= json.loads(told[0].read_text())


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a C++ compiler the plan leaves it out with one sentence that says what to do."""
    runtime = registry.get("runtimes", "torch_compile")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no C++ compiler" in registry.hindrance(runtime)
    assert not registry.hindrance(registry.get("runtimes", "torch_eager"))
    with pytest.raises(MissingDependency, match="apt-get install g"):
        registry.require_packages(runtime)
    compiler = tmp_path / "mine"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", "mine")
    assert registry.hindrance(runtime) == ""
    monkeypatch.setenv("CXX", "absent")
    assert "`absent`" in registry.hindrance(runtime)


def test_a_compiler_that_fails(
    model: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that only fails is one refusal, not a traceback or a slower model."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    job = SessionJob(model, Step("torch_compile"), rows, ServingProfile())
    with pytest.raises(CandidateFailed, match=r"torch\.compile could not compile this model"):
        WorkerSession(job, tmp_path / "run")


def test_unknown_setting(model: Model) -> None:
    """A setting that it doesn't have is refused with those that it has."""
    runtime = registry.get("runtimes", "torch_compile")
    with pytest.raises(CandidateFailed, match=r"no setting `mode` .*`freezing`"):
        runtime.prepare(model, None, {"mode": "max-autotune"}, ServingProfile())


def test_own_folder(model: Model, tmp_path: Path) -> None:
    """A process that was given no folder compiles in one that is gone afterwards."""
    code = (
        "import os, sys, pathlib\n"
        "from jettison.graphs import torch_compiling as c\n"
        "class Owner: pass\n"
        "owner = Owner()\n"
        "place = c._cache_folder(owner)\n"
        "assert place.is_dir() and os.environ[c.CACHE] == str(place)\n"
        "del owner\n"
        "assert not place.exists() and c.CACHE not in os.environ\n"
    )
    # A test before this one may have left its own folder in the environment.
    clean = {name: value for name, value in os.environ.items() if name != CACHE}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean)
