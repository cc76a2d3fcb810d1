"""Running a float graph with one layer at a time as 8 bits would compute it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.graphs.onnx_layers import Layer, weight_values
from jettison.graphs.onnx_prepare import light_options, open_session, run_session, stacked
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_taps import Taps

SWITCH = "jettison_switch_"
STEPS = 127


class LayerTrials:
    """One session that holds the weights once; each layer has a switch and weights to override.

    Every weight becomes an input with the stored values as default, and every activation that a
    layer reads goes through `Where(switch, rounded, activation)`. A trial turns one switch on and
    hands over one set of rounded weights.
    """

    def __init__(
        self,
        graph: Path,
        layers: Sequence[Layer],
        batches: Sequence[Batch],
        *,
        output: str,
        per_channel: bool,
    ) -> None:
        """Opens the session.

        Args:
            graph: a prepared graph.
            layers: of that graph.
            batches: the rows that every trial runs.
            output: name of the output to answer with.
            per_channel: whether weights are rounded with one scale per channel.
        """
        import onnxruntime

        self._graph, self._batches, self._output = graph, batches, output
        self._per_channel = per_channel
        self._layers = {layer.node: layer for layer in layers}
        self._errors: dict[str, float] = {}
        self._light = read_light(graph)
        self._inputs = [value.name for value in self._light.graph.input]
        switched = read_light(graph)
        _add_switches(switched, layers)
        path = graph.with_name("switched.onnx")
        write_atomically(path, switched.SerializeToString(deterministic=True))
        options = light_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self._session = open_session(path, options)

    def answers(self, node: str = "") -> Array:
        """Answers all rows with one layer in 8 bits; with none, as the float graph does.

        Returns:
            Shape (n, values): each row's output as one vector.
        """
        extra: dict[str, Any] = {}
        if node:
            layer = self._layers[node]
            for name in layer.weights:
                extra[name] = self._rounded(layer, name)
            if layer.activation:
                extra[SWITCH + node] = np.ones((), dtype=bool)
        rows: list[Array] = []
        for batch in self._batches:
            feed = {name: batch[name] for name in self._inputs}
            answer = run_session(self._session, [self._output], {**feed, **extra})[0]
            rows.extend(answer.reshape(len(answer), -1))
        return stacked(rows)

    def local_error(self, node: str) -> float:
        """Relative error of the rounded weights and, in squares added, of the rounded activation."""
        layer = self._layers[node]
        squared = 0.0
        for name in layer.weights:
            stored = self._values(name)
            squared += _relative(stored, rounded(stored, self._axis(layer))) ** 2
        if layer.activation:
            squared += self._activation_errors()[layer.activation] ** 2
        return float(np.sqrt(squared))

    def _activation_errors(self) -> dict[str, float]:
        """Relative error of every rounded activation on the first batch, found in one run."""
        if not self._errors:
            names = [layer.activation for layer in self._layers.values() if layer.activation]
            taps = Taps(self._graph, names, threads=1)
            for name, values in taps.run(self._batches[0]):
                self._errors[name] = _relative(values, _rounded_unsigned(values))
        return self._errors

    def _rounded(self, layer: Layer, name: str) -> Array:
        return rounded(self._values(name), self._axis(layer))

    def _axis(self, layer: Layer) -> int | None:
        return layer.axis if self._per_channel else None

    def _values(self, name: str) -> Array:
        return weight_values(self._light, name, str(self._graph.parent))


def _add_switches(model: Any, layers: Sequence[Layer]) -> None:
    import onnx

    nodes = {node.name: node for node in model.graph.node}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = dict.fromkeys(name for layer in layers for name in layer.weights)
    for name in weights:
        info = onnx.helper.make_tensor_value_info(
            name, stored[name].data_type, list(stored[name].dims)
        )
        model.graph.input.append(info)
    before: list[Any] = []
    rounded_already: set[str] = set()
    for layer in (one for one in layers if one.activation):
        switch, source = SWITCH + layer.node, layer.activation
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(switch, onnx.TensorProto.BOOL, [])
        )
        model.graph.initializer.append(
            onnx.helper.make_tensor(switch, onnx.TensorProto.BOOL, [], [False])
        )
        names = [f"{source}_jettison_{part}" for part in ("whole", "scale", "zero", "rounded")]
        if source not in rounded_already:
            rounded_already.add(source)
            before.append(onnx.helper.make_node("DynamicQuantizeLinear", [source], names[:3]))
            before.append(onnx.helper.make_node("DequantizeLinear", names[:3], names[3:]))
        chosen = f"{layer.node}_jettison_chosen"
        before.append(onnx.helper.make_node("Where", [switch, names[3], source], [chosen]))
        target = nodes[layer.node]
        place = list(target.input).index(source)
        target.input[place] = chosen
    # The runtime sorts nodes by what they read.
    model.graph.node.extend(before)


def rounded(values: Array, axis: int | None) -> Array:
    """Rounds values as symmetric 8-bit integers hold them, and gives them back as floats.

    Args:
        values: of any shape.
        axis: the channel axis, each channel with a scale of its own; `None` for one scale.
    """
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(axis=others, keepdims=True, initial=0.0)
    scale = np.where(largest > 0.0, largest, 1.0) / STEPS
    result: Array = (np.clip(np.rint(values / scale), -STEPS, STEPS) * scale).astype(values.dtype)
    return result


def _rounded_unsigned(values: Array) -> Array:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (high - low) / 255 or 1.0
    zero = np.rint(-low / scale)
    result: Array = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return result


def _relative(before: Array, after: Array) -> float:
    size = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / size if size else 0.0
