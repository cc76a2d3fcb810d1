"""Trying ranges of activations on a quantized graph without quantizing it anew.

Every scale and zero point of an activation becomes an input with the stored value as default, so
that one session serves every calibrator, and every mixture of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.rows import Array, Batch
from jettison.graphs.onnx_prepare import light_options, open_session, run_session, stacked
from jettison.graphs.onnx_storage import save_model

Span = tuple[float, float]
LIMITS: Mapping[int, tuple[int, int]] = {2: (0, 255), 3: (-128, 127)}
"""Element type of a zero point (UINT8, INT8) -> the integers that it may stand among."""


class RangeTrials:
    """One session of a QDQ graph whose activation ranges can be given with each run."""

    def __init__(
        self, quantized: Any, folder: Path, output: str, fixed: Collection[str] = ()
    ) -> None:
        """Writes the graph with open scales into `folder` and opens it.

        Args:
            quantized: an `onnx.ModelProto` in QDQ form; left as it is.
            folder: for the file; not that of the prepared graph.
            output: name of the output to answer with.
            fixed: of `fixed_ranges`; they keep the stored range.
        """
        import onnx
        import onnxruntime

        model = onnx.ModelProto()
        model.CopyFrom(quantized)
        places = scale_places(model)
        self._places = {name: at for name, at in places.items() if name not in fixed}
        self._inputs = [value.name for value in model.graph.input]
        self._output = output
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        opened = {name for place in self._places.values() for name in place[:2]}
        for name in sorted(opened):
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(
                    name, stored[name].data_type, list(stored[name].dims)
                )
            )
        save_model(model, folder)
        options = light_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = open_session(folder / "model.onnx", options)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The activations whose range can be given."""
        return tuple(self._places)

    def answers(self, batches: Sequence[Batch], ranges: Mapping[str, Span]) -> Array:
        """Answers all rows, shape (n, values), with these ranges in place of the stored ones."""
        extra: dict[str, Any] = {}
        for tensor, (scale, zero, kind) in self._places.items():
            if tensor in ranges:
                extra[scale], extra[zero] = scale_and_zero(*ranges[tensor], kind)
        rows: list[Array] = []
        for batch in batches:
            feed = {name: batch[name] for name in self._inputs}
            answer = run_session(self._session, [self._output], {**feed, **extra})[0]
            rows.extend(answer.reshape(len(answer), -1))
        return stacked(rows)


def fixed_ranges(light: Any, operators: Collection[str]) -> frozenset[str]:
    """Activations that the quantizer gives a range of its own: shares go from 0 to 1.

    Args:
        light: the prepared graph.
        operators: types that are quantized.
    """
    if "Softmax" not in operators:
        return frozenset()
    return frozenset(node.output[0] for node in light.graph.node if node.op_type == "Softmax")


def scale_places(model: Any) -> dict[str, tuple[str, str, int]]:
    """Activation -> names of its scale and zero point, and the element type of the latter.

    Pooling and reshaping hand on the scale of what they read: it follows the range of that, which
    stands before them, so what they answer is left out.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, tuple[str, str, int]] = {}
    owned: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3 or node.input[0] in stored:
            continue
        source, scale, zero = node.input[:3]
        kind = stored[zero].data_type if zero in stored else 0
        if scale in stored and scale not in owned and kind in LIMITS:
            owned.add(scale)
            found[source.removesuffix("_QuantizeLinear_Input")] = (scale, zero, kind)
    return found


def scale_and_zero(low: float, high: float, kind: int) -> tuple[Array, Array]:
    """Scale and zero point of a range, as ONNX Runtime's quantizer computes them.

    Args:
        low: lowest value to represent; zero is always represented.
        high: highest value to represent.
        kind: element type of the zero point.
    """
    import onnx

    least, most = LIMITS[kind]
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / (most - least))
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(1.0)
    zero = np.clip(np.rint(least - low / scale), least, most)
    return np.array(scale), np.array(zero, onnx.helper.tensor_dtype_to_np_dtype(kind))
