"""Turns the JSON graph of a .pt2 archive into an `fx.Graph` of known operators.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from jettison.errors import ModelError
from jettison.graphs.torch_vocabulary import check_name, function_named

__all__ = ["DTYPES", "ReadGraph", "read_graph"]

DTYPES: Mapping[int, Any] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""`ScalarType` of the schema; complex and 8-bit floats are not taken."""

_LAYOUTS = {7: torch.strided}
_MEMORY = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}

REGIONS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
"""Higher-order operators whose body can be copied in their place."""

PLAIN = frozenset(
    {"as_int", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings"}
)


@dataclass(slots=True)
class ReadGraph:
    """A graph, the module path of each call, and the graphs of its regions."""

    graph: Any
    paths: dict[str, str] = field(default_factory=dict)
    branches: dict[str, Any] = field(default_factory=dict)


def read_graph(stored: Mapping[str, Any]) -> ReadGraph:
    """Reads a graph: inputs become placeholders, all outputs one flat tuple.

    Raises:
        ModelError: for operators or values that are not allowed.
    """
    read = ReadGraph(fx.Graph())
    _Graph(read.graph, read, stored).fill()
    return read


class _Graph:
    """One graph that is being filled; regions are graphs of their own."""

    def __init__(self, graph: Any, read: ReadGraph, stored: Mapping[str, Any]) -> None:
        self.graph = graph
        self.read = read
        self.stored = stored
        self.known: dict[str, Any] = {}

    def fill(self) -> None:
        for value in self.stored["inputs"]:
            name = check_name(next(iter(value.values()))["name"], "an input")
            self.known[name] = self.graph.placeholder(name)
            # It would be renamed where it is called like a built-in function (`input`).
            self.known[name].name = name
        for node in self.stored["nodes"]:
            self._add(node)
        self.graph.output(tuple(self._value(value) for value in self.stored["outputs"]))

    def _add(self, node: Mapping[str, Any]) -> None:
        target = self._target(node["target"])
        positional = [self._value(i["arg"]) for i in node["inputs"] if i.get("kind") != 2]
        named = {
            check_name(i["name"], "an argument"): self._value(i["arg"])
            for i in node["inputs"]
            if i.get("kind") == 2
        }
        outputs = node["outputs"]
        # The names that the archive gives its values are those of their shapes too.
        name = _output_name(outputs[0]) if len(outputs) == 1 else ""
        checked = check_name(name, "a node") if name else None
        made = self.graph.create_node("call_function", target, tuple(positional), named, checked)
        self.read.paths[made.name] = _innermost(node["metadata"].get("nn_module_stack", ""))
        region = isinstance(target, torch._ops.HigherOrderOperator)
        self._bind(made, outputs, several=region or len(outputs) > 1)

    def _bind(self, made: Any, outputs: Sequence[Mapping[str, Any]], *, several: bool) -> None:
        """Gives the names of the outputs to the call, or to the items that it answers with."""
        if len(outputs) == 1 and "as_tensors" in outputs[0]:
            self._items(made, [item["name"] for item in outputs[0]["as_tensors"]])
        elif several:
            self._items(made, [_output_name(output) for output in outputs])
        elif outputs:
            self.known[check_name(_output_name(outputs[0]), "a node")] = made

    def _items(self, made: Any, names: Sequence[str]) -> None:
        for place, name in enumerate(names):
            if not name:
                continue
            check_name(name, "a node")
            self.known[name] = self.graph.create_node(
                "call_function", operator.getitem, (made, place), {}, name
            )

    def _target(self, name: str) -> Any:
        if name.startswith("torch.ops.higher_order."):
            last = name.rpartition(".")[2]
            if last not in REGIONS:
                raise ModelError(
                    f"the program has a region `{last}`, whose course depends on data; jettison "
                    "takes programs without branches: write it with torch.where"
                )
            return getattr(torch.ops.higher_order, last)
        return function_named(name.replace("_operator.", "operator.").removeprefix("torch.ops."))

    def _value(self, stored: Mapping[str, Any]) -> Any:
        ((kind, content),) = stored.items()
        if kind == "as_none":
            return None
        if kind == "as_float":
            return float(content)
        if kind in PLAIN:
            return _checked_plain(content)
        if kind in ("as_tensor", "as_name"):
            return self.known[content["name"] if kind == "as_tensor" else content]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._value(content)
        if kind == "as_tensors":
            return [self.known[item["name"]] for item in content]
        if kind in ("as_optional_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"):
            return [self._value(item) for item in content]
        if kind == "as_graph":
            return self._region(content)
        return _constant(kind, content)

    def _region(self, content: Mapping[str, Any]) -> Any:
        name = f"region_{len(self.read.branches)}"
        graph = fx.Graph()
        self.read.branches[name] = graph
        _Graph(graph, self.read, content["graph"]).fill()
        return self.graph.create_node("get_attr", name)


def _output_name(output: Mapping[str, Any]) -> str:
    ((kind, content),) = output.items()
    if kind in ("as_none", "as_tensors"):
        return ""
    if kind == "as_tensor":
        return str(content["name"])
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float") and "as_name" in content:
        return str(content["as_name"])
    raise ModelError(f"an operator of the program answers with {kind}: {str(content)[:80]}")


def _checked_plain(content: Any) -> Any:
    items = content if isinstance(content, list) else [content]
    flat = [part for item in items for part in (item if isinstance(item, list) else [item])]
    if not all(isinstance(item, bool | int | float | str) for item in flat):
        raise ModelError(f"the program passes {str(content)[:80]!r} to an operator")
    return content


def _constant(kind: str, content: Any) -> Any:
    tables = {"as_scalar_type": DTYPES, "as_layout": _LAYOUTS, "as_memory_format": _MEMORY}
    if kind == "as_device":
        return torch.device("cpu")
    if kind in tables and content in tables[kind]:
        return tables[kind][content]
    raise ModelError(
        f"the program passes {kind.removeprefix('as_')} {str(content)[:80]} to an operator, which "
        "jettison does not take"
    )


def _innermost(stack: str) -> str:
    """The path of the innermost module: «key,path,class;...», the last path counts."""
    last = str(stack).rpartition(";")[2].split(",")
    return last[1] if len(last) >= 3 else ""
