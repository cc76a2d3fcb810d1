"""What is refused in an ONNX file, before anything runs it, each with the reason and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jettison.errors import ModelError
from jettison.graphs.onnx_walk import nodes_of

HEADS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive", "unpack it yourself and give the .onnx file inside"),
    (b"PK\x05\x06", "an empty zip archive", "give the .onnx file itself"),
    (b"\x1f\x8b", "a gzip archive", "unpack it yourself and give the .onnx file inside"),
    (b"BZh", "a bzip2 archive", "unpack it yourself and give the .onnx file inside"),
    (b"\xfd7zXZ", "an xz archive", "unpack it yourself and give the .onnx file inside"),
    (b"\x89HDF\r\n", "an HDF5 (Keras) file", "export the model to ONNX, for example with tf2onnx"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with `git lfs pull`"),
    (b"<?xml", "an XML file", "give the .onnx file itself"),
    (b"<", "an HTML or XML page", "download the file again: a web page was saved in its place"),
    (b"{", "a JSON file", "give the .onnx file itself"),
)

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def check_first_bytes(path: Path) -> None:
    """Refuses what can't be an ONNX file, from its first bytes. Nothing is unpacked.

    Raises:
        ModelError: says what the file is instead, and what to do.
    """
    size = path.stat().st_size
    if size == 0:
        raise ModelError(
            f"`{path}` is empty (0 bytes): the export or the copy failed; make the file again"
        )
    with open(path, "rb") as file:
        head = file.read(32)
    if head.startswith(PICKLES):
        raise ModelError(
            f"`{path}` is a pickle, not an ONNX file: reading a pickle can run any code, so it is "
            "not opened; export the model to ONNX, or give a scikit-learn model as a .skops file"
        )
    for start, what, remedy in HEADS:
        if head.startswith(start):
            raise ModelError(f"`{path}` is {what}, not an ONNX file: {remedy}")
    if head[4:8] == b"ORTM":
        raise ModelError(
            f"`{path}` is in ONNX Runtime's own .ort format, which can't be changed any more: give "
            "the .onnx file that it was made from"
        )


def looks_like_onnx(path: Path) -> bool:
    """Whether the first bytes are those of an ONNX file: field 1, a small version number."""
    with open(path, "rb") as file:
        head = file.read(3)
    return len(head) == 3 and head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] & 0x07 == 2


def check_graph(model: Any, path: Path) -> None:
    """Refuses a graph that has no nodes or no outputs.

    Raises:
        ModelError: says which.
    """
    if not model.ir_version or not model.opset_import:
        raise ModelError(
            f"`{path}` is not an ONNX model: it has no format version or no operator set; give "
            "the file that an ONNX exporter wrote"
        )
    if not model.graph.node:
        raise ModelError(f"the graph in `{path}` has no operators: export the model again")
    if not model.graph.output:
        raise ModelError(
            f"the graph in `{path}` has no outputs, so it can't answer anything: export it again "
            "with its outputs named"
        )


def check_operators(
    model: Any, path: Path, known: frozenset[tuple[str, str]], runtime: str
) -> None:
    """Refuses operators that the runtime does not have.

    Args:
        model: the graph.
        path: for the message.
        known: (domain, operator) pairs that the runtime can run.
        runtime: its name and version, for the message.

    Raises:
        ModelError: names each unknown operator with its domain and first node.
    """
    local = {(function.domain, function.name) for function in model.functions}
    unknown: dict[tuple[str, str], str] = {}
    for node in nodes_of(model):
        pair = ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
        if pair not in known and (node.domain, node.op_type) not in local:
            unknown.setdefault(pair, node.name or "(no name)")
    if unknown:
        listed = "; ".join(
            f"`{operator}` of domain `{domain or 'ai.onnx'}` (node `{name}`)"
            for (domain, operator), name in sorted(unknown.items())
        )
        raise ModelError(
            f"`{path}` uses operators that {runtime} does not have: {listed}. jettison loads no "
            "code from outside, so custom operators can't run: export the model with operators of "
            "the ONNX standard"
        )


NEWER = 64
"""No operator set is numbered as high."""


def check_versions(model: Any, path: Path, loads: Callable[[str, int], bool], runtime: str) -> None:
    """Refuses operator sets that are newer or older than what the runtime takes.

    Args:
        model: the graph.
        path: for the message.
        loads: whether the runtime loads a graph of this domain and version.
        runtime: its name and version, for the message.

    Raises:
        ModelError: with the newest version that works, or the oldest.
    """
    for opset in model.opset_import:
        if loads(opset.domain, opset.version):
            continue
        below = range(min(opset.version, NEWER) - 1, 0, -1)
        newest = next((v for v in below if loads(opset.domain, v)), 0)
        above = range(max(opset.version, 0) + 1, NEWER)
        oldest = next((v for v in above if loads(opset.domain, v)), 0)
        if not newest and oldest:
            raise ModelError(
                f"`{path}` uses operator set {opset.version} of `{opset.domain or 'ai.onnx'}`, "
                f"which is too old for {runtime}: it takes {oldest} and later. Convert it with "
                f"onnx.version_converter.convert_version(model, {oldest}), or export it again"
            )
        raise ModelError(
            f"`{path}` needs operator set {opset.version} of `{opset.domain or 'ai.onnx'}`, but "
            f"{runtime} knows it up to {newest}: export with opset_version={newest} or below, or "
            "install a newer runtime"
        )
