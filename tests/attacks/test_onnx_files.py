"""Hostile and damaged ONNX files: each is refused with one clear error, and nothing is run."""

from __future__ import annotations

import gzip
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from jettison.demo import find_network
from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.errors import ModelError
from jettison.loaders.onnx_file import OnnxLoader

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 64] x) => (float[batch, 2] y) <float[64, 2] w> { y = MatMul (x, w) }
"""


def graph(text: str = TEXT) -> onnx.ModelProto:
    model = parser.parse_model(text)
    if "float[64, 2] w" in text:
        del model.graph.initializer[:]
        weights = np.ones((64, 2), dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model


def external(folder: Path, location: str, **entries: int) -> Path:
    """A graph whose weight `w` refers to another file."""
    folder.mkdir(parents=True, exist_ok=True)
    model = graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def load(path: Path, tmp_path: Path) -> Model:
    return OnnxLoader().load(Source(str(path)), tmp_path / "copy")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def saved(path: Path, model: onnx.ModelProto) -> Path:
    return written(path, model.SerializeToString())


class Trap:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_empty(tmp_path: Path) -> None:
    """An empty file says so."""
    with pytest.raises(ModelError, match=r"net\.onnx` is empty \(0 bytes\).*make the file again"):
        load(written(tmp_path / "net.onnx", b""), tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    """A real network cut off anywhere is refused, with what to do."""
    whole = find_network().model.read_bytes()
    path = written(tmp_path / "net.onnx", whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"cut off.*copy the file again"):
        load(path, tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_corrupt(tmp_path: Path, seed: int) -> None:
    """Random bytes inside the structure give a ModelError, never another exception."""
    data = bytearray(graph().SerializeToString())
    random = np.random.default_rng(seed)
    # Only the part before the weights: a changed weight is another model, not a damaged file.
    for place in random.integers(0, 60, 12):
        data[place] = random.integers(0, 256)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load(written(tmp_path / "net.onnx", bytes(data)), tmp_path)


def test_not_protobuf(tmp_path: Path) -> None:
    """Plain text under the name .onnx is refused."""
    with pytest.raises(ModelError, match=r"can't be read as an ONNX graph"):
        load(written(tmp_path / "net.onnx", b"this is no model at all\n" * 40), tmp_path)


def test_zip_bomb_is_never_unpacked(tmp_path: Path) -> None:
    """A zip under the name .onnx is named as such, and nothing of it is read."""
    path = tmp_path / "net.onnx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", b"\0" * 50_000_000)
    with pytest.raises(ModelError, match="is a zip archive, not an ONNX file: unpack it yourself"):
        load(path, tmp_path)
    assert not (tmp_path / "copy").exists()


def test_gzip(tmp_path: Path) -> None:
    """A compressed file is named as such."""
    path = written(tmp_path / "net.onnx", gzip.compress(graph().SerializeToString()))
    with pytest.raises(ModelError, match="is a gzip archive"):
        load(path, tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_is_not_opened(tmp_path: Path, protocol: int) -> None:
    """A pickle under the name .onnx is refused without running it."""
    mark = tmp_path / "mark"
    path = written(tmp_path / "net.onnx", pickle.dumps(Trap(mark), protocol))
    with pytest.raises(ModelError, match="is a pickle, not an ONNX file"):
        load(path, tmp_path)
    assert not mark.exists()


def test_custom_operator(tmp_path: Path) -> None:
    """An operator of an unknown domain is named with its node and domain."""
    text = """
    <ir_version: 8, opset_import: ["" : 17, "acme.ops" : 1]>
    g (float[batch, 4] x) => (float[batch, 4] y) { [odd] y = acme.ops.Frobnicate (x) }
    """
    model = graph(text)
    with pytest.raises(ModelError) as caught:
        load(saved(tmp_path / "net.onnx", model), tmp_path)
    assert "`Frobnicate` of domain `acme.ops` (node `odd`)" in str(caught.value)
    assert "export the model with operators of the ONNX standard" in str(caught.value)


def test_unknown_operator_of_the_standard_domain(tmp_path: Path) -> None:
    """A name that the standard does not know is unknown too, also inside a branch."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, 4] x, bool c) => (float[batch, 4] y) {
      y = If (c) < then_branch = t () => (float[batch, 4] a) { a = Conjure (x) },
                   else_branch = e () => (float[batch, 4] b) { b = Relu (x) } >
    }
    """
    with pytest.raises(ModelError, match=r"`Conjure` of domain `ai\.onnx`"):
        load(saved(tmp_path / "net.onnx", graph(text)), tmp_path)


def test_newer_operator_set(tmp_path: Path) -> None:
    """An operator set from the future says which one works here."""
    model = graph(TEXT.replace(": 17", ": 999"))
    with pytest.raises(ModelError, match=r"needs operator set 999 .* up to \d+: export with"):
        load(saved(tmp_path / "net.onnx", model), tmp_path)


def test_no_outputs(tmp_path: Path) -> None:
    """A graph that answers nothing is refused."""
    model = graph()
    del model.graph.output[:]
    with pytest.raises(ModelError, match="has no outputs"):
        load(saved(tmp_path / "net.onnx", model), tmp_path)


def test_no_nodes(tmp_path: Path) -> None:
    """A graph without operators is refused."""
    model = graph()
    del model.graph.node[:]
    with pytest.raises(ModelError, match="has no operators"):
        load(saved(tmp_path / "net.onnx", model), tmp_path)


def test_inconsistent_graph(tmp_path: Path) -> None:
    """A node that reads a value that nobody makes breaks the rules of ONNX."""
    model = graph()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match=r"breaks the rules of ONNX: .*nowhere"):
        load(saved(tmp_path / "net.onnx", model), tmp_path)


def test_missing_external_data(tmp_path: Path) -> None:
    """The missing file is named."""
    with pytest.raises(ModelError, match=r"weight `w` .* `weights\.bin`, which is missing; put"):
        load(external(tmp_path / "m", "weights.bin"), tmp_path)


def test_short_external_data(tmp_path: Path) -> None:
    """External data that is cut off says how much is there."""
    path = external(tmp_path / "m", "w.bin", offset=0, length=512)
    (path.parent / "w.bin").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match=r"needs bytes 0 to 512 of `w\.bin`, which holds only 100"):
        load(path, tmp_path)


def test_external_data_of_another_size(tmp_path: Path) -> None:
    """A data file whose part is smaller than the tensor is refused, not read beyond it."""
    path = external(tmp_path / "m", "w.bin", offset=0, length=100)
    (path.parent / "w.bin").write_bytes(b"\0" * 512)
    with pytest.raises(ModelError, match=r"`w` .* so 512 bytes, but refers to 100 bytes"):
        load(path, tmp_path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", ""])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    """A path that climbs out, or is absolute, is never opened."""
    (tmp_path / "secret.bin").write_bytes(b"\1" * 512)
    with pytest.raises(ModelError, match="lies outside the model's own folder"):
        load(external(tmp_path / "m", location), tmp_path)
    assert not (tmp_path / "copy").exists()


def test_external_data_through_a_link(tmp_path: Path) -> None:
    """A link that points out of the folder is not followed."""
    (tmp_path / "secret.bin").write_bytes(b"\1" * 512)
    path = external(tmp_path / "m", "w.bin")
    (path.parent / "w.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="lies outside the model's own folder"):
        load(path, tmp_path)


def test_web_page_saved_as_model(tmp_path: Path) -> None:
    """A failed download is named as what it is."""
    path = written(tmp_path / "net.onnx", b"<!DOCTYPE html><html>404</html>")
    with pytest.raises(ModelError, match="is an HTML or XML page, not an ONNX file: download"):
        load(path, tmp_path)


def test_git_lfs_pointer(tmp_path: Path) -> None:
    """A Git LFS pointer says how to get the file."""
    path = written(tmp_path / "net.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha")
    with pytest.raises(ModelError, match="git lfs pull"):
        load(path, tmp_path)


def test_endless_nesting(tmp_path: Path) -> None:
    """Branches nested far beyond what protobuf reads are a damaged file, not a crash."""
    node = helper.make_node("Relu", ["x"], ["y"])
    data = helper.make_graph([node], "leaf", [], []).SerializeToString()
    for _ in range(60):
        # attribute.g (field 6) inside node.attribute (5) inside graph.node (1)
        for tag in (0x32, 0x2A, 0x0A):
            data = bytes([tag]) + _varint(len(data)) + data
    path = written(tmp_path / "net.onnx", b"\x08\x08\x3a" + _varint(len(data)) + data)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        load(path, tmp_path)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
