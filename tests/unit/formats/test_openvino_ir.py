"""OpenVINO IR on disk: the same bytes from any process, weights as they were, errors that help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.model import Model
from jettison.errors import ModelError
from jettison.formats.openvino_ir import OpenvinoIr
from jettison.graphs.openvino_ir import read_ir, read_onnx
from tests.openvino_models import converted


def test_the_same_graph_gives_the_same_bytes(network: Model, tmp_path: Path) -> None:
    """Names that OpenVINO makes up by counting in the process don't reach the file."""
    first = converted(network, tmp_path / "first").artifact
    # Whatever else is read in between makes OpenVINO count on.
    read_onnx(network.artifact.path)
    second = converted(network, tmp_path / "second").artifact
    assert first.digest == second.digest


def test_a_graph_that_was_saved_again_is_the_same(network: Model, tmp_path: Path) -> None:
    """Opening a saved graph and saving it gives the same files."""
    model = converted(network, tmp_path / "first")
    kind = OpenvinoIr()
    again = kind.save(kind.open(model.artifact), tmp_path / "again")
    assert again.digest == model.artifact.digest


def test_weights_keep_their_32_bits(network: Model, tmp_path: Path) -> None:
    """OpenVINO's own default would round every weight to 16 bits while saving."""
    import onnx

    wanted = onnx.numpy_helper.to_array(onnx.load(network.artifact.path).graph.initializer[0])
    graph = read_ir(converted(network, tmp_path / "ir").artifact.path)
    constants = [n.data for n in graph.get_ops() if n.get_type_name() == "Constant"]
    found = [c for c in constants if c.shape == wanted.shape]
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(found[0], wanted)


def test_saving_leaves_the_graph_as_it_was(network: Model, tmp_path: Path) -> None:
    """The names of a graph that someone still holds don't change."""
    graph = read_onnx(network.artifact.path)
    before = [node.get_friendly_name() for node in graph.get_ordered_ops()]
    OpenvinoIr().save(graph, tmp_path)
    assert [node.get_friendly_name() for node in graph.get_ordered_ops()] == before


def test_a_missing_weight_file_is_named(network: Model, tmp_path: Path) -> None:
    """An artifact without its .bin is refused before OpenVINO sees it."""
    artifact = converted(network, tmp_path / "ir").artifact
    (tmp_path / "ir" / "model.bin").unlink()
    with pytest.raises(ModelError, match=r"model\.bin` is missing"):
        OpenvinoIr().open(artifact)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"<net>" + b])
def test_a_damaged_graph_is_refused(
    network: Model, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """XML that is cut or no XML at all gives one sentence, not a crash."""
    path = converted(network, tmp_path / "ir").artifact.path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match="can't be read as OpenVINO IR"):
        read_ir(path)


def test_weights_beyond_the_end_of_the_file_are_refused(network: Model, tmp_path: Path) -> None:
    """A .bin that was cut is found by its size, and by OpenVINO as well."""
    artifact = converted(network, tmp_path / "ir").artifact
    weights = tmp_path / "ir" / "model.bin"
    weights.write_bytes(weights.read_bytes()[:64])
    with pytest.raises(ModelError, match="bytes"):
        OpenvinoIr().open(artifact)
    with pytest.raises(ModelError, match="can't be read"):
        read_ir(dataclasses.replace(artifact).path)
