"""Putting 8-bit operators into a prepared graph with ONNX Runtime's own quantizers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.errors import CandidateFailed
from jettison.graphs.onnx_layers import Layer, quantizable_layers
from jettison.graphs.onnx_shapes import infer_values
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_walk import free_name, nodes_of, tensor_names

INFERRED = "onnx.infer"
"""Metadata by which the quantizers know that shapes were inferred. Without it they copy all weights."""

INTEGER_OPERATORS: Mapping[str, str] = {
    "MatMulInteger": "MatMul",
    "QAttention": "Attention",
    "QEmbedLayerNormalization": "EmbedLayerNormalization",
    "ConvInteger": "Conv",
}
"""Operators that dynamic quantization leaves in a graph, and what they stood for."""


SIGNS = ("u8s8", "u8u8", "s8s8")
"""Unsigned or signed 8-bit integers, of activations and then of weights."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How weights are rounded, and which operators keep their floats.

    Attributes:
        per_channel: one scale per output channel instead of one per tensor.
        reduce_range: 7-bit weights, so that sums of two u8s8 products fit 16 bits.
        operators: operator types to quantize.
        spared: names of nodes that stay in float.
        float_outputs: operator types whose results are handed on as floats, without rounding.
        signs: of activations and weights: `u8s8`, `u8u8` or `s8s8`. Static only.
    """

    per_channel: bool
    reduce_range: bool
    operators: tuple[str, ...]
    spared: tuple[str, ...] = ()
    float_outputs: tuple[str, ...] = ()
    signs: str = SIGNS[0]


def quantize_static(
    graph: Path, ranges: Mapping[str, tuple[float, float]], rounding: Rounding
) -> Any:
    """Inserts QuantizeLinear and DequantizeLinear pairs.

    Args:
        graph: a prepared graph; read whole.
        ranges: lowest and highest value of every float activation that may be quantized.
        rounding: of the weights.

    Returns:
        An `onnx.ModelProto` with its weights in memory.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    model = _load(graph)
    _flatten_biases(model)
    _part_shared_biases(model)
    if rounding.per_channel:
        _part_tied_weights(model, rounding)
    known = infer_values(read_light(graph))
    for name in sorted(set(ranges) - set(known)):
        # Inference does not reach behind the runtime's own operators; the runtime told the type.
        known[name] = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    del model.graph.value_info[:]
    model.graph.value_info.extend(known[name] for name in sorted(known))
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    with _explained():
        quantizer = QDQQuantizer(
            model,
            rounding.per_channel,
            rounding.reduce_range,
            _kind(rounding.signs[2:]),
            _kind(rounding.signs[:2]),
            TensorsData(CalibrationMethod.MinMax, data),
            [],
            [*rounding.spared, *_kept_in_float(model, rounding)],
            list(rounding.operators),
            {
                "OpTypesToExcludeOutputQuantization": list(rounding.float_outputs),
                # Kernels need one zero point for all channels, so unsigned weights have 128.
                "WeightSymmetric": True,
            },
        )
        quantizer.quantize_model()
    return _finish(quantizer)


def _kind(integers: str) -> Any:
    from onnxruntime.quantization import QuantType

    return {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}[integers]


