"""Makes an opened program traceable: sizes stay sizes, and attention is spelled out.

The tracing exporter follows sizes through `torch.Tensor.view` and its like, but not through the
`aten` operators of a program, where they would become constants. So operators that are given
sizes are called by their Python name. Fused attention is written as the matrix products and the
softmax that ONNX Runtime's fusion looks for.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import fx

from jettison.errors import CandidateFailed
from jettison.graphs.torch_calls import named_arguments

__all__ = ["traceable"]

ATTENTION = "aten.scaled_dot_product_attention.default"


def traceable(program: Any) -> Any:
    """Gives a module that answers as the program does and can be traced with free sizes.

    The copy shares the layers of the program, and is of no other use.

    Raises:
        CandidateFailed: if an operator that is given sizes has no name in Python.
    """
    graph = copy.deepcopy(program.graph)
    sizes: set[Any] = set()
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        name = str(node.target)
        inner = _nodes_in((node.args, node.kwargs))
        if name == "aten.sym_size.int":
            node.target = _size
            sizes.add(node)
        elif not isinstance(node.target, torch._ops.OpOverload):
            # Arithmetic on sizes gives sizes; an item of a tuple is a tensor.
            sizes |= {node} if inner and inner <= sizes else set()
        elif name == ATTENTION:
            _spell_out(node)
        elif inner & sizes:
            node.target = _by_python_name(node.target, name)
    graph.lint()
    made = fx.GraphModule(program, graph)
    made.eval()
    return made


def _nodes_in(value: Any) -> set[Any]:
    found: set[Any] = set()
    fx.map_arg(value, lambda node: found.add(node))
    return found


def _size(tensor: Any, place: int) -> Any:
    return tensor.size(place)


def _by_python_name(target: Any, name: str) -> Any:
    short = name.split(".")[1]
    if name == "aten.slice.Tensor":
        return _slice
    for holder in (torch.Tensor, torch, torch._C._nn):
        if hasattr(holder, short):
            return getattr(holder, short)
    raise CandidateFailed(
        f"the tracing exporter can't follow sizes through `{name}`: write the sizes that the model "
        "fixes as numbers in `model.inputs`"
    )


def _slice(tensor: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    place = dim % tensor.dim()
    return tensor[(slice(None),) * place + (slice(start, end, step),)]


def _spell_out(node: Any) -> None:
    values = named_arguments(node)
    if values["dropout_p"] or values["is_causal"] or values.get("enable_gqa"):
        return
    node.target = _attention
    scale = values["scale"]
    node.args = (values["query"], values["key"], values["value"], values["attn_mask"], scale)
    node.kwargs = {}


def _attention(query: Any, key: Any, value: Any, mask: Any, scale: float | None) -> Any:
    """Vaswani et al., "Attention Is All You Need" (2017), equation 1, with an added mask."""
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    if mask is not None:
        least = torch.finfo(query.dtype).min
        added = torch.where(mask, 0.0, least) if mask.dtype is torch.bool else mask
        scores = scores + added
    return torch.matmul(torch.softmax(scores, dim=-1), value)
