"""Which layers of a piece on the bench stay in float, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.files import write_atomically
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_layer_times import layer_times
from jettison.graphs.onnx_layers import Layer, sparable
from jettison.graphs.onnx_named_layers import named_layers
from jettison.graphs.onnx_storage import save_model
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.knapsack import Item, spared_by_knapsack
from jettison.numerics.sensitivity import remembered, spared_layers


@dataclass(frozen=True, slots=True)
class Wish:
    """What may stay in float.

    Attributes:
        named: comma-separated patterns of layers.
        worst: how many of the most sensitive layers.
        share: of the time that 8 bits save, to be given up for the most sensitivity; 0 for none.
    """

    named: str
    worst: int
    share: float

    @classmethod
    def of(cls, settings: Settings, technique: str) -> Wish:
        """Reads `keep_float`, `exclude_layers` and `fallback`.

        Raises:
            CandidateFailed: if the share is not from 0 to 1.
        """
        share = float(settings.get("fallback", 0.0))
        if not 0.0 <= share <= 1.0:
            raise CandidateFailed(
                f"`fallback` of `{technique}` is a share of the time that 8 bits save, from 0 to 1; "
                f"got {share:g}"
            )
        worst = int(settings.get("exclude_layers", 0))
        return cls(str(settings.get("keep_float", "")), worst, share)


def spared(
    piece: Workpiece, layers: Sequence[Layer], wish: Wish, *, per_channel: bool
) -> tuple[str, ...]:
    """Names the layers that the user and their sensitivity leave in float (not the knapsack's).

    Raises:
        CandidateFailed: for a pattern that matches nothing.
    """
    named = named_layers(wish.named, layers, Path(piece.model.artifact.path))
    among = {layer.node for layer in sparable(piece.light, layers)} - set(named)
    worst = spared_layers(
        wish.worst,
        among,
        [layer.node for layer in piece.every_layer()],
        piece.memory("sensitivity", per_channel),
        lambda: piece.trials(per_channel=per_channel),
    )
    return (*named, *worst)


def spared_for_time(
    piece: Workpiece, layers: Sequence[Layer], quantized: Any, share: float, *, per_channel: bool
) -> tuple[str, ...]:
    """Names the layers that the knapsack leaves in float.

    Times are measured here, once a run, and kept in its cache: another machine may choose others.

    Args:
        piece: the graph and its rows.
        layers: that may be in 8 bits.
        quantized: the graph with all of them in 8 bits.
        share: of the time saved that may be given up.
        per_channel: how weights are rounded.
    """
    with running():
        found = remembered(
            [layer.node for layer in piece.every_layer()],
            piece.memory("sensitivity", per_channel),
            lambda: piece.trials(per_channel=per_channel),
        )
        saved = _time_saved(piece, layers, quantized)
    losses = {one.layer: one.distance or 0.0 for one in found}
    among = {layer.node for layer in sparable(piece.light, layers) if layer.activation}
    items = [
        # Squared errors of layers add up, where each pushes in a direction of its own.
        Item(layer.node, min(losses[layer.node], 1e6) ** 2, saved.get(layer.node, math.inf))
        for layer in layers
        if layer.node in among
    ]
    return spared_by_knapsack([item for item in items if math.isfinite(item.cost)], share)


def _time_saved(piece: Workpiece, layers: Sequence[Layer], quantized: Any) -> Mapping[str, float]:
    """Layer -> microseconds that it takes less in 8 bits than in float; only those timed in both."""
    serving = piece.bench.device.cpu_class, piece.bench.serving.threads
    memory = piece.memory("saved-time", *serving, [layer.node for layer in layers])
    if not memory.exists():
        folder = piece.graph.parent / "timed"
        save_model(quantized, folder)
        batch = next(iter(piece.batches(1)))
        threads = piece.bench.serving.threads
        before = layer_times(piece.graph, batch, threads)
        after = layer_times(folder / "model.onnx", batch, threads)
        both = {n: before[n] - after[n] for n in before if n in after}
        write_atomically(memory, json.dumps(both, indent=1))
    times: dict[str, float] = json.loads(memory.read_text())
    return times
