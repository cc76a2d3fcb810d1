"""Small real ONNX graphs, their rows and a bench for tests of 8-bit and 16-bit techniques."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.formats.onnx_file import OnnxFile
from jettison.graphs.onnx_graph import tensor_specs, traits_of
from jettison.worker.workbench import Bench

BuildGraph = Callable[..., Path]
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def build_graph(tmp_path: Path) -> BuildGraph:
    """Writes a graph: nodes as (operator, inputs, outputs, attributes), weights by name."""
    import onnx

    def build(
        nodes: Sequence[Any],
        weights: dict[str, Array],
        shape: Sequence[int | str] = ("batch", 16),
        *,
        opset: int = 17,
        kind: int = 1,
        rank: int = 2,
    ) -> Path:
        made = [
            node
            if isinstance(node, onnx.NodeProto)
            else onnx.helper.make_node(node[0], node[1], node[2], **(node[3] if node[3:] else {}))
            for node in nodes
        ]
        free = ["batch", *(f"d{i}" for i in range(1, rank))]
        graph = onnx.helper.make_graph(
            made,
            "graph",
            [onnx.helper.make_tensor_value_info("x", kind, list(shape))],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, free)],
            [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
        )
        opsets = [onnx.helper.make_opsetid("", opset)]
        path = tmp_path / f"source-{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path

    return build


@pytest.fixture
def load_graph(tmp_path: Path) -> Callable[[Path], Model]:
    """Describes an ONNX file as the loader does."""

    def load(path: Path) -> Model:
        artifact = OnnxFile().save(path, tmp_path / f"model-{path.stem}")
        inputs, outputs = tensor_specs(artifact.path)
        traits = traits_of(artifact.path)
        encoder = Encoder.of("arrays", {})
        return Model(artifact, traits, inputs, outputs, outputs[0].name, "classification", encoder)

    return load


@pytest.fixture
def fitting_of(tmp_path: Path) -> Callable[..., FittingData]:
    """Writes calibration rows of one input."""

    def fitting(values: Array, name: str = "x") -> FittingData:
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        folder = tmp_path / f"rows-{digest[:8]}"
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{name}.npy", values)
        return FittingData(Rows(str(folder), (name,), len(values), digest=digest))

    return fitting


@pytest.fixture
def bench_in(tmp_path: Path) -> Callable[[str], Bench]:
    """A bench with a folder of its own and one cache for all."""

    def bench(name: str) -> Bench:
        folder, cache = tmp_path / "benches" / name, tmp_path / "cache"
        folder.mkdir(parents=True)
        cache.mkdir(exist_ok=True)
        return Bench(folder, cache, machine.describe_device(), ServingProfile())

    return bench


@pytest.fixture(scope="module")
def mnist(shared_data: Path) -> dict[str, Array]:
    """Digits of MNIST, and their images as MLPNet reads them."""
    with np.load(shared_data / "vision" / "mnist.npz") as stored:
        found = {name: stored[name] for name in stored.files}
    for name in ("x_train", "x_test"):
        found[name] = ((found[name].astype(np.float32) / 255) - 0.1307) / 0.3081
    return found


@pytest.fixture(scope="module")
def mlpnet(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """MLPNet with the weights of the paper."""
    from jettison.domain.extension_points import Source
    from jettison.loaders.pytorch import PytorchLoader

    options = {
        "weights": str(shared_data / "models" / "mlpnet-mnist-chita.safetensors"),
        "inputs": "image: float32[batch, 28, 28]",
    }
    source = Source(f"{EXAMPLES / 'mnist_mlp.py'}:mlpnet", "classification", options)
    return PytorchLoader().load(source, tmp_path_factory.mktemp("mlpnet"))
