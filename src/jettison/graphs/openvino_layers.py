"""The layers of an OpenVINO graph that hold weights: what is stored in them, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.profile import LayerCost
from jettison.graphs.openvino_ir import read_ir

WORDS: Mapping[str, str] = {
    "Convolution": "Conv",
    "ConvolutionBackpropData": "ConvTranspose",
    "FullyConnected": "MatMul",
    "FullyConnectedCompressed": "MatMul",
    "FullyConnectedQuantizedLegacy": "MatMul",
    "GroupConvolution": "Conv",
    "GroupConvolutionBackpropData": "ConvTranspose",
}
"""OpenVINO's operators under the names that the ONNX graph had before: one profile serves the
techniques of both formats."""

WEIGHTED = frozenset(
    {
        "Convolution",
        "ConvolutionBackpropData",
        "Gather",
        "GroupConvolution",
        "GroupConvolutionBackpropData",
        "MatMul",
    }
)
HEAVY = frozenset({"Conv", "ConvTranspose", "MatMul"})
LONGEST_FUSION = 4

UNPACKED_BY = frozenset({"Convert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose"})
"""What stands between stored weights and the operator that uses them."""

INTEGERS = frozenset({"i8", "u8", "i4", "u4", "nf4"})


@dataclass(frozen=True, slots=True)
class Weighted:
    """One operator with constant weights.

    Attributes:
        name: of the operator; operator: its OpenVINO type.
        stored: element type of the weights on disk (`f32`, `f16`, `i8`, `u4`, ...).
        parameters: number of weights; bytes: as stored.
        macs: multiply-accumulates for the shapes that the graph was given; `None` if they are free.
    """

    name: str
    operator: str
    stored: str
    parameters: int
    bytes: int
    macs: int | None

    @property
    def is_integer(self) -> bool:
        """Whether the weights are stored in 8 bits or fewer."""
        return self.stored in INTEGERS


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel that ran: its name, its OpenVINO type, its microseconds over all calls."""

    name: str
    operator: str
    microseconds: float


def weighted_layers(graph: Any) -> tuple[Weighted, ...]:
    """Lists the operators with constant weights of two dimensions or more, in graph order."""
    return tuple(_weighted(graph))


def fixed_shapes(graph: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Gives a copy of a graph whose inputs have exactly these shapes."""
    copy = graph.clone()
    copy.reshape({name: list(shape) for name, shape in shapes.items()})
    return copy


def layer_costs(
    path: Path, kernels: Iterable[Kernel], shapes: Mapping[str, Sequence[int]]
) -> tuple[LayerCost, ...]:
    """Joins what kernels took with what the saved graph stores.

    Args:
        path: of the saved .xml file.
        kernels: in the order they ran.
        shapes: input name -> shape of one example with its batch dimension.

    Returns:
        Layers in the order they ran, then operators with weights that ran in no kernel of their
        own (`time_share` is `None`: their time is in another layer).
    """
    graph = fixed_shapes(read_ir(path), shapes)
    stored = {layer.name: layer for layer in weighted_layers(graph)}
    aliases = _aliases(graph, stored)
    spent: dict[str, float] = {}
    operators: dict[str, str] = {}
    for kernel in kernels:
        name = kernel.name
        if name not in stored and _word(kernel.operator) in HEAVY:
            name = aliases.get(name) or aliases.get(name.rpartition("/")[0], name)
        spent[name] = spent.get(name, 0.0) + kernel.microseconds
        operators[name] = _word(stored[name].operator if name in stored else kernel.operator)
    whole = sum(spent.values()) or 1.0
    ran = [_cost(n, operators[n], stored.get(n), took / whole) for n, took in spent.items()]
    silent = [
        _cost(name, _word(layer.operator), layer, None)
        for name, layer in stored.items()
        if name not in spent
    ]
    return (*ran, *silent)


def _cost(name: str, operator: str, layer: Weighted | None, share: float | None) -> LayerCost:
    if layer is None:
        return LayerCost(name, operator, 0, None, 0, share)
    return LayerCost(name, operator, layer.parameters, layer.macs, layer.bytes, share)


def _weighted(graph: Any) -> Iterator[Weighted]:
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in WEIGHTED:
            continue
        found = [c for c in (_constant(i.get_source_output()) for i in node.inputs()) if c]
        heavy = [c for c in found if len(c.get_output_shape(0)) >= 2]
        if not heavy:
            continue
        weights = heavy[0]
        size = int(np.prod(weights.get_output_shape(0), dtype=np.int64))
        yield Weighted(
            name=node.get_friendly_name(),
            operator=kind,
            stored=weights.get_element_type().get_type_name(),
            parameters=size,
            bytes=-(-size * int(weights.get_element_type().bitwidth) // 8),
            macs=_macs(node, weights, size),
        )


def _constant(output: Any) -> Any | None:
    """The constant that a value is unpacked from; `None` if it is computed from an input."""
    node = output.get_node()
    if node.get_type_name() == "Constant":
        return node
    if node.get_type_name() not in UNPACKED_BY:
        return None
    # An activation that is scaled by a constant has that constant before it as well.
    parts = [_constant(port.get_source_output()) for port in node.inputs()]
    return None if any(part is None for part in parts) else parts[0]


def _macs(node: Any, weights: Any, size: int) -> int | None:
    """Every output value of a product or a convolution takes as many products as it has weights."""
    kind = node.get_type_name()
    if kind == "Gather":
        return 0
    shape = node.get_output_partial_shape(0)
    if shape.is_dynamic or "Backprop" in kind:
        return None
    outputs = int(np.prod(list(shape.to_shape()), dtype=np.int64))
    if kind == "MatMul":
        return outputs * size // int(shape.to_shape()[-1])
    channels = int(shape.to_shape()[1])
    return outputs * (size // channels)


def _aliases(graph: Any, stored: Mapping[str, Weighted]) -> dict[str, str]:
    """Names that a layer's kernel may bear: its own, or that of what was fused behind it."""
    found: dict[str, str] = {}
    for node in graph.get_ordered_ops():
        name = node.get_friendly_name()
        if name not in stored:
            continue
        found[name] = name
        for _ in range(LONGEST_FUSION):
            readers = [port.get_node() for port in node.output(0).get_target_inputs()]
            if len(readers) != 1 or readers[0].get_friendly_name() in stored:
                break
            node = readers[0]
            found.setdefault(node.get_friendly_name(), name)
    return found


def _word(kind: str) -> str:
    return WORDS.get(kind, kind)
