"""Reading intermediate tensors of an ONNX graph while ONNX Runtime runs it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.graphs.onnx_prepare import light_options, open_session, run_session
from jettison.graphs.onnx_storage import read_light

MEMORY = 128 * 2**20
"""Bytes of tapped tensors that one run may hand back; more are fetched in several runs."""


class Taps:
    """A session in which chosen tensors are outputs as well."""

    def __init__(self, graph: Path, names: Collection[str], threads: int) -> None:
        """Writes `tapped.onnx` beside `graph` (its external data is shared) and opens it.

        Args:
            graph: a prepared graph.
            names: tensors of the main graph; those that are no float32 are dropped (see `names`).
            threads: of the session.
        """
        import onnxruntime

        model = read_light(graph)
        self._inputs = [value.name for value in model.graph.input]
        given = {*self._inputs, *(value.name for value in model.graph.output)}
        for name in sorted(set(names) - given):
            # Without a type: the runtime infers it, also behind operators of its own.
            model.graph.output.add().name = name
        tapped = graph.with_name("tapped.onnx")
        write_atomically(tapped, model.SerializeToString(deterministic=True))
        options = light_options(threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = open_session(tapped, options)
        outer = (*self._session.get_inputs(), *self._session.get_outputs())
        kinds = {value.name: value.type for value in outer}
        self.names: tuple[str, ...] = tuple(
            sorted(name for name in names if kinds[name] == "tensor(float)")
        )
        self._sizes: dict[str, float] = {}

    def run(self, batch: Batch) -> Iterator[tuple[str, Array]]:
        """Gives the tapped tensors of a batch one by one, a bounded number of them in memory."""
        rows = len(next(iter(batch.values())))
        feed = {name: batch[name] for name in self._inputs}
        for name in self.names:
            if name in feed:
                yield name, feed[name]
        for piece in self._pieces(rows):
            for name, values in zip(piece, run_session(self._session, piece, feed)):
                # The first bytes seen tell how many tensors fit the next time.
                self._sizes[name] = values.nbytes / rows
                yield name, values

    def _pieces(self, rows: int) -> Iterator[list[str]]:
        piece: list[str] = []
        held = 0.0
        for name in self.names:
            if name in self._inputs:
                continue
            # Unknown at first: then one tensor at a time would cost a run each, so a few.
            size = rows * self._sizes.get(name, MEMORY / 16 / rows)
            if piece and held + size > MEMORY:
                yield piece
                piece, held = [], 0.0
            piece.append(name)
            held += size
        if piece:
            yield piece
