"""The range of every activation of a prepared graph, by one calibrator or by the best on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_prepare import float_answers
from jettison.graphs.onnx_quantize import Rounding, quantize_static
from jettison.graphs.onnx_range_trials import RangeTrials, fixed_ranges
from jettison.graphs.onnx_taps import Taps
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.calibration import Histogram, remembered, watch
from jettison.numerics.calibrators import COMPARING, NAMED, calibrator
from jettison.numerics.range_choice import (
    LEAST_ROWS,
    Chosen,
    Spans,
    best_for_all,
    better_for_some,
    held_out_rows,
)
from jettison.numerics.sensitivity import relative_distance


def find_ranges(
    piece: Workpiece, operators: Collection[str], name: str, rounding: Rounding
) -> Chosen:
    """Finds the range of every activation around the operators to quantize.

    Args:
        piece: the prepared graph and its rows.
        operators: types to quantize.
        name: a calibrator, `held_out` or `held_out_per_tensor`.
        rounding: with which ranges are compared.

    Raises:
        CandidateFailed: for an unknown name, NaN or infinite values, or too few rows to hold any
            out.
    """
    if name not in COMPARING:
        chosen = calibrator(name)
        seen = _histograms(piece, operators, None)
        return Chosen({t: chosen.range(h) for t, h in seen.items()}, name, {}, {})
    held = held_out_rows(piece.fitting.rows.n)
    if not held:
        raise CandidateFailed(
            f"`calibrator` = {name!r} holds out a quarter of the fitting rows and needs at least "
            f"{LEAST_ROWS}; there are {piece.fitting.rows.n}. Give more rows, or name a calibrator "
            f"({', '.join(NAMED)})"
        )
    seen = _histograms(piece, operators, piece.fitting.rows.n - held)
    spans: dict[str, Spans] = {
        kind: {t: calibrator(kind).range(h) for t, h in seen.items()} for kind in NAMED
    }
    losses = _losses(piece, spans[NAMED[0]], rounding, held)
    best = best_for_all(spans, losses.whole)
    if name == COMPARING[1]:
        best = better_for_some(best, spans, (losses.first, losses.second))
    return best


def _histograms(
    piece: Workpiece, operators: Collection[str], rows: int | None
) -> dict[str, Histogram]:
    """Histograms over the first rows, or all; found once for all calibrators."""

    def find() -> dict[str, Histogram]:
        apart = not piece.model.traits & {"batch-dependent", "fixed-batch"}
        taps = Taps(piece.graph, around(piece.light, operators), threads=1, apart=apart)
        return watch(taps.names, piece.batches(rows), taps.run)

    parts = (tuple(operators),) if rows is None else (tuple(operators), rows)
    return remembered(piece.memory("ranges", *parts), find)


def around(light: Any, operators: Collection[str]) -> set[str]:
    """Activations that the operators of these types read or write."""
    stored = {tensor.name for tensor in light.graph.initializer}
    return {
        name
        for node in light.graph.node
        if node.op_type in operators
        for name in (*node.input, *node.output)
        if name and name not in stored
    }


@dataclass(frozen=True, slots=True)
class _Losses:
    """Distance to the float answers on the held-out rows, and on each half of them."""

    whole: Callable[[Spans], float]
    first: Callable[[Spans], float]
    second: Callable[[Spans], float]


def _losses(piece: Workpiece, spans: Spans, rounding: Rounding, held: int) -> _Losses:
    batches = piece.last_rows(held)
    output = piece.model.prediction
    reference = float_answers(piece.graph, batches, output)
    quantized = quantize_static(piece.graph, spans, rounding)
    fixed = fixed_ranges(piece.light, rounding.operators)
    trials = RangeTrials(quantized, piece.graph.parent / "trials", output, fixed)

    def loss(part: slice) -> Callable[[Spans], float]:
        some = batches[part]
        rows = sum(len(next(iter(b.values()))) for b in batches[: part.start or 0])
        n = sum(len(next(iter(b.values()))) for b in some)
        there: Array = reference[rows : rows + n]
        return lambda tried: relative_distance(there, _like(trials.answers(some, tried), there))

    middle = len(batches) // 2
    # `last_rows` gives two calls at least, so that the halves are different rows.
    return _Losses(loss(slice(0, None)), loss(slice(0, middle)), loss(slice(middle, None)))


def _like(found: Array, reference: Array) -> Array:
    """Widened to the width of the reference, whose longest row may lie in another batch."""
    return np.pad(found, ((0, 0), (0, reference.shape[1] - found.shape[1])))
