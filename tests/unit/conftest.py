"""Small real ONNX models, their rows, and plug-ins that only a test installs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Rows

FEATURES = 16
CLASSES = 4

PLUGINS = Path(__file__).parent / "worker" / "plugins"


def write_network(path: Path, hidden: int = 32, batch: int | str = "batch", seed: int = 0) -> None:
    """Writes a network of two dense layers with a softmax, random weights."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(size=(FEATURES, hidden)).astype(np.float32),
        "b1": rng.normal(size=hidden).astype(np.float32),
        "w2": rng.normal(size=(hidden, CLASSES)).astype(np.float32) * 0.2,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h0"], name="first"),
        helper.make_node("Add", ["h0", "b1"], ["h1"], name="shift"),
        helper.make_node("Relu", ["h1"], ["h2"], name="bend"),
        helper.make_node("MatMul", ["h2", "w2"], ["logits"], name="second"),
        helper.make_node("Softmax", ["logits"], ["scores"], name="softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, FEATURES])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def describe(path: Path, traits: frozenset[str], batch: int | str = "batch") -> Model:
    """Describes such a network as a loader does."""
    return Model(
        artifact=Artifact.of("onnx_file", path.parent, (path.name,)),
        traits=frozenset({"onnx", "standard-operators"}) | traits,
        inputs=(TensorSpec("x", "float32", (batch, FEATURES)),),
        outputs=(TensorSpec("scores", "float32", (batch, CLASSES)),),
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays", labels=("a", "b", "c", "d"), digest="arrays"),
    )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: two threads on shared cores wait for each other."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def serving() -> ServingProfile:
    """One thread, rows alone and eight at a time."""
    return ServingProfile((1, 8), (0.5, 0.5))


@pytest.fixture
def network(tmp_path: Path) -> Model:
    """A float32 network with a free batch dimension."""
    path = tmp_path / "network" / "model.onnx"
    write_network(path)
    return describe(path, frozenset({"float32", "matmul"}))


@pytest.fixture
def make_network(tmp_path: Path) -> Callable[..., Model]:
    """Makes such a network of another width, batch size or seed."""

    def make(hidden: int = 32, batch: int | str = "batch", seed: int = 0) -> Model:
        path = tmp_path / f"network-{hidden}-{batch}-{seed}" / "model.onnx"
        write_network(path, hidden, batch, seed)
        fixed = {"fixed-batch"} if isinstance(batch, int) else set()
        return describe(path, frozenset({"float32", "matmul", *fixed}), batch)

    return make


@pytest.fixture
def dynamic_int8(network: Model, tmp_path: Path) -> Model:
    """The network after ONNX Runtime's dynamic quantization: activation ranges per batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = tmp_path / "dynamic" / "model.onnx"
    path.parent.mkdir()
    quantize_dynamic(network.artifact.path, path, weight_type=QuantType.QInt8)
    return describe(path, frozenset({"int8", "matmul"}))


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """64 rows of very different sizes, so that a range over a batch is not that of one row."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(64, FEATURES)) * np.geomspace(0.1, 3.0, 64)[:, None]
    return save_rows(tmp_path / "rows", values.astype(np.float32))


def save_rows(folder: Path, values: np.ndarray) -> Rows:
    """Writes rows of the input `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "x.npy", values)
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return Rows(str(folder), ("x",), len(values), digest=digest)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the plug-ins under `worker/plugins` for the workers that the test starts."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    return PLUGINS
