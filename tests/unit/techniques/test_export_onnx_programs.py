"""Export of PyTorch programs: images with a free batch, ids with a free length, both proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Source
from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.worker.workbench import Bench
from tests.conftest import write_rows

EXPORT = registry.get("techniques", "export_onnx")
MODELS = Path(__file__).resolve().parents[1] / "graphs" / "torch_models.py"


def bench(folder: Path) -> Bench:
    folder.mkdir()
    serving = ServingProfile((1, 5), (0.5, 0.5))
    return Bench(folder, folder.parent / "cache", machine.describe_device(), serving)


def exported(name: str, inputs: str, rows: dict[str, Array], folder: Path) -> tuple[Model, Model]:
    """A model and its graph."""
    source = Source(f"{MODELS}:{name}", "classification", {"inputs": inputs})
    original = registry.get("loaders", "pytorch").load(source, folder / "loaded")
    fitting = FittingData(write_rows(Encoded(rows), folder / "rows"))
    return original, EXPORT.apply(original, {}, fitting, bench(folder / "out")).model


def same(original: Model, graph: Model, folder: Path, rows: dict[str, Array]) -> None:
    runners = [bench(folder / name).runner(m) for name, m in (("a", original), ("b", graph))]
    first, second = (runner.run(rows) for runner in runners)
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=1e-4, atol=1e-5)


def test_images(tmp_path: Path) -> None:
    """Convolution and BatchNorm keep their weights' names, and any batch gives PyTorch's answer."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((6, 3, 32, 32)).astype(np.float32)
    original, graph = exported(
        "Conv", "image: float32[batch, 3, 32, 32]", {"image": image}, tmp_path
    )
    assert {"onnx", "convolution", "matmul", "float32"} <= graph.traits
    assert not {"torch", "dense"} & graph.traits
    proto = onnx.load(str(graph.artifact.path))
    assert {"conv.weight", "norm.running_var", "head.bias"} <= {
        t.name for t in proto.graph.initializer
    }
    same(original, graph, tmp_path, {"image": np.resize(image, (11, 3, 32, 32))})


def test_ids_of_any_length(tmp_path: Path) -> None:
    """Sizes are followed through reshapes and slices, and all outputs agree."""
    ids = np.random.default_rng(0).integers(0, 50, (6, 12))
    original, graph = exported("Tied", "ids: int64[batch, length]", {"ids": ids}, tmp_path)
    assert graph.outputs == (
        TensorSpec("scores", "float32", ("batch", 50)),
        TensorSpec("pooled", "float32", ("batch", 8)),
    )
    same(original, graph, tmp_path, {"ids": np.resize(ids, (3, 31))})
