"""The float graph as quantizers need it: constants folded, names given, a recent operator set."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_storage import (
    INLINE_LIMIT,
    SMALLEST_EXTERNAL,
    read_light,
    save_model,
)
from jettison.graphs.onnx_walk import (
    ensure_node_names,
    free_name,
    graph_inputs,
    nodes_of,
    rename_tensors,
    stored_bytes,
    tensor_names,
    tensors_of,
)

OLDEST_OPSET = 13
"""The first operator set whose `DequantizeLinear` has one scale per channel."""

OLDEST_IR = 8
"""Old graphs list their weights as inputs too; quantizers rename weights, so the list is dropped."""

PREPARED = "prepared.onnx"
LOG_ERRORS_ONLY = 3

ADDED = ("_scale", "_zero_point", "_quantized", "_QuantizeLinear", "_DequantizeLinear")
"""What quantizers add to the name of a tensor, to name what stands for it, without looking whether there is
such a tensor; with one, answers are wrong without a word."""

LEAST_SPACE = 1 << 20
"""Bytes: with less than this left, a graph that could not be written met a full disk."""


def prepare_graph(source: Path, folder: Path) -> Path:
    """Writes a float graph that answers the same, ready to be quantized.

    ONNX Runtime folds constants (so weights from `Constant` nodes, casts, transposes and constant
    branches become initializers) and merges what follows a convolution into it. Only rewrites
    that give standard operators are used. Symbolic shape inference is not used: it fails on
    graphs from newer exporters, and the types that quantizers need come from the runtime itself.

    Args:
        source: of the .onnx file, with its external data beside it; left as it is.
        folder: where the graph goes.

    Returns:
        The path of the written graph; every node in it has a name of its own.

    Raises:
        CandidateFailed: if the operator set can't be raised, or the runtime can't load the graph.
    """
    model = read_light(source)
    heavy = sum(stored_bytes(tensor) for tensor in tensors_of(model)) > INLINE_LIMIT
    if _opset(model) < OLDEST_OPSET:
        source = _raise_opset(source, folder / "raised")
    target = folder / PREPARED
    _optimise(source, target, heavy=heavy)
    if not heavy and target.stat().st_size > INLINE_LIMIT:
        # Folding made it larger: now its weights belong beside it too.
        _optimise(source, target, heavy=True)
    prepared = read_light(target)
    ensure_node_names(prepared)
    # Old graphs list a weight as an input too; where folding took the weight away, it is none.
    given = {value.name for value in graph_inputs(model)}
    inputs = [value for value in graph_inputs(prepared) if value.name in given]
    del prepared.graph.input[:]
    prepared.graph.input.extend(inputs)
    _make_way(prepared)
    prepared.ir_version = max(prepared.ir_version, OLDEST_IR)
    used = {node.domain for node in nodes_of(prepared)} | {f.domain for f in prepared.functions}
    _keep_domains(prepared, used)
    write_atomically(target, prepared.SerializeToString(deterministic=True))
    return target


def _make_way(model: Any) -> None:
    """Renames tensors of the names that quantizers would take; inputs and outputs keep theirs."""
    taken = tensor_names(model)
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {}
    for name in sorted(taken):
        for stem in _stems(name):
            moved = name if name not in ends else stem
            if stem in taken and moved not in ends and moved not in names:
                names[moved] = free_name(f"{moved}_", taken)
    if names:
        rename_tensors(model, names)


def _stems(name: str) -> Iterator[str]:
    """What a name may have been made from.

    >>> list(_stems("x_scale_quantized"))
    ['x', 'x_scale']
    """
    for added in ADDED:
        place = name.find(added, 1)
        while place > 0:
            yield name[:place]
            place = name.find(added, place + 1)


def _optimise(source: Path, target: Path, *, heavy: bool) -> None:
    """Writes the graph as the runtime rewrites it, heavy weights beside it.

    Raises:
        CandidateFailed: if the runtime can't load the graph.
        OSError: if the disk is full; the runtime does not always say so.
    """
    import onnxruntime

    options = light_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    if heavy:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{PREPARED}.data"
        )
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes",
            str(SMALLEST_EXTERNAL),
        )
    try:
        open_session(source, options)
    except CandidateFailed as error:
        if shutil.disk_usage(target.parent).free < LEAST_SPACE:
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), str(target)) from error
        raise


def _opset(model: Any) -> int:
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)


def _keep_domains(model: Any, used: set[str]) -> None:
    """Drops the domains that ONNX Runtime declares without using them."""
    standard = {"", "ai.onnx"}
    kept = [o for o in model.opset_import if o.domain in used | standard]
    pairs = sorted((o.domain, o.version) for o in kept)
    del model.opset_import[:]
    for domain, version in pairs:
        entry = model.opset_import.add()
        entry.domain, entry.version = domain, version


def _raise_opset(source: Path, folder: Path) -> Path:
    """Converts to the oldest operator set that can be quantized, and says so if it can't."""
    import onnx

    try:
        model = onnx.version_converter.convert_version(onnx.load(source), OLDEST_OPSET)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise CandidateFailed(
            f"the graph uses operator set {_opset(read_light(source))}; 8-bit operators need "
            f"{OLDEST_OPSET}, and it can't be converted: {error}. Export it again with "
            f"opset_version={OLDEST_OPSET} or above"
        ) from error
    save_model(model, folder)
    return folder / "model.onnx"


def light_options(threads: int = 1) -> Any:
    """Options of a session that runs a few rows and holds each weight once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def serving_options(threads: int) -> Any:
    """Options of a session that runs as a served one does: all rewrites, weights packed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return options


def open_session(path: Path, options: Any) -> Any:
    """Opens an ONNX Runtime session on the CPU.

    Raises:
        CandidateFailed: if the runtime refuses the graph; quotes its reason.
    """
    import onnxruntime

    with _explained(f"load `{path}`"):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, names: Sequence[str], feed: Mapping[str, Any]) -> list[Array]:
    """Runs a session for some of its outputs.

    Raises:
        CandidateFailed: if the runtime fails on this input; quotes its reason.
    """
    with _explained("run this graph on the fitting rows"):
        return [np.asarray(values) for values in session.run(list(names), dict(feed))]


def float_answers(graph: Path, batches: Sequence[Batch], output: str) -> Array:
    """What the prepared graph itself answers to these rows, shape (n, values)."""
    session = open_session(graph, light_options())
    inputs = [entry.name for entry in session.get_inputs()]
    rows: list[Array] = []
    for batch in batches:
        answer = run_session(session, [output], {name: batch[name] for name in inputs})[0]
        rows.extend(answer.reshape(len(answer), -1))
    return stacked(rows)


def stacked(rows: Sequence[Array]) -> Array:
    """Vectors as one matrix; shorter ones are filled with zeros (rows of several lengths)."""
    longest = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])


@contextmanager
def _explained(what: str) -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    own = [v for v in vars(native).values() if isinstance(v, type) and issubclass(v, Exception)]
    refusals: tuple[type[Exception], ...] = (*own, RuntimeError, ValueError)
    try:
        yield
    except refusals as error:
        raise CandidateFailed(f"onnxruntime could not {what}: {error}") from error
