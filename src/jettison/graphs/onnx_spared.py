"""Which layers of a piece on the bench stay in float, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.files import write_atomically
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_layer_times import call_times, layer_times
from jettison.graphs.onnx_layers import Layer, sparable
from jettison.graphs.onnx_named_layers import named_layers
from jettison.graphs.onnx_quantize import Rounding
from jettison.graphs.onnx_storage import save_model
from jettison.graphs.onnx_workpiece import Workpiece
from jettison.numerics.knapsack import Item, spared_as_measured
from jettison.numerics.sensitivity import remembered, spared_layers

RESOLVED = 0.01
"""Share of a call's time below which two graphs can't be told apart in a moment."""


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
    piece: Workpiece,
    layers: Sequence[Layer],
    build: Callable[[Sequence[str]], Any],
    rounding: Rounding,
    share: float,
) -> tuple[str, ...]:
    """Names the layers that the knapsack leaves in float, measured together to keep to the share.

    Times are measured here, once a run, and kept in its cache: another machine may choose others.

    Args:
        piece: the graph and its rows.
        layers: that may be in 8 bits.
        build: quantizes the graph with these layers left in float as well.
        rounding: of the weights; what else is in float.
        share: of the time saved that may be given up.
    """
    serving = piece.bench.device.cpu_class, piece.bench.serving.threads
    memory = piece.memory("spared-for-time", *serving, rounding, share)
    if not memory.exists():
        with running():
            losses = _losses(piece, per_channel=rounding.per_channel)
        among = {layer.node for layer in sparable(piece.light, layers) if layer.activation}
        lost = {n: losses[n] for n in (layer.node for layer in layers) if n in among}
        chosen = _within(piece, lost, build, share)
        write_atomically(memory, json.dumps(chosen))
    names: list[str] = json.loads(memory.read_text())
    return tuple(names)


def _losses(piece: Workpiece, *, per_channel: bool) -> dict[str, float]:
    """Layer -> how far the answers move when it alone is in 8 bits."""
    found = remembered(
        [layer.node for layer in piece.every_layer()],
        piece.memory("sensitivity", per_channel),
        lambda: piece.trials(per_channel=per_channel),
    )
    return {one.layer: one.distance or 0.0 for one in found}


def _within(
    piece: Workpiece,
    losses: Mapping[str, float],
    build: Callable[[Sequence[str]], Any],
    share: float,
) -> tuple[str, ...]:
    """Chooses among layers by what they lose, and measures each choice as a whole."""
    batch, threads = next(iter(piece.batches(1))), piece.bench.serving.threads
    eight = _saved(piece, build(()), "in-8-bits")
    with running():
        slow = layer_times(piece.graph, batch, threads)
        fast = layer_times(eight, batch, threads)
        whole, least = call_times((piece.graph, eight), batch, threads)

    def cost(names: Sequence[str]) -> float:
        tried = _saved(piece, build(names), "partly-in-8-bits")
        with running():
            before, after = call_times((eight, tried), batch, threads)
        return after - before

    # Squared errors of layers add up, where each pushes in a direction of its own.
    items = [
        Item(name, min(loss, 1e6) ** 2, slow[name] - fast[name])
        for name, loss in losses.items()
        if name in slow and name in fast
    ]
    return spared_as_measured(items, share * (whole - least), cost, RESOLVED * least)


def _saved(piece: Workpiece, model: Any, name: str) -> Path:
    save_model(model, piece.graph.parent / name)
    return piece.graph.parent / name / "model.onnx"
