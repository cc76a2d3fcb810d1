"""ResNet-20 all the way: a function, weights, JPEG bytes; profiled, planned, exported, compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jettison import config, preparation, registry, worker_client
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import SessionJob
from jettison.domain.model import Model
from jettison.domain.progress import Silent
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Rows

pytest.importorskip("torch")
pytest.importorskip("PIL")
pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cifar_resnet.py"
ROWS = 240


def photographs(shared_data: Path, target: Path) -> Path:
    """A part of the CIFAR-10 test images as they are: JPEG bytes and labels."""
    import pyarrow.parquet as pq

    with np.load(shared_data / "vision" / "cifar10-jpeg-test.npz") as held:
        chosen = np.random.default_rng(0).permutation(10_000)[:ROWS]
        starts = held["offsets"]
        files = [held["jpeg"][starts[i] : starts[i + 1]].tobytes() for i in chosen]
        labels = held["y"][chosen].astype(np.int64)
    pq.write_table(pa.table({"image": pa.array(files, pa.binary()), "label": labels}), target)
    return target


@pytest.fixture
def configuration(shared_data: Path, tmp_path: Path) -> Path:
    """A jettison.toml as a user would write it."""
    photographs(shared_data, tmp_path / "photos.parquet")
    weights = shared_data / "models" / "resnet20-cifar10-chita.safetensors"
    path = tmp_path / "jettison.toml"
    path.write_text(
        f"""
output = "run"
[model]
source = {json.dumps(f"{EXAMPLE}:resnet20")}
weights = {json.dumps(str(weights))}
inputs = ["image: float32[batch, 3, 32, 32]"]
[image]
mean = [0.5]
std = [0.5]
[data]
source = "photos.parquet"
target = "label"
[search]
techniques = ["export_onnx"]
[serving]
batch_sizes = [1, 8]
[[require]]
max_drop = 0.02
"""
    )
    return path


def scores(model: Model, rows: Rows, folder: Path) -> Array:
    folder.mkdir(parents=True)
    runtime = registry.home_runtime(model.traits)
    job = SessionJob(model, Step(runtime.name), rows, ServingProfile())
    with worker_client.WorkerSession(job, folder) as session:
        scored = session.score(rows, folder / "scored", 8)
    return np.asarray(np.load(Path(scored.folder) / f"{model.prediction}.npy", allow_pickle=False))


def test_plan_and_answers(configuration: Path, tmp_path: Path) -> None:
    """The plan crosses to ONNX, whose answers are PyTorch's, and both classify photographs."""
    asked = config.read_configuration(configuration, registry.all_names())
    prepared = preparation.prepare(asked, Silent())
    model = prepared.model
    assert model.task == "classification"
    assert {"torch", "float32", "dense", "convolution", "matmul"} <= model.traits
    assert model.encoder.kind == "image"
    assert {cost.operator for cost in prepared.profile.layers} >= {"Conv2d", "BatchNorm2d"}
    assert [start.techniques for start in prepared.starts] == [(), ("export_onnx",)]
    assert ("export_onnx",) in {route.techniques for route in prepared.space.routes}
    selection = prepared.splits.selection
    assert selection is not None
    expected = scores(model, selection.rows, tmp_path / "torch")
    found = scores(prepared.starts[1].model, selection.rows, tmp_path / "onnx")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert (expected.argmax(1) == selection.labels.targets).mean() > 0.6


def test_the_command(configuration: Path) -> None:
    """`jettison profile` shows the layers of the network by their names."""
    done = subprocess.run(
        [sys.executable, "-m", "jettison", "profile", str(configuration)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "layer3.2.conv2" in done.stdout
    assert "Conv2d" in done.stdout
