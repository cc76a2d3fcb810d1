"""Layers that a user names by pattern, to be left in float."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from jettison.errors import CandidateFailed
from jettison.graphs.onnx_kernels import Kernel, SavedGraph
from jettison.graphs.onnx_layers import Layer

SHOWN = 8


def named_layers(patterns: str, layers: Sequence[Layer], saved: Path) -> tuple[str, ...]:
    """The layers that some pattern matches, in the order of the graph.

    A layer has the name that it has in the prepared graph, and the one in the model's own file,
    which profile and report show.

    Args:
        patterns: comma-separated shell patterns of whole names (`/head/*`); empty for none.
        layers: of the prepared graph.
        saved: the model's own file.

    Raises:
        CandidateFailed: if a pattern matches no layer; lists near names.
    """
    wanted = [part.strip() for part in patterns.split(",") if part.strip()]
    if not wanted:
        return ()
    graph = SavedGraph(saved)
    names = {
        layer.node: {layer.node, graph.find(Kernel(layer.node, layer.operator, 0.0)) or layer.node}
        for layer in layers
    }
    found: set[str] = set()
    for pattern in wanted:
        hits = {node for node, own in names.items() if any(_fits(n, pattern) for n in own)}
        if not hits:
            raise CandidateFailed(
                _nothing(pattern, sorted({n for own in names.values() for n in own}))
            )
        found |= hits
    return tuple(layer.node for layer in layers if layer.node in found)


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _nothing(pattern: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=SHOWN, cutoff=0.4)
    shown = ", ".join(f"`{name}`" for name in (near or names)[:SHOWN])
    kind = "near names" if near else "the layers are"
    rest = "" if near or len(names) <= SHOWN else f" and {len(names) - SHOWN} more"
    return (
        f"`{pattern}` of `keep_float` matches no layer that could be in 8 bits; {kind}: {shown}"
        f"{rest}. Patterns are compared with whole names: `*` stands for any characters"
    )
