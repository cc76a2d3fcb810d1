"""Static int8 of a prepared graph: ranges, weights, corrected biases, and a look at what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.graphs.onnx_bias import correct_biases
from jettison.graphs.onnx_diagnosis import diagnose
from jettison.graphs.onnx_layers import Layer
from jettison.graphs.onnx_quantize import Rounding, quantize_static
from jettison.graphs.onnx_spared import spared_for_time
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.range_choice import Chosen

BIAS_ROWS = 128
"""Fitting rows over which the shift of a channel is averaged."""

DIAGNOSIS_ROWS = 8
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized graph with what was done besides rounding.

    Attributes:
        model: an `onnx.ModelProto`, weights in memory.
        notes: what a person should know, one half-sentence each.
        spared: names of the layers that stayed in float.
    """

    model: Any
    notes: tuple[str, ...]
    spared: tuple[str, ...]


def quantize(
    piece: Workpiece,
    layers: Sequence[Layer],
    chosen: Chosen,
    rounding: Rounding,
    share: float,
    *,
    correct: bool,
) -> Quantized:
    """Quantizes a prepared graph with ranges that are known.

    Args:
        piece: the graph and its rows.
        layers: those to quantize, in order.
        chosen: the range of every activation.
        rounding: of the weights.
        share: of the time saved that may be given up for layers in float.
        correct: whether biases make up for what rounding shifts.
    """
    notes = []
    model = quantize_static(piece.graph, chosen.spans, rounding)
    if share:
        free = [layer for layer in layers if layer.node not in rounding.spared]
        more = spared_for_time(piece, free, model, share, per_channel=rounding.per_channel)
        notes.append(_told(more, share))
        rounding = dataclasses.replace(rounding, spared=(*rounding.spared, *more))
        model = quantize_static(piece.graph, chosen.spans, rounding)
    if correct:
        computed = [layer for layer in layers if layer.activation]
        rows = list(piece.batches(BIAS_ROWS))
        graph, count = correct_biases(piece.graph, model, computed, rows)
        if count:
            model = quantize_static(graph, chosen.spans, rounding)
        notes.append(f"{count} of {len(computed)} biases corrected")
    told = _look(piece, model, layers, rounding)
    return Quantized(model, (*notes, told) if told else tuple(notes), rounding.spared)


def _told(names: Sequence[str], share: float) -> str:
    if not names:
        return f"no layer is worth {share:.0%} of the time saved"
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"for at most {share:.0%} of the time saved, {shown}{rest} left in float"


def _look(piece: Workpiece, model: Any, layers: Sequence[Layer], rounding: Rounding) -> str:
    rows = list(piece.batches(DIAGNOSIS_ROWS))
    inside = [layer for layer in layers if layer.node not in rounding.spared]
    return diagnose(Path(piece.graph), model, inside, rows, piece.model.prediction)
