"""Which layers lose most when they alone are changed: the order in which they are spared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array
from jettison.domain.running_time import running

MEASURED = 64
"""Layers whose effect on the answers is measured; where there are more, a local error picks them."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one layer costs.

    Attributes:
        layer: its name.
        distance: of the answers to the original's when it alone is changed, as a fraction of
            their size; `None` for layers that a local error ruled out before.
        local: the layer's own relative error, where it was needed.
    """

    layer: str
    distance: float | None
    local: float | None = None


def sensitivity_order(
    layers: Sequence[str],
    distance: Callable[[str], float],
    local: Callable[[str], float],
    measured: int = MEASURED,
) -> tuple[Sensitivity, ...]:
    """Orders layers, the most sensitive first.

    The work depends on the number of layers only, never on a clock, so that the order can be
    repeated.

    Args:
        layers: names, in the order of the graph; ties keep that order.
        distance: runs the model with one layer changed; NaN counts as infinitely far.
        local: a cheap error of one layer, asked only where there are more than `measured` layers.
        measured: for how many layers `distance` is asked.
    """
    locals_ = {name: _worst(local(name)) for name in layers} if len(layers) > measured else {}
    by_local = sorted(layers, key=lambda name: -locals_.get(name, 0.0))
    chosen = set(by_local[:measured])
    found = {name: _worst(distance(name)) for name in layers if name in chosen}
    first = sorted(found, key=lambda name: -found[name])
    rest = [name for name in by_local if name not in chosen]
    return tuple(Sensitivity(n, found.get(n), locals_.get(n)) for n in (*first, *rest))


def _worst(value: float) -> float:
    return math.inf if math.isnan(value) else value


def relative_distance(reference: Array, found: Array) -> float:
    """The mean over rows of |found - reference| / |reference|, both as long vectors.

    Args:
        reference: shape (n, ...).
        found: the same shape.
    """
    before = reference.reshape(len(reference), -1).astype(np.float64)
    after = found.reshape(len(found), -1).astype(np.float64)
    size = np.linalg.norm(before, axis=1)
    apart = np.linalg.norm(after - before, axis=1)
    return float(np.mean(apart / np.where(size > 0.0, size, 1.0)))


class Trials(Protocol):
    """Runs a model on a few rows with one layer changed."""

    def answers(self, node: str = "") -> Array:
        """Answers of shape (n, ...) with this layer changed; with none, the original's."""
        ...

    def local_error(self, node: str) -> float:
        """The layer's own relative error."""
        ...


def spared_layers(
    count: int,
    among: Collection[str],
    every: Sequence[str],
    memory: Path,
    prepare: Callable[[], Trials],
) -> tuple[str, ...]:
    """Names the most sensitive layers among some of a model's layers.

    Args:
        count: how many; 0 needs no order and does no work.
        among: the layers that may be named.
        every: all layers of the model, in the order of the graph: one order serves every choice.
        memory: as in `remembered_order`.
        prepare: as in `remembered_order`.
    """
    if count <= 0:
        return ()
    with running():
        order = remembered_order(every, memory, prepare)
    return tuple(name for name in order if name in among)[:count]


def remembered_order(
    layers: Sequence[str], memory: Path, prepare: Callable[[], Trials]
) -> tuple[str, ...]:
    """Names the layers, the most sensitive first; finds the order once and remembers it.

    Args:
        layers: names, in the order of the graph.
        memory: file that keeps the order; its name carries the digests that it depends on.
        prepare: gets the trials ready; called only when the order is not known yet.
    """
    return tuple(one.layer for one in remembered(layers, memory, prepare))


def remembered(
    layers: Sequence[str], memory: Path, prepare: Callable[[], Trials]
) -> tuple[Sensitivity, ...]:
    """As `remembered_order`, with what was found about each layer."""
    if not memory.exists():
        trials = prepare()
        reference = trials.answers()
        found = sensitivity_order(
            layers,
            distance=lambda name: relative_distance(reference, trials.answers(name)),
            local=trials.local_error,
        )
        entries = [
            {"layer": s.layer, "distance": _finite(s.distance), "local": _finite(s.local)}
            for s in found
        ]
        write_atomically(memory, json.dumps(entries, indent=1))
    return tuple(
        Sensitivity(entry["layer"], _number(entry["distance"]), _number(entry["local"]))
        for entry in json.loads(memory.read_text())
    )


def _finite(value: float | None) -> float | str | None:
    return "infinite" if value == math.inf else value


def _number(stored: float | str | None) -> float | None:
    return math.inf if isinstance(stored, str) else stored
