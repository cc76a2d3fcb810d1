"""Which operator of a saved graph does a kernel of the optimised graph stand for?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.profile import LayerCost
from jettison.graphs.onnx_costs import NodeCost, node_costs
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_walk import ensure_node_names, nodes_of

WRITTEN_AROUND = re.compile(r"^InsertedPrecisionFreeCast_|_token_\d+$")
"""What rewrites put before a name (float16 run as float32) or behind it (quantized operators)."""

BLOCKED_LAYOUT = "_nchwc"
"""Suffix of convolutions and poolings in blocked layout: they are named after their output."""

LONGEST_FUSION = 4

INTEGER_PRODUCTS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QAttention",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""Kernels that multiply integers."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel that ran: its name, its operator type, its microseconds over all calls."""

    name: str
    operator: str
    microseconds: float


class SavedGraph:
    """The operators of a saved graph by name, and by the value that they give."""

    def __init__(self, path: Path) -> None:
        model = read_light(path)
        ensure_node_names(model)
        nodes = list(nodes_of(model))
        self._names = {node.name for node in nodes}
        self._makers: dict[str, Any] = {out: node for node in nodes for out in node.output}

    def find(self, kernel: Kernel) -> str | None:
        """Gives the name of the saved operator that a kernel stands for; `None` if unsure."""
        inner = WRITTEN_AROUND.sub("", kernel.name)
        if inner in self._names:
            return inner
        before = inner.rpartition("/")[0]
        if before in self._names:
            # A fusion that writes its own name behind that of the operator it started from.
            return before
        if inner.endswith(BLOCKED_LAYOUT):
            return self._behind(inner.removesuffix(BLOCKED_LAYOUT), kernel.operator)
        return None

    def _behind(self, value: str, operator: str) -> str | None:
        """Walks back from a value through what was fused behind an operator."""
        for _ in range(LONGEST_FUSION):
            node = self._makers.get(value)
            if node is None or not node.input:
                return None
            if node.op_type == operator:
                return str(node.name)
            value = node.input[0]
        return None


def layer_costs(
    path: Path, kernels: Iterable[Kernel], shapes: Mapping[str, Sequence[int]]
) -> tuple[LayerCost, ...]:
    """Joins what kernels took with what the saved graph stores.

    Args:
        path: of the saved .onnx file.
        kernels: in the order they ran; a kernel that can't be matched keeps its own name.
        shapes: input name -> shape of one example with its batch dimension.

    Returns:
        Layers in the order they ran, then the saved operators with constants that ran in no
        kernel of their own (`time_share` is `None`: their time is in another layer).
    """
    costs = node_costs(path, shapes)
    saved = SavedGraph(path)
    spent: dict[str, float] = {}
    operators: dict[str, str] = {}
    for kernel in kernels:
        name = saved.find(kernel) or kernel.name
        spent[name] = spent.get(name, 0.0) + kernel.microseconds
        operators[name] = costs[name].operator if name in costs else kernel.operator
    total = sum(spent.values()) or 1.0
    ran = [
        _layer(name, operators[name], costs.get(name), duration / total)
        for name, duration in spent.items()
    ]
    silent = [
        _layer(name, cost.operator, cost, None)
        for name, cost in costs.items()
        if name not in spent and cost.bytes > 0
    ]
    return (*ran, *silent)


def _layer(name: str, operator: str, cost: NodeCost | None, share: float | None) -> LayerCost:
    if cost is None:
        return LayerCost(name, operator, 0, None, 0, share)
    return LayerCost(
        name,
        operator,
        cost.parameters,
        cost.macs,
        cost.bytes,
        share,
        activation_bytes=cost.activation_bytes,
        integer=operator in INTEGER_PRODUCTS,
    )
