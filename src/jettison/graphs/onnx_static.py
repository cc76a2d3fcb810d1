"""Static int8 of a prepared graph: ranges, weights, corrected biases, and a look at what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.running_time import running
from jettison.graphs.onnx_bias import correct_biases
from jettison.graphs.onnx_diagnosis import diagnose
from jettison.graphs.onnx_layers import Layer, quantizable_layers
from jettison.graphs.onnx_quantize import Rounding, quantize_static
from jettison.graphs.onnx_ranges import find_ranges
from jettison.graphs.onnx_smooth_piece import smoothed_if
from jettison.graphs.onnx_spared import Wish, spared, spared_for_time
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.calibrators import NAMED
from jettison.numerics.range_choice import Chosen

BIAS_ROWS = 128
"""Fitting rows over which the shift of a channel is averaged."""

DIAGNOSIS_ROWS = 8
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted.

    Attributes:
        rounding: of the weights; its `spared` is empty.
        wish: which layers may stay in float.
        calibrator: how ranges are found (`onnx_ranges.find_ranges`).
        smoothing: whether activations are smoothed before.
        correct: whether biases make up for what rounding shifts.
    """

    rounding: Rounding
    wish: Wish
    calibrator: str
    smoothing: bool
    correct: bool


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized graph with what was done.

    Attributes:
        model: an `onnx.ModelProto`, weights in memory.
        layers: of the float graph, that were to be quantized.
        rounding: with the layers that stayed in float.
        chosen: the ranges.
        notes: what a person should know besides, one half-sentence each.
        warning: which layer goes wrong first; empty where answers stay close.
    """

    model: Any
    layers: tuple[Layer, ...]
    rounding: Rounding
    chosen: Chosen
    notes: tuple[str, ...]
    warning: str


def static_int8(prepared: Workpiece, order: Order) -> Quantized:
    """Quantizes a prepared graph.

    Raises:
        CandidateFailed: if it can't be watched or quantized, or for an unknown calibrator or layer.
    """
    piece, smoothed = smoothed_if(
        prepared, wanted=order.smoothing, whole_range=order.calibrator == NAMED[0]
    )
    rounding, share = order.rounding, order.wish.share
    layers = quantizable_layers(piece.light, rounding.operators)
    with running():
        chosen = find_ranges(piece, rounding.operators, order.calibrator, rounding)
    kept = spared(piece, layers, order.wish, per_channel=rounding.per_channel)
    notes = [smoothed] if smoothed else []
    if share:
        more = spared_for_time(
            piece,
            [layer for layer in layers if layer.node not in kept],
            lambda names: quantize_static(
                piece.graph, chosen.spans, dataclasses.replace(rounding, spared=(*kept, *names))
            ),
            dataclasses.replace(rounding, spared=kept),
            share,
        )
        notes.append(_told(more, share))
        kept = (*kept, *more)
    rounding = dataclasses.replace(rounding, spared=kept)
    model = quantize_static(piece.graph, chosen.spans, rounding)
    if order.correct:
        computed = [layer for layer in layers if layer.activation]
        rows = list(piece.batches(BIAS_ROWS))
        graph, count = correct_biases(piece.graph, model, computed, rows)
        if count:
            model = quantize_static(graph, chosen.spans, rounding)
        notes.append(f"{count} of {len(computed)} biases corrected")
    warning = _look(piece, model, layers, rounding)
    return Quantized(model, layers, rounding, chosen, tuple(notes), warning)


def _told(names: Sequence[str], share: float) -> str:
    if not names:
        return f"no layer is worth {share:.0%} of the time saved"
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"for at most {share:.0%} of the time saved, {shown}{rest} left in float"


def _look(piece: Workpiece, model: Any, layers: Sequence[Layer], rounding: Rounding) -> str:
    rows = list(piece.batches(DIAGNOSIS_ROWS))
    inside = [layer for layer in layers if layer.node not in rounding.spared]
    with running():
        return diagnose(Path(piece.graph), model, inside, rows, piece.model.prediction)
