"""Cross-layer equalisation of a prepared ONNX graph: the answers stay, the ranges come together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.graphs.onnx_chains import Pair, in_axis, out_axis, pairs_of
from jettison.numerics.equalising import channel_ranges, equalising_scales

ROUNDS = 20
"""Passes over all pairs: the layers of a chain share scales, which settle after some passes."""

SETTLED = 1e-3
WORTH = 1.05
"""A pair whose scales all lie within this factor of each other is left alone."""


@dataclass(frozen=True, slots=True)
class Equalised:
    """What was done.

    Attributes:
        pairs: number of pairs whose weights changed.
        weights: number of weights changed.
        spread: the largest ratio between two channels' scales.
    """

    pairs: int
    weights: int
    spread: float


def equalise(model: Any) -> Equalised:
    """Equalises all pairs of a graph whose weights are in memory; the graph is changed.

    Args:
        model: an `onnx.ModelProto` that `prepare_graph` wrote (BatchNorm folded).
    """
    import onnx

    pairs = pairs_of(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {
        name for pair in pairs for node in (pair.first, pair.second) for name in node.input[1:3]
    }
    values = {
        name: onnx.numpy_helper.to_array(stored[name]).astype(np.float64)
        for name in names
        if name in stored
    }
    totals = [np.ones(values[p.first.input[1]].shape[out_axis(p.first)]) for p in pairs]
    for _ in range(ROUNDS):
        moved = 0.0
        for place, pair in enumerate(pairs):
            scales = _scales(values, pair)
            _scale(values, pair, scales)
            totals[place] = totals[place] * scales
            moved = max(moved, float(np.abs(np.log(scales)).max(initial=0.0)))
        if moved < SETTLED:
            break
    spreads = [float(total.max() / total.min()) for total in totals]
    changed = [pair for pair, spread in zip(pairs, spreads) if spread > WORTH]
    if not changed:
        return Equalised(0, 0, max(spreads, default=1.0))
    for name, array in values.items():
        stored[name].CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    weights = {n.input[1] for pair in changed for n in (pair.first, pair.second)}
    return Equalised(len(changed), sum(values[n].size for n in weights), max(spreads))


def _scales(values: dict[str, Array], pair: Pair) -> Array:
    first = channel_ranges(values[pair.first.input[1]], out_axis(pair.first))
    second = channel_ranges(values[pair.second.input[1]], in_axis(pair.second))
    return equalising_scales(first, second.reshape(len(first), pair.positions).max(axis=1))


def _scale(values: dict[str, Array], pair: Pair, scales: Array) -> None:
    weight, axis = pair.first.input[1], out_axis(pair.first)
    values[weight] = values[weight] / _along(scales, values[weight].ndim, axis)
    if len(pair.first.input) > 2 and pair.first.input[2]:
        bias = pair.first.input[2]
        values[bias] = values[bias] / scales.reshape(values[bias].shape)
    weight, axis = pair.second.input[1], in_axis(pair.second)
    spread = np.repeat(scales, pair.positions)
    values[weight] = values[weight] * _along(spread, values[weight].ndim, axis)


def _along(scales: Array, rank: int, axis: int) -> Array:
    return scales.reshape([-1 if i == axis else 1 for i in range(rank)])
