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

    def __init__(
        self, graph: Path, names: Collection[str], threads: int, *, apart: bool = False
    ) -> None:
        """Writes `tapped.onnx` beside `graph` (its external data is shared) and opens it.

        Args:
            graph: a prepared graph.
            names: tensors of the main graph; those that are no float32 are dropped (see `names`).
            threads: of the session.
            apart: whether a batch may be run in parts, each of which gives every tensor: where the
                tensors of a batch don't fit, this saves whole runs. Not for graphs that take a
                fixed number of rows, or whose answers change with batch mates.
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
        self._apart = apart

    def run(self, batch: Batch) -> Iterator[tuple[str, Array]]:
        """Gives the tapped tensors of a batch one by one, a bounded number of them in memory.

        Each comes once, or once for each part of the rows.
        """
        rows = len(next(iter(batch.values())))
        whole = {name: batch[name] for name in self._inputs}
        for name in self.names:
            if name in whole:
                yield name, whole[name]
        step = self._rows_at_once(rows)
        for start in range(0, rows, step):
            part = min(step, rows - start)
            feed = {name: values[start : start + part] for name, values in whole.items()}
            for piece in self._pieces(part):
                for name, values in zip(piece, run_session(self._session, piece, feed)):
                    # The first bytes seen tell how many tensors fit the next time.
                    self._sizes[name] = values.nbytes / part
                    yield name, values

    def _rows_at_once(self, rows: int) -> int:
        known = all(name in self._sizes or name in self._inputs for name in self.names)
        held = sum(self._sizes.values())
        if not self._apart or not known or rows * held <= MEMORY:
            return rows
        return max(1, int(MEMORY / held))

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