def quantize_dynamic(graph: Path, rounding: Rounding, *, branches: bool) -> Any:
    """Replaces products by integer ones whose activations are rounded while they run.

    Args:
        graph: a prepared graph; read whole.
        rounding: of the weights.
        branches: also inside `If` branches and loop bodies.

    Returns:
        An `onnx.ModelProto` with its weights in memory.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    model = _load(graph)
    ONNXModel(model).replace_gemm_with_matmul()
    # Gemm was taken apart into MatMul and Add, and the MatMul got this name.
    spared = [*rounding.spared, *(f"{name}_MatMul" for name in rounding.spared)]
    spared += _kept_in_float(model, rounding)
    with _explained():
        quantizer = ONNXQuantizer(
            model,
            rounding.per_channel,
            rounding.reduce_range,
            QuantizationMode.IntegerOps,
            True,  # noqa: FBT003 - `static`, see below; the library takes it by position
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            [],
            spared,
            list(rounding.operators),
            {
                "MatMulConstBOnly": True,
                "EnableSubgraph": branches,
                # The runtime's own operators (fused attention) have no type inference.
                "DefaultTensorType": onnx.TensorProto.FLOAT,
            },
        )
        # The constructor of a dynamic quantizer copies all weights twice, to take Gemm apart and
        # to infer shapes. Both are done: afterwards only the running of it is dynamic.
        quantizer.static = False
        quantizer.quantize_model()
    _type_casts(quantizer.model.model)
    return _finish(quantizer)


def _type_casts(model: Any) -> None:
    """Lets sums of integers inside branches become floats, as they do outside.

    The quantizer looks for the type of what a branch computes in the graph around it, finds none,
    and writes 0, which the runtime refuses to load.
    """
    import onnx

    for node in nodes_of(model):
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == onnx.TensorProto.UNDEFINED:
                    attribute.i = onnx.TensorProto.FLOAT


def _flatten_biases(model: Any) -> None:
    """Gives every Gemm a bias of one value per column, with its factor `beta` in it.

    The quantizer looks up one bias per output channel, but a Gemm may also have a bias of shape
    (1, n), or a single number. The kernel of 8-bit products has no `beta`.
    """
    import onnx

    stored, taken = {tensor.name: tensor for tensor in model.graph.initializer}, tensor_names(model)
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in stored:
            continue
        weight = stored.get(node.input[1])
        bias = onnx.numpy_helper.to_array(stored[node.input[2]])
        beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0)
        if weight is None or (bias.ndim == 1 and bias.size > 1 and beta == 1.0):
            continue
        by_row = any(a.name == "transB" and a.i for a in node.attribute)
        columns = weight.dims[0 if by_row else 1]
        if bias.size not in (1, columns):
            continue
        flat = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), columns))
        flat = (flat * beta).astype(bias.dtype)
        name = free_name(f"{node.name}_bias", taken)
        stored[name] = onnx.numpy_helper.from_array(flat, name)
        model.graph.initializer.append(stored[name])
        node.input[2] = name
        kept = [a for a in node.attribute if a.name != "beta"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _part_shared_biases(model: Any) -> None:
    """Gives each layer that reads the bias of another one a copy of its own.

    A bias is stored in the step of its layer's activation and weights, so the quantizer copies shared
    ones too; but it numbers the copies without looking whether another tensor has that name.
    """
    stored, taken = {tensor.name: tensor for tensor in model.graph.initializer}, tensor_names(model)
    read: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm"} or len(node.input) < 3:
            continue
        bias = node.input[2]
        if bias in read and bias in stored:
            copy = model.graph.initializer.add()
            copy.CopyFrom(stored[bias])
            copy.name = node.input[2] = free_name(f"{bias}_of_{node.name}", taken)
        read.add(bias)


def _kept_in_float(model: Any, rounding: Rounding) -> list[str]:
    """Products that would be worse or slower in 8 bits than in float.

    There is no kernel for a vector of weights, nor for one scale per channel of a stack. Between two
    activations (scores of attention that was not fused) both sides would be rounded anew in each
    call, which took longer than float and moved answers further (docs/int8.md).
    """
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    most = 2 if rounding.per_channel else max(ranks.values(), default=2)
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    return [node.name for node in products if not 2 <= ranks.get(node.input[1], 0) <= most]


def _part_tied_weights(model: Any, rounding: Rounding) -> None:
    """Gives layers that read the same weights along different axes a tensor each.

    One tensor has its scales along one axis, and kernels take them for those of their own output
    channels without looking at the axis. A look-up table has one scale, which goes on to its rows.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    axes: dict[str, int | None] = {}
    for layer in quantizable_layers(model, rounding.operators):
        weight = layer.weights[0]
        if layer.node in rounding.spared:
            continue
        if axes.setdefault(weight, layer.axis) == layer.axis:
            continue
        name = f"{weight}_along_{layer.axis}"
        if name not in stored:
            copy = model.graph.initializer.add()
            copy.CopyFrom(stored[weight])
            copy.name = name
            stored[name] = copy
        inputs = nodes[layer.node].input
        inputs[list(inputs).index(weight)] = name


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what the library raises into the reason why this candidate can't be built."""
    library = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError)
    try:
        yield
    except library as error:
        raise CandidateFailed(
            f"onnxruntime's quantizer can't handle this graph: {type(error).__name__}: {error}"
        ) from error


def _load(graph: Path) -> Any:
    import onnx

    model = onnx.load(graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = INFERRED, "onnxruntime.quant"
    return model


def _finish(quantizer: Any) -> Any:
    """Sorts the nodes, and takes away what the quantizer needed for itself."""
    quantizer.model.topological_sort()
    model = quantizer.model.model
    kept = [(p.key, p.value) for p in model.metadata_props if p.key != INFERRED]
    del model.metadata_props[:]
    for key, value in kept:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    del model.graph.value_info[:]
    return model


def count_quantized(model: Any, layers: Collection[Layer]) -> dict[str, int]:
    """Counts the layers of a quantized graph whose weights really are 8-bit integers.

    Args:
        model: the graph as it was saved; its external data is not read.
        layers: of the float graph.

    Returns:
        Operator type of the float graph -> count. Layers inside branches count as well.
    """
    import onnx

    kinds = onnx.TensorProto
    eight = {t.name for t in model.graph.initializer if t.data_type in (kinds.INT8, kinds.UINT8)}
    rounded = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in eight
        for name in node.output
    }
    by_name = {layer.node: layer for layer in layers}
    counts: Counter[str] = Counter()
    for node in nodes_of(model):
        if node.op_type in INTEGER_OPERATORS:
            counts[INTEGER_OPERATORS[node.op_type]] += 1
        elif node.op_type == "Gather" and node.input[0] in eight:
            counts["Gather"] += 1
        elif node.name in by_name and rounded.intersection(node.input):
            counts[by_name[node.name].operator] += 1
    return dict(counts)


def describe_counts(counts: Mapping[str, int], there: Mapping[str, int]) -> str:
    """Says «2 of 3 MatMul and 1 of 1 Conv».

    Args:
        counts: operator type -> number quantized.
        there: operator type -> number in the float graph.
    """
    parts = [f"{counts.get(kind, 0)} of {n} {kind}" for kind, n in sorted(there.items()) if n]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def describe_rounding(rounding: Rounding) -> str:
    """Says «one scale per channel, 7-bit weights, 2 layers left in float»."""
    words = ["one scale per channel" if rounding.per_channel else "one scale per tensor"]
    words.append("7-bit weights" if rounding.reduce_range else "8-bit weights")
    if rounding.signs != SIGNS[0]:
        words.append(rounding.signs)
    if rounding.spared:
        layers = "layer" if len(rounding.spared) == 1 else "layers"
        words.append(f"{len(rounding.spared)} {layers} left in float")
    return ", ".join(words)
