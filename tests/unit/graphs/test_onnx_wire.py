"""Reading a graph without its weights from the bytes on disk."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import external_data_helper

from jettison.demo import find_network
from jettison.errors import ModelError
from jettison.graphs.onnx_wire import light_bytes


def test_weights_are_left_on_disk_and_found_again(shared_data: Path) -> None:
    """The light graph is small, and with its references followed it is the whole graph."""
    path = shared_data / "speech" / "fsdd-digits-ctc.onnx"
    light = onnx.load_model_from_string(light_bytes(path))
    assert len(light.SerializeToString()) < path.stat().st_size / 4
    external_data_helper.load_external_data_for_model(light, str(path.parent))
    for tensor in external_data_helper._get_all_tensors(light):
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    whole = onnx.load(path)
    for tensor in external_data_helper._get_all_tensors(whole):
        tensor.ClearField("data_location")
    assert light.SerializeToString(deterministic=True) == whole.SerializeToString(
        deterministic=True
    )


def test_magika_shrinks_to_its_graph() -> None:
    """3.2 MB of Magika are 3.1 MB of weights."""
    assert len(light_bytes(find_network().model)) < 60_000


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_a_model_error(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes stand in the file, the answer is bytes or a ModelError."""
    whole = find_network().model.read_bytes()
    head = bytearray(whole[: data.draw(st.integers(1, 30_000))])
    place = data.draw(st.integers(0, len(head) - 1))
    head[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(head))
    with contextlib.suppress(ModelError):
        assert isinstance(light_bytes(path), bytes)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.9999])
def test_a_cut_is_seen(tmp_path: Path, share: float) -> None:
    """A file that was cut off says where a record ends too late."""
    whole = find_network().model.read_bytes()
    path = tmp_path / "net.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match="damaged or cut off; copy the file again"):
        light_bytes(path)
