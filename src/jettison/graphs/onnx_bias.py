"""Bias correction: what rounding shifts an output channel by on average is taken back by its bias.

b += E[W x + b] - E[Q(W) Q(x) + b], with x from the float graph, so that no layer pays twice for the
errors of those before it. Source: Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.2, with measured instead of assumed inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.graphs.onnx_layers import Layer
from jettison.graphs.onnx_prepare import light_options, open_session, run_session
from jettison.graphs.onnx_storage import read_light

SHIFT = "jettison_shift_"
CORRECTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
AXES_AS_INPUT = 18
"""The operator set from which `ReduceMean` reads its axes from an input."""


def correct_biases(
    graph: Path, quantized: Any, layers: Sequence[Layer], batches: Sequence[Batch]
) -> tuple[Path, int]:
    """Writes the float graph with biases that make up for rounding.

    Args:
        graph: a prepared graph.
        quantized: the same after `quantize_static`.
        layers: of the prepared graph.
        batches: rows to average over.

    Returns:
        The path of the corrected graph, beside the other, and how many layers were corrected; those
        without a place for a bias (a MatMul that no addition of constants follows) stay as they are.
    """
    model = read_light(graph)
    places = {layer.node: _bias_place(model, layer) for layer in layers}
    rounded = {
        name: pair
        for name, pair in _rounded_inputs(quantized).items()
        if places.get(name) is not None
    }
    if not rounded or not batches:
        return graph, 0
    shifts = _shifts(graph, rounded, batches)
    for layer in layers:
        place = places[layer.node]
        if layer.node in shifts and place is not None:
            _add_to_bias(model, place, shifts[layer.node], graph.parent)
    target = graph.with_name("corrected.onnx")
    write_atomically(target, model.SerializeToString(deterministic=True))
    return target, len(shifts)


def _rounded_inputs(quantized: Any) -> dict[str, tuple[Array, tuple[Array, Array]]]:
    """Layer -> its weights after rounding, and scale and zero point of the activation it reads."""
    import onnx

    stored = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {
        node.output[0]: node
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and set(node.input[1:]) <= set(stored)
    }
    values = onnx.numpy_helper.to_array
    found = {}
    for node in quantized.graph.node:
        if node.op_type not in CORRECTED or len(node.input) < 2:
            continue
        activation, weight = makers.get(node.input[0]), makers.get(node.input[1])
        if activation is None or weight is None or weight.input[0] not in stored:
            continue
        axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
        parts = [values(stored[name]) for name in weight.input]
        scale_zero = tuple(values(stored[name]) for name in activation.input[1:3])
        found[node.name] = (_dequantized(parts, axis), (scale_zero[0], scale_zero[1]))
    return found


def _dequantized(parts: Sequence[Array], axis: int) -> Array:
    whole, scale = parts[0].astype(np.float32), parts[1]
    zero = parts[2].astype(np.float32) if len(parts) > 2 else np.zeros_like(scale)
    if scale.ndim == 1:
        shape = [-1 if i == axis % whole.ndim else 1 for i in range(whole.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return ((whole - zero) * scale).astype(np.float32)


def _shifts(
    graph: Path,
    rounded: Mapping[str, tuple[Array, tuple[Array, Array]]],
    batches: Sequence[Batch],
) -> dict[str, Array]:
    """Layer -> mean of its float output minus its rounded one, per channel."""
    model = read_light(graph)
    inputs = [value.name for value in model.graph.input]
    for node in list(model.graph.node):
        if node.name in rounded:
            _compare(model, node, *rounded[node.name])
    path = graph.with_name("shifted.onnx")
    write_atomically(path, model.SerializeToString(deterministic=True))
    session = open_session(path, light_options())
    names = [SHIFT + name for name in rounded]
    sums: list[Array] = [np.zeros(())] * len(names)
    rows = 0
    for batch in batches:
        n = len(next(iter(batch.values())))
        found = run_session(session, names, {name: batch[name] for name in inputs})
        sums = [total + n * mean.astype(np.float64) for total, mean in zip(sums, found)]
        rows += n
    return {name: total / rows for name, total in zip(rounded, sums)}


def _compare(model: Any, node: Any, weights: Array, grid: tuple[Array, Array]) -> None:
    """Adds a rounded copy of a layer, and the mean difference of each channel as an output."""
    import onnx

    make, store = onnx.helper.make_node, onnx.numpy_helper.from_array
    name = SHIFT + node.name
    model.graph.initializer.extend(
        [store(weights, f"{name}_w"), store(grid[0], f"{name}_s"), store(grid[1], f"{name}_z")]
    )
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.name = f"{name}_twin"
    twin.input[0], twin.input[1], twin.output[0] = f"{name}_x", f"{name}_w", f"{name}_y"
    scale = [f"{name}_s", f"{name}_z"]
    nodes = [
        make("QuantizeLinear", [node.input[0], *scale], [f"{name}_q"]),
        make("DequantizeLinear", [f"{name}_q", *scale], [f"{name}_x"]),
        twin,
        make("Sub", [node.output[0], f"{name}_y"], [f"{name}_d"]),
    ]
    difference, axes = f"{name}_d", [0, *range(2, weights.ndim)]
    if node.op_type == "MatMul":
        shape = np.array([-1, weights.shape[-1]], np.int64)
        model.graph.initializer.append(store(shape, f"{name}_shape"))
        nodes.append(make("Reshape", [difference, f"{name}_shape"], [f"{name}_flat"]))
        difference, axes = f"{name}_flat", [0]
    if _opset(model) >= AXES_AS_INPUT:
        model.graph.initializer.append(store(np.array(axes, np.int64), f"{name}_axes"))
        nodes.append(make("ReduceMean", [difference, f"{name}_axes"], [name], keepdims=0))
    else:
        nodes.append(make("ReduceMean", [difference], [name], axes=axes, keepdims=0))
    model.graph.node.extend(nodes)
    model.graph.output.add().name = name


def _opset(model: Any) -> int:
    return next(int(o.version) for o in model.opset_import if o.domain in {"", "ai.onnx"})


def _bias_place(model: Any, layer: Layer) -> tuple[Any, int] | None:
    """The node and the input that holds the bias of a layer, or could; `None` where there is none."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    node = next(n for n in model.graph.node if n.name == layer.node)
    if layer.operator in {"Conv", "ConvTranspose", "Gemm"}:
        there = node.input[2] if len(node.input) > 2 else ""
        return (node, 2) if not there or there in stored else None
    if layer.operator != "MatMul":
        return None
    readers = [n for n in model.graph.node if node.output[0] in n.input]
    given = {value.name for value in model.graph.output}
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in given:
        return None
    other = 1 - list(readers[0].input).index(node.output[0])
    constant = stored.get(readers[0].input[other])
    width = stored[layer.weights[0]].dims[-1]
    return (readers[0], other) if constant is not None and _is_vector(constant, width) else None


def _is_vector(tensor: Any, width: int) -> bool:
    return bool(tensor.dims) and tensor.dims[-1] == width == int(np.prod(tensor.dims))


def _add_to_bias(model: Any, place: tuple[Any, int], shift: Array, folder: Path) -> None:
    import onnx

    node, index = place
    beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0) or 1.0
    bias = (shift / beta).astype(np.float32)
    if len(node.input) > index and node.input[index]:
        stored = next(t for t in model.graph.initializer if t.name == node.input[index])
        before = onnx.numpy_helper.to_array(stored, str(folder))
        if before.size in {1, bias.size}:
            bias = (before.reshape(-1) + bias).astype(np.float32)
    name = f"{SHIFT}{node.name}_bias"
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, name))
    while len(node.input) <= index:
        node.input.append("")
    node.input[index] = name
