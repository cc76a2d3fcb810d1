"""Runs of an OpenVINO graph with one layer at a time in 8 bits: which layers should be spared?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.record import file_digest
from jettison.domain.rows import Array, column_file
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_prepare import stacked
from jettison.graphs.openvino_ir import import_openvino
from jettison.graphs.openvino_quantize import calibration_rows, sparable
from jettison.numerics.sensitivity import relative_distance, spared_layers

SENSITIVITY_ROWS = 8
LEVELS = 256


def spared(
    graph: Any, count: int, model: Model, fitting: FittingData, bench: Workbench
) -> tuple[str, ...]:
    """Names the most sensitive layers of a float graph; the order is found once and remembered.

    Args:
        graph: an `openvino.Model`, left as it is.
        count: how many; 0 does no work.
        model: that the graph is of.
        fitting: the first rows of it are run.
        bench: of the step.

    Raises:
        CandidateFailed: if there is no row.
    """
    names = [layer.name for layer in sparable(graph)]
    rows = fitting.rows
    contents = rows.digest or [file_digest(column_file(rows.folder, name)) for name in rows.names]
    version = bench.device.versions.get("openvino", "")
    whole = repr((model.artifact.digest, contents, rows.n, version))
    memory = bench.cache / f"openvino-sensitivity-{hashlib.sha256(whole.encode()).hexdigest()[:32]}"
    return spared_layers(
        count,
        set(names),
        names,
        memory,
        lambda: LayerTrials(
            graph, names, list(calibration_rows(model, fitting, SENSITIVITY_ROWS)), model.prediction
        ),
    )


class LayerTrials:
    """Answers of a float graph in which one layer's input and weights are rounded to 8 bits.

    Args:
        graph: an `openvino.Model` in float, left as it is.
        layers: names of products and convolutions.
        rows: input name -> array, one row each.
        output: name of the output that is compared.

    Raises:
        CandidateFailed: if there is no row.
    """

    def __init__(
        self, graph: Any, layers: Sequence[str], rows: Sequence[Mapping[str, Array]], output: str
    ) -> None:
        if not rows:
            raise CandidateFailed("sensitive layers can't be found without a fitting row")
        self._graph = graph
        self._rows = rows
        self._output = output
        self._ranges = self._watch(layers)

    def answers(self, node: str = "") -> Array:
        """Answers, shape (n, values), with this layer rounded; with none, the original's."""
        graph = self._graph.clone()
        if node:
            _round_layer(graph, node, self._ranges[node])
        # Rows of several lengths may have answers of several lengths.
        return stacked(
            [row.reshape(-1) for r in self._run(graph) for row in np.asarray(r[self._output])]
        )

    def local_error(self, node: str) -> float:
        """The relative rounding error of the layer's weights."""
        weights = _weights_of(_find(self._graph, node))
        if weights is None:
            return 0.0
        step = np.abs(weights).max(initial=0.0) / (LEVELS // 2 - 1)
        if not step:
            return 0.0
        return relative_distance(weights[None], (np.round(weights / step) * step)[None])

    def _watch(self, layers: Sequence[str]) -> dict[str, tuple[float, float]]:
        """The extremes of what each layer reads, over all rows."""
        graph = self._graph.clone()
        sources = {name: _activation(_find(graph, name)).get_source_output() for name in layers}
        graph.add_outputs(list(sources.values()))
        # Layers that read the same values share one output.
        seen = {_place(r.input_value(0)): at for at, r in enumerate(graph.get_results())}
        taps = {name: seen[_place(source)] for name, source in sources.items()}
        found = dict.fromkeys(layers, (np.inf, -np.inf))
        for result in self._run(graph):
            for name, tap in taps.items():
                values = np.asarray(result[tap])
                low, high = found[name]
                found[name] = (min(low, float(values.min())), max(high, float(values.max())))
        return found

    def _run(self, graph: Any) -> list[Any]:
        openvino = import_openvino()
        wanted = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(graph, "CPU", wanted)
        return [compiled(dict(row)) for row in self._rows]


def _place(output: Any) -> tuple[str, int]:
    return output.get_node().get_friendly_name(), output.get_index()


def _find(graph: Any, name: str) -> Any:
    return next(node for node in graph.get_ops() if node.get_friendly_name() == name)


def _activation(node: Any) -> Any:
    """The input of a layer that is no constant."""
    inputs = node.inputs()
    return inputs[0] if _weights_of(node, 0) is None else inputs[1]


def _weights_of(node: Any, place: int = -1) -> Array | None:
    """The constant that an input reads; with no place, the first one that does."""
    for port in (1, 0) if place < 0 else (place,):
        source = node.input_value(port).get_node()
        if source.get_type_name() == "Constant":
            return np.asarray(source.data, dtype=np.float32)
    return None


def _round_layer(graph: Any, name: str, span: tuple[float, float]) -> None:
    """Puts rounding before both inputs of a layer; a span without width can't be divided."""
    node = _find(graph, name)
    activation = _activation(node)
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    if high > low:
        _round_input(activation, low, high)
    weights = _weights_of(node)
    if weights is None or not np.abs(weights).max(initial=0.0):
        return
    port = next(p for p in node.inputs() if p.get_index() != activation.get_index())
    _round_input(port, -float(np.abs(weights).max()), float(np.abs(weights).max()))


def _round_input(port: Any, low: float, high: float) -> None:
    import_openvino()
    from openvino import opset13

    ends = [opset13.constant(np.float32(value)) for value in (low, high, low, high)]
    rounded = opset13.fake_quantize(port.get_source_output(), *ends, levels=LEVELS)
    port.replace_source_output(rounded.output(0))
