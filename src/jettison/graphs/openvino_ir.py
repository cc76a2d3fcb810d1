"""OpenVINO graphs on disk: read, named, written, and OpenVINO itself imported in silence.

OpenVINO is imported inside functions, because its telemetry must be off before.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from jettison.errors import CandidateFailed, ModelError

FILES = ("model.xml", "model.bin")
"""The graph and its weights; OpenVINO finds the second by the name of the first."""

FAILURES = (RuntimeError, ValueError, TypeError)
"""What OpenVINO raises: its own errors are `RuntimeError`s, its binding adds the others."""


def import_openvino() -> Any:
    """Imports OpenVINO, and keeps the package that would report the import from being loaded.

    OpenVINO and NNCF ask no one before they send events and write into the home folder; both go
    on without that package where it can't be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def import_nncf() -> Any:
    """Imports NNCF as `import_openvino` does."""
    import_openvino()
    import nncf

    return nncf


def read_ir(path: Path) -> Any:
    """Reads a saved graph as an `openvino.Model`; weights stay in the file until they are used.

    Raises:
        ModelError: if OpenVINO can't read it; quotes its reason.
    """
    try:
        return import_openvino().Core().read_model(path)
    except FAILURES as error:
        raise ModelError(
            f"`{path}` can't be read as OpenVINO IR: {reason_of(error)}; convert the model again"
        ) from error


def read_onnx(path: Path) -> Any:
    """Reads an ONNX graph as an `openvino.Model`.

    Raises:
        CandidateFailed: if OpenVINO can't express it; quotes its reason.
    """
    try:
        return import_openvino().Core().read_model(path)
    except FAILURES as error:
        raise CandidateFailed(
            f"OpenVINO can't read the ONNX graph {path}: {reason_of(error)}"
        ) from error


def settle_weights(graph: Any) -> None:
    """Brings weights and biases into the form that NNCF reads, in place; no answer changes.

    It fails on weights behind a Reshape, so what depends on constants alone is computed now; and
    on a bias of fewer dimensions than what it is added to, so the missing ones are put before.
    Not for graphs with integer weights: these would become floats.
    """
    import_openvino()
    from openvino import opset13
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(graph)
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Add":
            continue
        for port, other in (node.inputs(), node.inputs()[::-1]):
            bias = port.get_source_output().get_node()
            rank = other.get_partial_shape().rank
            if bias.get_type_name() != "Constant" or rank.is_dynamic:
                continue
            shape = list(bias.get_output_shape(0))
            if 1 < len(shape) < rank.get_length():
                missing = [1] * (rank.get_length() - len(shape))
                whole = opset13.constant(bias.data.reshape(missing + shape))
                whole.set_friendly_name(bias.get_friendly_name())
                port.replace_source_output(whole.output(0))


def write_ir(graph: Any, folder: Path) -> tuple[str, ...]:
    """Writes a graph with its weights as they are; the same graph gives the same bytes.

    Args:
        graph: an `openvino.Model`, left as it is.
        folder: gets `model.xml` and `model.bin`.

    Returns:
        The names of the files, the graph first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = graph.clone()
    _name_by_place(named)
    openvino = import_openvino()
    # Its default would round weights to 16 bits, which is a change that nobody asked for.
    openvino.save_model(named, folder / FILES[0], compress_to_fp16=False)
    return FILES


def names_of(ports: Any) -> set[str]:
    """All names of some inputs or outputs of a graph; one port may have several."""
    return {name for port in ports for name in port.get_names()}


def reason_of(error: Exception) -> str:
    """The last lines of an OpenVINO error: those before them name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join((told or lines)[-3:])[:400] or type(error).__name__


def _name_by_place(graph: Any) -> None:
    """Numbers nodes without a name of their own by their place in the graph.

    OpenVINO numbers them in the order in which the process made them, which no two processes
    share.
    """
    taken: Counter[str] = Counter()
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if re.fullmatch(rf"{re.escape(kind)}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}#{taken[kind]}")
            taken[kind] += 1
