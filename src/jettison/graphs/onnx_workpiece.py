"""A model on the bench of an 8-bit technique: its prepared graph, its rows, its remembered facts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.profile import LayerLosses
from jettison.domain.record import file_digest
from jettison.domain.rows import Batch, column_file
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_kernels import Kernel, SavedGraph
from jettison.graphs.onnx_layers import PLACES, Layer, quantizable_layers
from jettison.graphs.onnx_prepare import float_answers, prepare_graph
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_trials import LayerTrials
from jettison.numerics.fixed_batches import fixed_batch, pieces
from jettison.numerics.sensitivity import MEASURED, relative_distance, remembered

BATCH_ROWS = 8
"""Rows that run together while activations are watched: as many whatever the serving profile is,
because a recipe must give the same bytes for every one."""

SENSITIVITY_ROWS = 8
SAME = 1e-3
"""Share of their size by which other rounding of float sums may move answers."""

PER_CHANNEL = True
"""How weights are rounded where sensitivity is shown: as techniques round them at first."""


@dataclass(frozen=True, slots=True)
class Workpiece:
    """A prepared graph, and where it came from.

    Attributes:
        model: the float model, left as it is.
        graph: path of the prepared graph.
        light: the same without external data; not to be changed.
        fitting: calibration rows.
        bench: of the step.
        marks: what was done to the graph since it was prepared.
    """

    model: Model
    graph: Path
    light: Any
    fitting: FittingData
    bench: Workbench
    marks: tuple[object, ...] = ()

    def memory(self, kind: str, *parts: object) -> Path:
        """The cache file of a fact that depends on the model, the fitting rows and `parts`."""
        rows = self.fitting.rows
        version = self.bench.device.versions.get("onnxruntime", "")
        contents = rows.digest or [
            file_digest(column_file(rows.folder, name)) for name in rows.names
        ]
        whole = repr((self.model.artifact.digest, contents, rows.n, version, *self.marks, *parts))
        return self.bench.cache / f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:32]}"

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """Fitting rows, a few at a time."""
        return pieces_of(self.model, self.fitting, limit)

    def last_rows(self, count: int) -> list[Batch]:
        """The last fitting rows, in at least two batches that the model accepts, if it takes any."""
        rows = self.fitting.rows
        step = min(BATCH_ROWS, max(1, count // 2))
        starts = range(rows.n - count, rows.n, step)
        found = (rows.batch(slice(s, min(s + step, rows.n))) for s in starts)
        return list(_accepted(self.model, found))

    def check_same(self, changed: Path) -> None:
        """Checks that a graph that was only rescaled answers the first fitting rows as before.

        Raises:
            CandidateFailed: if it does not.
        """
        rows = list(self.batches(BATCH_ROWS))
        if not rows:
            raise CandidateFailed("rescaled answers can't be compared without a fitting row")
        before = float_answers(self.graph, rows, self.model.prediction)
        moved = relative_distance(before, float_answers(changed, rows, self.model.prediction))
        if not moved <= SAME:
            raise CandidateFailed(
                f"rescaling was to leave the answers alone, but moved them by {moved:.2g} of their "
                "size on the fitting rows"
            )

    def every_layer(self) -> tuple[Layer, ...]:
        """All layers that some technique could quantize, in the order of the graph."""
        return quantizable_layers(self.light, tuple(PLACES))

    def trials(self, *, per_channel: bool) -> LayerTrials:
        """Runs of the model with one layer at a time in 8 bits, on the first fitting rows.

        Raises:
            CandidateFailed: if there is no row, or the runtime fails.
        """
        batches = list(self.batches(SENSITIVITY_ROWS))
        if not batches:
            raise CandidateFailed("sensitive layers can't be found without a fitting row")
        return LayerTrials(
            self.graph,
            self.every_layer(),
            batches,
            output=self.model.prediction,
            per_channel=per_channel,
        )


def pieces_of(model: Model, fitting: FittingData, limit: int | None) -> Iterator[Batch]:
    """Fitting rows in batches that the model accepts."""
    return _accepted(model, fitting.rows.batches(BATCH_ROWS, limit))


def _accepted(model: Model, batches: Iterable[Batch]) -> Iterator[Batch]:
    size = fixed_batch(model)
    for batch in batches:
        yield from pieces(batch, size) if size else (batch,)


@contextmanager
def on_the_bench(model: Model, fitting: FittingData, bench: Workbench) -> Iterator[Workpiece]:
    """Prepares a model's graph in a folder that is gone afterwards.

    Raises:
        CandidateFailed: if the graph can't be prepared; says why.
    """
    bench.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=bench.folder, prefix=".work-") as work:
        graph = prepare_graph(bench.open(model), Path(work))
        yield Workpiece(model, graph, read_light(graph), fitting, bench)


def layer_distances(model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
    """How far the answers move when one layer alone is computed in 8 bits.

    These are the runs by which 8-bit techniques choose the layers that they spare; both read and
    write the same facts.

    Raises:
        CandidateFailed: if the graph is not in float, or has no layer that could be in 8 bits.
    """
    if "float32" not in model.traits:
        raise CandidateFailed("only layers with float32 weights can be tried in 8 bits")
    with on_the_bench(model, fitting, bench) as piece:
        layers = [layer.node for layer in piece.every_layer()]
        if not layers:
            raise CandidateFailed("no operator of this graph has constant float weights")
        found = remembered(
            layers,
            piece.memory("sensitivity", PER_CHANNEL),
            lambda: piece.trials(per_channel=PER_CHANNEL),
        )
    saved = SavedGraph(Path(model.artifact.path))
    # Preparing merges operators, and writes a name of its own behind the first of them.
    losses = {
        saved.find(Kernel(one.layer, "", 0.0)) or one.layer: {"int8": one.distance}
        for one in found
        if one.distance is not None and math.isfinite(one.distance)
    }
    rows = min(SENSITIVITY_ROWS, fitting.rows.n)
    most = f", the {MEASURED} that round worst" if len(layers) > MEASURED else ""
    note = (
        "How far the answers move, as a share of their size, when one layer alone is computed in 8 "
        f"bits (measured on {rows} fitting rows{most})."
    )
    return LayerLosses(losses, note)
