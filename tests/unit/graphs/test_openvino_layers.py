"""Layers with weights in OpenVINO graphs: what is stored, how often it is used, what is fused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.graphs.openvino_ir import import_openvino, write_ir
from jettison.graphs.openvino_layers import Kernel, fixed_shapes, layer_costs, weighted_layers


@pytest.fixture
def graph() -> Any:
    """A table, a product with a transposed and scaled 8-bit matrix, and a grouped convolution."""
    openvino = import_openvino()
    from openvino import opset13 as op

    ids = op.parameter([-1, 6], np.int64, name="ids")
    ids.output(0).get_tensor().set_names({"ids"})
    table = op.constant(np.ones((50, 8), np.float32))
    words = op.gather(table, ids, op.constant(np.int64(0)))
    words.set_friendly_name("table")
    stored = op.convert(op.constant(np.ones((4, 8), np.int8)), "f32")
    weights = op.multiply(stored, op.constant(np.full((4, 1), 0.5, np.float32)))
    product = op.matmul(words, weights, False, True)
    product.set_friendly_name("product")
    shifted = op.add(product, op.constant(np.ones(4, np.float32)))
    shifted.set_friendly_name("shifted")
    image = op.reshape(shifted, op.constant(np.array([-1, 4, 6, 1])), False)
    kernel = op.constant(np.ones((4, 1, 1, 3, 1), np.float32))
    conv = op.group_convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    conv.set_friendly_name("grouped")
    return openvino.Model([conv], [ids], "layers")


def test_weights_are_found_behind_what_unpacks_them(graph: Any) -> None:
    """8-bit weights count as such, and by the bytes that they take on disk."""
    layers = {layer.name: layer for layer in weighted_layers(graph)}
    assert list(layers) == ["table", "product", "grouped"]
    product = layers["product"]
    assert (product.stored, product.is_integer, product.bytes) == ("i8", True, 32)
    assert (layers["table"].stored, layers["table"].bytes) == ("f32", 50 * 8 * 4)
    assert product.macs is None


def test_products_are_counted_once_the_shapes_are_known(graph: Any) -> None:
    """A table takes none, a product rows x inputs x outputs, a grouped convolution its own group."""
    layers = {c.name: c for c in weighted_layers(fixed_shapes(graph, {"ids": (1, 6)}))}
    assert layers["table"].macs == 0
    assert layers["product"].macs == 6 * 8 * 4
    assert layers["grouped"].macs == 4 * 4 * 3


def test_a_fused_kernel_is_told_as_its_product(graph: Any, tmp_path: Path) -> None:
    """A kernel named after the addition that it took in is the product's; shares sum to 1."""
    write_ir(graph, tmp_path)
    kernels = [
        Kernel("shifted", "FullyConnected", 30.0),
        Kernel("grouped", "Convolution", 10.0),
        Kernel("reorder", "Reorder", 10.0),
    ]
    costs = layer_costs(tmp_path / "model.xml", kernels, {"ids": (1, 6)})
    found = {cost.name: cost for cost in costs}
    assert (found["product"].operator, found["product"].time_share) == ("MatMul", 0.6)
    assert (found["grouped"].operator, found["grouped"].macs) == ("Conv", 48)
    assert found["reorder"].parameters == 0
    assert found["table"].time_share is None
    assert sum(cost.time_share or 0.0 for cost in costs) == pytest.approx(1.0)
