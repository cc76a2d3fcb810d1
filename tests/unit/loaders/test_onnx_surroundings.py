"""What stands around an ONNX file: packages that overwrite each other, versions, heavy weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison import machine, registry
from jettison.domain.extension_points import Source
from jettison.errors import MissingDependency, ModelError
from jettison.graphs import onnx_checks, onnx_probe, onnx_storage

pytest.importorskip("onnxruntime")


def test_several_packages_of_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second package that holds `onnxruntime` is seen by doctor, and refused with both names."""
    onnx_probe.check_one_package()
    made_up = tmp_path / "onnxruntime_gpu-1.20.0.dist-info"
    made_up.mkdir()
    (made_up / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.20.0\n"
    )
    (made_up / "top_level.txt").write_text("onnxruntime\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert machine.packages_with("onnxruntime") == ("onnxruntime", "onnxruntime-gpu")
    with pytest.raises(MissingDependency, match=r"onnxruntime, onnxruntime-gpu.*pip uninstall"):
        onnx_probe.check_one_package()


@pytest.mark.parametrize(
    ("opset", "said"),
    [
        (30, "knows it up to 21: export with opset_version=21"),
        (3, r"too old for some runtime: it takes 7 and later.*convert_version\(model, 7\)"),
    ],
)
def test_operator_sets_beyond_the_runtime(opset: int, said: str) -> None:
    """One too new names the newest that works, one too old the oldest."""
    graph = helper.make_graph([], "g", [], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    with pytest.raises(ModelError, match=said):
        onnx_checks.check_versions(
            model, Path("m.onnx"), lambda domain, v: 7 <= v <= 21, "some runtime"
        )


def heavy(folder: Path) -> Path:
    """A graph whose weights lie beside it, as those over 2 GB must."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 48)).astype(np.float32)
    head = rng.normal(size=(48, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="bend"),
            helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
        ],
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(head, "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        model,
        folder / "heavy.onnx",
        save_as_external_data=True,
        location="heavy.bin",
        size_threshold=0,
    )
    return folder / "heavy.onnx"


def test_weights_beside_the_graph_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 1,000 bytes, load, save and run work on files, and no copy is inlined."""
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 1000)
    path = heavy(tmp_path / "source")
    model = registry.get("loaders", "onnx_file").load(Source(str(path)), tmp_path / "loaded")
    assert len(model.artifact.files) == 2
    assert model.artifact.path.stat().st_size < 1000
    kind = registry.get("formats", "onnx_file")
    saved = kind.save(kind.open(model.artifact), tmp_path / "saved")
    assert len(saved.files) == 2
    assert saved.digest == model.artifact.digest
    import onnxruntime

    x = np.ones((2, 64), np.float32)
    before, after = (
        onnxruntime.InferenceSession(str(p)).run(None, {"x": x})[0] for p in (path, saved.path)
    )
    np.testing.assert_array_equal(before, after)


def test_weights_that_are_gone(tmp_path: Path) -> None:
    """The file of weights that a graph names, and that is not there, is named."""
    path = heavy(tmp_path / "source")
    (path.parent / "heavy.bin").unlink()
    with pytest.raises(ModelError, match=r"heavy\.bin"):
        registry.get("loaders", "onnx_file").load(Source(str(path)), tmp_path / "loaded")


def test_a_damaged_version_number_is_refused_at_once() -> None:
    """A version with many digits is not counted down: no operator set is numbered as high."""
    model = helper.make_model(
        helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 2**40)]
    )
    asked: list[int] = []

    def loads(domain: str, version: int) -> bool:
        asked.append(version)
        assert len(asked) < 100
        return version <= 21

    with pytest.raises(ModelError, match="knows it up to 21"):
        onnx_checks.check_versions(model, Path("m.onnx"), loads, "some runtime")


@pytest.mark.parametrize("where", ["weight", "input"])
def test_an_element_type_that_there_is_not_is_named(where: str, tmp_path: Path) -> None:
    """A damaged type is an error about the file, not a key that is missing."""
    path = heavy(tmp_path / "source")
    model = onnx.load(path)
    if where == "weight":
        model.graph.initializer[0].data_type = 99
    else:
        model.graph.input[0].type.tensor_type.elem_type = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"type 99|breaks the rules"):
        registry.get("loaders", "onnx_file").load(Source(str(path)), tmp_path / "loaded")


@pytest.mark.parametrize(("opset", "said"), [(6, "operator set 6, of which onnxruntime"), (7, "")])
def test_operators_that_have_changed_since(opset: int, said: str, tmp_path: Path) -> None:
    """The runtime loads a graph of operator set 6, but has no `Add` of it: what converts it is said."""
    value = (TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "old",
        [helper.make_tensor_value_info("x", *value)],
        [helper.make_tensor_value_info("y", *value)],
    )
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    onnx.save(old, tmp_path / "old.onnx")
    load = registry.get("loaders", "onnx_file").load
    if not said:
        assert (
            load(Source(str(tmp_path / "old.onnx")), tmp_path / "loaded").task == "classification"
        )
        return
    with pytest.raises(ModelError, match=said) as caught:
        load(Source(str(tmp_path / "old.onnx")), tmp_path / "loaded")
    assert "`Add`" in str(caught.value)
    assert "convert_version(model, 7)" in str(caught.value)
    onnx.save(onnx.version_converter.convert_version(old, 7), tmp_path / "new.onnx")
    assert load(Source(str(tmp_path / "new.onnx")), tmp_path / "again").task == "classification"
