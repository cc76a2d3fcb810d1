"""Sizes in sparse storage and compressed, for files of PyTorch, ONNX and OpenVINO."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.model import Artifact, Model
from jettison.errors import ModelError
from jettison.graphs.stored_weights import stored_tensors
from jettison.metrics.memory import SizeBytes
from jettison.metrics.packed_size import CompressedSizeBytes, SparseSizeBytes

PROFILE = ServingProfile((1, 8), (0.5, 0.5))
SIZE = 64
Write = Callable[[Any, Path], Artifact]


def dense() -> Any:
    """A matrix without a zero."""
    return np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)


def half_zero() -> Any:
    """A matrix whose first half is zero."""
    values = dense()
    values[: SIZE // 2] = 0.0
    return values


def as_safetensors(values: Any, folder: Path) -> Artifact:
    from safetensors.numpy import save_file

    save_file({"layer.weight": values}, folder / "model.safetensors")
    return Artifact.of("huggingface_folder", folder, ("model.safetensors",))


def graph_of(values: Any) -> Any:
    import onnx

    weight = onnx.numpy_helper.from_array(values, "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", SIZE])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", SIZE])],
        [weight],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def as_onnx(values: Any, folder: Path) -> Artifact:
    import onnx

    onnx.save(graph_of(values), folder / "model.onnx")
    return Artifact.of("onnx_file", folder, ("model.onnx",))


def as_onnx_outside(values: Any, folder: Path) -> Artifact:
    import onnx

    path = folder / "model.onnx"
    onnx.save(graph_of(values), path, save_as_external_data=True, location="model.onnx.data")
    return Artifact.of("onnx_file", folder, ("model.onnx", "model.onnx.data"))


def as_openvino(values: Any, folder: Path) -> Artifact:
    pytest.importorskip("openvino", reason="NO OPENVINO: pip install 'jettison[openvino]'")
    from jettison.graphs.openvino_ir import read_onnx, write_ir

    as_onnx(values, folder)
    files = write_ir(read_onnx(folder / "model.onnx"), folder / "ir")
    return Artifact.of("openvino_ir", folder / "ir", files)


KINDS: tuple[Write, ...] = (as_safetensors, as_onnx, as_onnx_outside, as_openvino)


def of(network: Model, artifact: Artifact) -> Model:
    return dataclasses.replace(network, artifact=artifact)


def read(metric: Any, model: Model) -> float:
    reading = metric.observe(model, None, PROFILE)
    assert set(reading.by_batch_size) == {1, 8}
    return float(reading.value)


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_zeros_take_a_bit_each(write: Write, network: Model, tmp_path: Path) -> None:
    """Half of the weights go, a bitmap comes; all else in the files counts as it is."""
    model = of(network, write(half_zero(), tmp_path))
    saved = 4 * SIZE * SIZE // 2 - SIZE * SIZE // 8
    assert read(SizeBytes(), model) - read(SparseSizeBytes(), model) == saved


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_zeros_make_no_file_smaller(write: Write, network: Model, tmp_path: Path) -> None:
    """`size_bytes` is that of the files, with zeros or without; what is compressed differs."""
    sizes, packed = [], []
    for place, values in enumerate((half_zero(), dense())):
        folder = tmp_path / str(place)
        folder.mkdir()
        model = of(network, write(values, folder))
        sizes.append(read(SizeBytes(), model))
        packed.append(read(CompressedSizeBytes(), model))
        assert packed[-1] <= sizes[-1]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert packed[0] < 0.7 * packed[1]


def test_a_dense_model_gains_nothing(network: Model, tmp_path: Path) -> None:
    """Without zeros the sparse storage is the dense one."""
    model = of(network, as_safetensors(dense(), tmp_path))
    assert read(SparseSizeBytes(), model) == read(SizeBytes(), model)


def test_unsigned_weights_with_a_zero_point(network: Model, tmp_path: Path) -> None:
    """Zeros of a quantizer that lie at 128 are found."""
    values = np.full((SIZE, SIZE), 128, np.uint8)
    values[0] = np.arange(SIZE)
    model = of(network, as_safetensors(values, tmp_path))
    kept = SIZE * SIZE // 8 + SIZE
    assert read(SizeBytes(), model) - read(SparseSizeBytes(), model) == SIZE * SIZE - kept


def test_files_of_another_kind_count_as_they_are(network: Model, tmp_path: Path) -> None:
    """What can't be looked into is dense."""
    (tmp_path / "model.skops").write_bytes(bytes(1000))
    model = of(network, Artifact.of("sklearn_skops", tmp_path, ("model.skops",)))
    assert read(SparseSizeBytes(), model) == 1000
    assert read(CompressedSizeBytes(), model) < 100


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    """A safetensors file without its last bytes is refused by name."""
    artifact = as_safetensors(half_zero(), tmp_path)
    artifact.path.write_bytes(artifact.path.read_bytes()[:-8])
    with pytest.raises(ModelError, match="ends before a weight"):
        list(stored_tensors(artifact))
    artifact.path.write_bytes(b"\xff" * 20)
    with pytest.raises(ModelError, match="is no safetensors file"):
        list(stored_tensors(artifact))
