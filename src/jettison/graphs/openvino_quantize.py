"""NNCF on OpenVINO graphs: its quantizers with checked rows, and what they changed, counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.openvino_ir import FAILURES, import_nncf, reason_of
from jettison.graphs.openvino_layers import Weighted, weighted_layers
from jettison.numerics.fixed_batches import fixed_batch, pieces

BIAS_CORRECTIONS = ("fast", "full", "off")
HALF_RANGES = ("all", "first", "none")


@dataclass(frozen=True, slots=True)
class Rounding:
    """How 8-bit products are made.

    Attributes:
        symmetric: activations as well as weights; else activations get a zero point.
        bias_correction: one of `BIAS_CORRECTIONS`.
        half_range: which weights use 7 of the 8 bits, one of `HALF_RANGES`.
        transformer: look for the patterns of attention.
        rows: calibration rows at most.
        spared: names of layers that stay in float.
    """

    symmetric: bool
    bias_correction: str
    half_range: str
    transformer: bool
    rows: int
    spared: tuple[str, ...] = ()


def calibration_rows(model: Model, fitting: FittingData, limit: int) -> Iterator[dict[str, Array]]:
    """Gives fitting rows one by one, because NNCF takes the extremes of each call for one row's.

    Raises:
        CandidateFailed: for a row with a value that is no number, or with an axis of length 0.
    """
    size = fixed_batch(model)
    for row, batch in enumerate(fitting.rows.batches(1, limit)):
        for name, values in batch.items():
            if not values.size:
                raise CandidateFailed(
                    f"the input `{name}` of calibration row {row} has shape {values.shape[1:]}: "
                    "nothing to find a range from; fill or drop that row"
                )
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise CandidateFailed(
                    f"the input `{name}` of calibration row {row} is NaN or infinite, so activation "
                    "ranges can't be found; fill or drop that row"
                )
        yield from pieces(batch, size) if size else (batch,)


def quantize(graph: Any, rows: Sequence[Mapping[str, Array]], rounding: Rounding) -> Any:
    """Gives a graph whose products and convolutions compute in 8 bits.

    Args:
        graph: an `openvino.Model` in float; left as it is.
        rows: input name -> array, one row each.
        rounding: how.

    Raises:
        CandidateFailed: if there is no row, or NNCF fails; quotes its reason.
    """
    if not rows:
        raise CandidateFailed("there are no calibration rows; static ranges need at least one")
    nncf = import_nncf()
    half = {"all": "ENABLE", "first": "FIRST_LAYER", "none": "DISABLE"}[rounding.half_range]
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix=getattr(nncf.OverflowFix, half),
        disable_bias_correction=rounding.bias_correction == "off",
    )
    preset = nncf.QuantizationPreset
    with _quiet(nncf):
        return nncf.quantize(
            graph,
            nncf.Dataset(rows),
            preset=preset.PERFORMANCE if rounding.symmetric else preset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=min(rounding.rows, len(rows)),
            fast_bias_correction=rounding.bias_correction != "full",
            model_type=nncf.ModelType.TRANSFORMER if rounding.transformer else None,
            ignored_scope=nncf.IgnoredScope(names=list(rounding.spared)),
            advanced_parameters=advanced,
        )


def compress(graph: Any, bits: int, group: int) -> Any:
    """Gives a graph whose large weights are stored in few bits and unpacked while it runs.

    Args:
        graph: an `openvino.Model` in float; left as it is.
        bits: 8 (one scale per output channel), or 4.
        group: for 4 bits, weights along the input channels that share a scale. Layers whose number
            of input channels is no multiple of it stay in float; tables and the last layer get 8
            bits.

    Raises:
        CandidateFailed: if NNCF fails; quotes its reason.
    """
    nncf = import_nncf()
    modes = nncf.CompressWeightsMode
    with _quiet(nncf):
        if bits == 8:
            return nncf.compress_weights(graph.clone(), mode=modes.INT8_ASYM)
        advanced = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.IGNORE
        )
        return nncf.compress_weights(
            graph.clone(),
            mode=modes.INT4_SYM,
            group_size=group,
            ratio=1.0,
            advanced_parameters=advanced,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """What is stored in integers afterwards.

    Attributes:
        layers: with weights in 8 bits or fewer; weights: in these.
        told: how many of how many layers of each kind, one phrase.
    """

    layers: int
    weights: int
    told: str


def count_integers(before: Any, after: Any) -> Counted:
    """Counts the layers of `after` whose weights are integers that were floats in `before`."""
    were = {layer.name for layer in weighted_layers(before) if not layer.is_integer}
    found = [layer for layer in weighted_layers(after) if layer.name in were]
    rounded = [layer for layer in found if layer.is_integer]
    of = Counter(layer.operator for layer in found)
    by = Counter((layer.operator, layer.stored) for layer in rounded)
    told = " and ".join(f"{n} of {of[kind]} {kind} to {bits}" for (kind, bits), n in by.items())
    return Counted(len(rounded), sum(layer.parameters for layer in rounded), told)


def sparable(graph: Any) -> tuple[Weighted, ...]:
    """The layers that compute with their weights, and so may be left in float."""
    return tuple(layer for layer in weighted_layers(graph) if layer.operator != "Gather")


@contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """Turns NNCF's errors into ours; its remarks about few rows are told by the change instead.

    Raises:
        CandidateFailed: for whatever NNCF raised.
    """
    raised: tuple[type[Exception], ...] = (*FAILURES, LookupError)
    raised += tuple(
        value
        for value in vars(nncf.errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # Its statistics of ranges start at infinity, and say so.
        with np.errstate(all="ignore"):
            yield
    except raised as error:
        raise CandidateFailed(f"NNCF failed on this model: {reason_of(error)}") from error
    finally:
        logger.setLevel(level)
