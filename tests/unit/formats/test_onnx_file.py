"""The format `onnx_file`: one file, or one graph and one data file, always the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from jettison.domain.model import Artifact
from jettison.errors import ModelError
from jettison.formats.onnx_file import OnnxFile
from jettison.graphs import onnx_storage

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 64] x) => (float[batch, 64] y) <float[64, 64] w>
{
  c = Constant <value: tensor = float[1] {0.5}> ()
  p = MatMul (x, w)
  y = Mul (p, c)
}
"""


def graph() -> onnx.ModelProto:
    model = parser.parse_model(TEXT)
    del model.graph.initializer[:]
    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    return model


def answer(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": np.ones((2, 64), np.float32)})[0])


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    """A proto and a path of the same graph are saved with one digest, and stay as they were."""
    model = graph()
    before = model.SerializeToString(deterministic=True)
    one = OnnxFile().save(model, tmp_path / "one")
    two = OnnxFile().save(OnnxFile().open(one), tmp_path / "two")
    assert one.digest == two.digest
    assert one.files == ("model.onnx",)
    assert model.SerializeToString(deterministic=True) == before


def test_heavy_weights_get_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the weights lie in `model.onnx.data`; the answers are the same."""
    small = OnnxFile().save(graph(), tmp_path / "small")
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 1000)
    heavy = OnnxFile().save(graph(), tmp_path / "heavy")
    assert heavy.files == ("model.onnx", "model.onnx.data")
    assert (tmp_path / "heavy" / "model.onnx").stat().st_size < 1000
    again = OnnxFile().save(graph(), tmp_path / "again")
    copied = OnnxFile().save(OnnxFile().open(heavy), tmp_path / "copied")
    assert heavy.digest == again.digest == copied.digest
    np.testing.assert_array_equal(answer(small.path), answer(copied.path))


def test_saving_over_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph can be saved into the folder that it lies in."""
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 1000)
    artifact = OnnxFile().save(graph(), tmp_path)
    assert OnnxFile().save(artifact.path, tmp_path) == artifact


def test_scattered_external_data_is_gathered(tmp_path: Path) -> None:
    """A graph with one file per tensor is copied with one data file, each byte once."""
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(
        graph(), source / "net.onnx", save_as_external_data=True, all_tensors_to_one_file=False
    )
    artifact = OnnxFile().save(source / "net.onnx", tmp_path / "copy")
    assert artifact.files == ("model.onnx", "model.onnx.data")
    assert (tmp_path / "copy" / "model.onnx.data").stat().st_size == 64 * 64 * 4
    np.testing.assert_array_equal(answer(artifact.path), answer(source / "net.onnx"))


def test_a_graph_without_its_folder_is_refused(tmp_path: Path) -> None:
    """A proto that refers to external data says that the path is needed."""
    onnx.save(graph(), tmp_path / "net.onnx", save_as_external_data=True, location="w.bin")
    loose = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    with pytest.raises(ModelError, match=r"`w` lies in a file .* hand over the path"):
        OnnxFile().save(loose, tmp_path / "copy")


def test_a_changed_or_missing_file_is_seen(tmp_path: Path) -> None:
    """Opening looks at the sizes that were recorded."""
    artifact = OnnxFile().save(graph(), tmp_path)
    with open(artifact.path, "ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="were recorded: they were changed"):
        OnnxFile().open(artifact)
    artifact.path.unlink()
    with pytest.raises(ModelError, match="is missing"):
        OnnxFile().open(artifact)


def test_nothing_is_left_behind_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails half-way leaves neither a model nor a part of one."""
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 1000)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        OnnxFile().save(graph(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    """Two folders with the same files have one digest."""
    one = OnnxFile().save(graph(), tmp_path / "a")
    two = OnnxFile().save(graph(), tmp_path / "b")
    assert isinstance(one, Artifact)
    assert (one.digest, one.folder) != (two.digest, two.folder)
    assert one.digest == two.digest
