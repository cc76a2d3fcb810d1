"""Finds out by running whether ONNX Runtime here takes a graph, and at which batch sizes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array
from jettison.errors import MissingDependency, ModelError
from jettison.graphs.onnx_storage import read_light
from jettison.numerics.made_up_inputs import FREE_SIZE, made_up_inputs

SIZES_TO_TRY = (FREE_SIZE, 64, 224, 512, 4, 1)
"""Sizes of free dimensions: the first one at which the graph runs is kept."""

OLDEST = 7
"""The first operator set of which ONNX Runtime has every kernel. It loads older graphs too, as long
as they use no operator that has changed since."""


def runtime_name() -> str:
    """The runtime with its version."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def check_one_package() -> None:
    """Refuses several packages that hold the module `onnxruntime`.

    They write over each other's files, so which of them runs, with which kernels, is chance.

    Raises:
        MissingDependency: naming them, with the commands that leave one.
    """
    held = {name.lower() for name in metadata.packages_distributions().get("onnxruntime", ())}
    if len(held) > 1:
        listed = sorted(held)
        raise MissingDependency(
            f"{len(listed)} packages hold the module `onnxruntime` ({', '.join(listed)}) and write "
            "over each other's files, so what runs is chance. Keep one: "
            f"pip uninstall -y {' '.join(listed)}, then pip install {listed[0]} (or the one you need)"
        )


@functools.cache
def known_operators() -> frozenset[tuple[str, str]]:
    """(domain, operator) of everything that the runtime has a schema for."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    schemas = state.get_all_operator_schema()
    return frozenset((s.domain, s.name) for s in schemas) | {("", "Constant")}


@functools.cache
def loads_version(domain: str, version: int) -> bool:
    """Whether the runtime loads a one-operator graph that imports this operator set."""
    import onnx
    import onnxruntime

    helper = onnx.helper
    value = functools.partial(helper.make_tensor_value_info, elem_type=1, shape=[1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "probe", [value("x")], [value("y")])
    default = domain in ("", "ai.onnx")
    opsets = [helper.make_opsetid("", version if default else 17)]
    if not default:
        opsets.append(helper.make_opsetid(domain, version))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), _options())
    except _errors():
        return False
    return True


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


@functools.cache
def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*found, RuntimeError, ValueError)


def open_session(path: Path, shown: Path) -> Any:
    """Opens a graph as it will be served.

    Args:
        path: the copy to open.
        shown: the user's file, for the message.

    Raises:
        ModelError: with the runtime's own reason.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            str(path), _options(), providers=["CPUExecutionProvider"]
        )
    except _errors() as error:
        raise ModelError(_why_not(error, path, shown)) from error


def _why_not(error: Exception, path: Path, shown: Path) -> str:
    """The reason why a graph did not open; that its operator set is too old, where it is that."""
    gone = re.search(r"Could not find an implementation for (\w+)\(", str(error))
    opsets = {one.domain: one.version for one in read_light(path).opset_import}
    version = opsets.get("", opsets.get("ai.onnx", OLDEST))
    if gone and version < OLDEST:
        return (
            f"`{shown}` uses operator set {version}, of which {runtime_name()} has no `{gone[1]}` "
            f"any more: export it again with operator set {OLDEST} or later, or, where its shapes are all "
            f"fixed, convert it with onnx.version_converter.convert_version(model, {OLDEST})"
        )
    return (
        f"{runtime_name()} can't load `{shown}`: {_reason(error)}. Check that the file runs in "
        "onnxruntime by itself, or export it again"
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 400 else text[:400] + " ..."


@dataclass(frozen=True, slots=True)
class Probe:
    """What running a graph on made-up rows showed.

    Attributes:
        one: outputs at batch 1, by name.
        two: outputs at batch 2; `None` where the graph takes one row only.
        free_size: size of the free dimensions at which it ran.
    """

    one: dict[str, Array]
    two: dict[str, Array] | None
    free_size: int


def probe(
    session: Any,
    inputs: Sequence[TensorSpec],
    shown: Path,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> Probe:
    """Runs a graph at batch 1, and at batch 2 where its batch dimension is free.

    Args:
        session: of onnxruntime.
        inputs: what it takes.
        shown: the user's file, for the message.
        categories: text input -> values to draw from.

    Raises:
        ModelError: if it runs at no size that was tried, with the runtime's last reason.
    """
    free = any(isinstance(size, str) for spec in inputs for size in spec.shape[1:])
    reason = ""
    for size in SIZES_TO_TRY if free else (FREE_SIZE,):
        try:
            one = _run(session, made_up_inputs(inputs, 1, 0, size, categories))
        except _errors() as error:
            reason = reason or _reason(error)
            continue
        two = None
        if all(isinstance(spec.shape[0], str) for spec in inputs):
            two = _run_two(session, made_up_inputs(inputs, 2, 0, size, categories))
        return Probe(one, two, size)
    shapes = "; ".join(f"`{s.name}` {s.dtype} {s.shape}" for s in inputs)
    raise ModelError(
        f"`{shown}` loads but does not run on made-up rows ({shapes}, free dimensions tried at "
        f"{SIZES_TO_TRY if free else 'none'}): {reason}. Export it with the dimensions that it "
        "really takes"
    )


def check_length(session: Any, inputs: Sequence[TensorSpec], length: int, shown: Path) -> None:
    """Runs one made-up row whose free dimensions have `length`.

    Raises:
        ModelError: if the graph can't take that length, with the runtime's reason.
    """
    try:
        _run(session, made_up_inputs(inputs, 1, 0, length))
    except _errors() as error:
        raise ModelError(
            f"`{shown}` can't take {length} tokens: {_reason(error)}; give a smaller max_length"
        ) from error


def _run_two(session: Any, rows: Mapping[str, Array]) -> dict[str, Array] | None:
    try:
        return _run(session, rows)
    except _errors():
        # Nothing is hidden: the caller sets the trait `fixed-batch`.
        return None


def _run(session: Any, rows: Mapping[str, Array]) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(rows)), strict=True))
