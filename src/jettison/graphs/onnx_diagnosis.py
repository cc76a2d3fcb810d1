"""Which layer of a quantized graph goes wrong first: both graphs are walked side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.rows import Array, Batch
from jettison.graphs.onnx_layers import Layer
from jettison.graphs.onnx_prepare import float_answers
from jettison.graphs.onnx_storage import read_light, save_model
from jettison.graphs.onnx_taps import Taps
from jettison.numerics.sensitivity import relative_distance

SUSPICIOUS = 0.25
"""Share of their size by which answers move before anybody asks where from."""

JUMP_DB = 10.0
"""A layer whose answers have this much less signal-to-noise than what it reads is a culprit."""

CLEAN_DB = 20.0
"""Above this (an error of a tenth) no layer is called wrong."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first layer that goes wrong.

    Attributes:
        layer: its name.
        before_db: signal-to-noise ratio of what it reads; infinite where that is exact.
        after_db: of what it answers.
    """

    layer: str
    before_db: float
    after_db: float

    def __str__(self) -> str:
        before = "an exact input" if math.isinf(self.before_db) else f"{self.before_db:.0f} dB"
        return (
            f"the first layer that goes wrong is `{self.layer}` (signal-to-noise falls from {before} "
            f"to {self.after_db:.0f} dB); `keep_float` leaves it in float"
        )


def diagnose(
    graph: Path, quantized: Any, layers: Sequence[Layer], batches: Sequence[Batch], output: str
) -> str:
    """Says what goes wrong in a quantized graph; empty where its answers stay close.

    Args:
        graph: the prepared float graph.
        quantized: the same in QDQ form, weights in memory.
        layers: of the float graph, in order.
        batches: a few rows.
        output: name of the output that is compared.
    """
    save_model(quantized, graph.parent / "diagnosed")
    path = graph.parent / "diagnosed" / "model.onnx"
    reference = float_answers(graph, batches, output)
    moved = relative_distance(reference, float_answers(path, batches, output))
    if moved <= SUSPICIOUS:
        return ""
    told = f"answers move by {moved:.0%} of their size"
    ratios = noise(graph, path, layers, batches)
    found = first_culprit(layers, ratios)
    if found is not None:
        return f"{told}: {found}"
    return f"{told}; no single layer stands out{_worst(layers, ratios)}"


def first_culprit(layers: Sequence[Layer], ratios: Mapping[str, float]) -> Culprit | None:
    """The first layer, in the order of the graph, whose answer is far noisier than its input.

    Args:
        layers: in order; each reads `activation`.
        ratios: signal-to-noise in dB of activations, and of answers under the names of layers.
    """
    for layer in layers:
        if layer.node not in ratios:
            continue
        before = ratios.get(layer.activation, math.inf)
        after = ratios[layer.node]
        if after < CLEAN_DB and before - after >= JUMP_DB:
            return Culprit(layer.node, before, after)
    return None


def _worst(layers: Sequence[Layer], ratios: Mapping[str, float]) -> str:
    known = [layer.node for layer in layers if math.isfinite(ratios.get(layer.node, math.inf))]
    if not known:
        return ""
    name = min(known, key=lambda node: ratios[node])
    return f" (the noisiest is `{name}` at {ratios[name]:.0f} dB)"


def noise(
    graph: Path, quantized: Path, layers: Sequence[Layer], batches: Sequence[Batch]
) -> dict[str, float]:
    """Signal-to-noise in dB of what layers read (by tensor) and answer (by layer)."""
    answers = {node.name: node.output[0] for node in read_light(graph).graph.node}
    tensors = {layer.activation for layer in layers if layer.activation}
    tensors |= {answers[layer.node] for layer in layers}
    stands = _counterparts(quantized, tensors)
    before, after = Taps(graph, tensors, threads=1), Taps(quantized, stands.values(), threads=1)
    sums: dict[str, tuple[float, float]] = {}
    for batch in batches:
        exact = dict(before.run(batch))
        found = dict(after.run(batch))
        for name in tensors & set(exact):
            if stands.get(name) in found:
                signal, error = _energies(exact[name], found[stands[name]])
                old = sums.get(name, (0.0, 0.0))
                sums[name] = (old[0] + signal, old[1] + error)
    ratios = {name: _decibels(*both) for name, both in sums.items()}
    own = {
        layer.node: ratios[answers[layer.node]] for layer in layers if answers[layer.node] in ratios
    }
    return {**ratios, **own}


def _counterparts(quantized: Path, tensors: set[str]) -> dict[str, str]:
    """Float tensor -> the tensor of the quantized graph that stands for it, rounded where it is."""
    there = {name for node in read_light(quantized).graph.node for name in node.output}
    found = {}
    for name in tensors:
        for candidate in (f"{name}_DequantizeLinear_Output", name):
            if candidate in there:
                found[name] = candidate
                break
    return found


def _energies(exact: Array, found: Array) -> tuple[float, float]:
    signal = np.asarray(exact, np.float64)
    return float(np.square(signal).sum()), float(np.square(found - signal).sum())


def _decibels(signal: float, error: float) -> float:
    if not math.isfinite(error):
        return -math.inf
    if error == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / error) if signal else -math.inf
