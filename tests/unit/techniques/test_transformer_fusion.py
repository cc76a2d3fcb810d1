"""Fusion of attention: the answers stay, whatever the mask; what is not attention is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Source
from jettison.domain.model import Artifact, Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged
from jettison.graphs.onnx_fusion import find_attention
from jettison.graphs.onnx_graph import traits_of
from jettison.testing import contracts
from jettison.worker.workbench import Bench

pytest.importorskip("torch")
pytest.importorskip("transformers")
FUSION = registry.get("techniques", "transformer_fusion")

WriteRows = Callable[[Encoded, Path], Rows]


def bench(folder: Path) -> Bench:
    folder.mkdir(parents=True)
    return Bench(folder, folder.parent / "cache", machine.describe_device(), ServingProfile())


def exported(folder: Path, root: Path, write_rows: WriteRows) -> tuple[Model, FittingData]:
    model = registry.get("loaders", "huggingface").load(Source(str(folder)), root / "loaded")
    made = registry.get("encoders", "tokenizer").made_up(model.encoder, model, 6, seed=0)
    fitting = FittingData(write_rows(made, root / "rows"))
    export = registry.get("techniques", "export_onnx")
    return export.apply(model, {}, fitting, bench(root / "exported")).model, fitting


@pytest.fixture(scope="module")
def tiny(
    tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows
) -> tuple[Model, FittingData]:
    return exported(tiny_classifier, tmp_path_factory.mktemp("tiny"), write_rows)


def awkward_batch(rows: int, length: int, vocabulary: int) -> dict[str, Array]:
    """Whole rows, rows padded right, left and in between, and a second segment."""
    ids = np.random.default_rng(2).integers(4, vocabulary, (rows, length))
    mask = np.ones_like(ids)
    mask[1, length // 2 :] = 0
    mask[2, 1:] = 0
    mask[3, : length // 3] = 0
    mask[4, ::3] = 0
    segments = np.zeros_like(ids)
    segments[:, length // 2 :] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def operators(model: Model) -> Counter[str]:
    graph = onnx.load(str(model.artifact.path), load_external_data=False)
    return Counter(node.op_type for node in graph.graph.node)


def test_answers_stay(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """Alone and together, padded on any side, each row is answered as before."""
    model, fitting = tiny
    fused = FUSION.apply(model, {}, fitting, bench(tmp_path / "out")).model
    before, after = bench(tmp_path / "a").runner(model), bench(tmp_path / "b").runner(fused)
    batch = awkward_batch(6, 20, 40)
    expected = before.run(batch)["logits"]
    np.testing.assert_allclose(after.run(batch)["logits"], expected, atol=1e-4)
    for row in range(6):
        alone = {name: array[row : row + 1] for name, array in batch.items()}
        np.testing.assert_allclose(after.run(alone)["logits"][0], expected[row], atol=1e-4)


def test_what_is_told(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """Each operator that was written is counted; traits are those of the new graph."""
    model, fitting = tiny
    applied = FUSION.apply(model, {}, fitting, bench(tmp_path / "out"))
    found = operators(applied.model)
    assert (found["Attention"], found["SkipLayerNormalization"], found["BiasGelu"]) == (2, 4, 2)
    assert found["Softmax"] == 0
    for told in ("2 Attention", "4 SkipLayerNormalization", "1 EmbedLayerNormalization"):
        assert told in applied.changes[0].what
    assert applied.changes[0].operators == 2 + 4 + 1 + 2
    assert applied.model.traits == traits_of(applied.model.artifact.path)
    assert "attention" not in applied.model.traits
    assert "standard-operators" not in applied.model.traits
    assert (applied.model.inputs, applied.model.outputs) == (model.inputs, model.outputs)


@pytest.mark.slow
def test_promises(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """The technique passes the suite of every technique, through worker processes."""
    model, fitting = tiny
    contracts.check_technique("transformer_fusion", model, fitting, tmp_path / "contract")


def test_weights_beside_the_graph(
    tiny: tuple[Model, FittingData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph with a data file is fused to the same answers, and all its weights stay there."""
    from jettison.graphs import onnx_fusion, onnx_storage

    model, fitting = tiny
    plain = FUSION.apply(model, {}, fitting, bench(tmp_path / "plain")).model
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 1000)
    # So small a model has tables and matrices to leave on disk only with a small limit.
    monkeypatch.setattr(onnx_fusion, "SMALL", 256)
    graph = onnx.load(str(model.artifact.path))
    files = onnx_storage.save_model(graph, tmp_path / "large")
    assert len(files) == 2
    large = dataclasses.replace(model, artifact=Artifact.of("onnx_file", tmp_path / "large", files))
    fused = FUSION.apply(large, {}, fitting, bench(tmp_path / "out")).model
    assert fused.artifact.files == ("model.onnx", "model.onnx.data")
    light = onnx.load(str(fused.artifact.path), load_external_data=False)
    inline = [t.name for t in light.graph.initializer if len(t.raw_data) >= onnx_fusion.HEAVY]
    assert inline == []
    batch = awkward_batch(6, 20, 40)
    np.testing.assert_array_equal(
        bench(tmp_path / "b").runner(fused).run(batch)["logits"],
        bench(tmp_path / "a").runner(plain).run(batch)["logits"],
    )


def test_nothing_to_fuse(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """A graph without attention is refused with what would be needed."""
    model, fitting = tiny
    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "plain",
        [helper.make_tensor_value_info("x", kind, ["batch", 4])],
        [helper.make_tensor_value_info("y", kind, ["batch", 4])],
        [weight],
    )
    artifact = registry.get("formats", "onnx_file").save(helper.make_model(graph), tmp_path / "m")
    plain = dataclasses.replace(model, artifact=artifact)
    with pytest.raises(NothingChanged, match=r"no attention .* export the model with"):
        FUSION.apply(plain, {}, fitting, bench(tmp_path / "out"))


def test_fused_twice(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """What is fused already has no attention left to fuse."""
    model, fitting = tiny
    fused = FUSION.apply(model, {}, fitting, bench(tmp_path / "out")).model
    with pytest.raises(NothingChanged):
        FUSION.apply(fused, {}, fitting, bench(tmp_path / "again"))


def test_heads_are_read_from_the_graph(tiny: tuple[Model, FittingData]) -> None:
    """Width, heads and the six projections of two layers are found without a config."""
    found = find_attention(onnx.load(str(tiny[0].artifact.path)))
    assert (found.hidden, found.heads, len(found.projections)) == (32, 4, 6)
    assert all("attention.self" in name for name in found.projections)


def test_needs_no_torch(tiny: tuple[Model, FittingData], tmp_path: Path) -> None:
    """Fusing works in a process that never imports PyTorch."""
    code = (
        "import sys; from pathlib import Path; from jettison.graphs.onnx_fusion import fuse;"
        f"fuse(Path({str(tiny[0].artifact.path)!r}));"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
