"""From the flat graph of an exported program to a module whose layers are real `nn` modules.

An exported graph calls operators on weights that are inputs of the graph. Hooks, BatchNorm
recalibration and channel pruning need layers with names, so each call that a layer can make
becomes that layer, under the name that it had in the model that was exported.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from jettison.errors import ModelError
from jettison.graphs.torch_calls import LayerCall, layer_call, named_arguments
from jettison.graphs.torch_kinds import BUFFERS, build
from jettison.graphs.torch_signature import Signature

__all__ = ["Exported", "lift", "place"]

ASSERTIONS = ("_assert_", "sym_constrain_range", "_check")
"""Operators that only check; the answers are compared by running instead."""

HELD = frozenset({"weight", "bias", *BUFFERS})
"""Names of the tensors that a layer may hold."""

SUFFIX = "_layer"
"""Of the name of a layer whose weight is not called `weight` (`in_proj_weight_layer`)."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A flat graph: all weights and inputs are placeholders, the output is a flat tuple.

    Attributes:
        graph: calls aten operators only.
        inputs: placeholders of the inputs, in the order of the signature.
        weights: placeholder -> qualified name of a tensor.
        tensors: qualified name -> parameter or buffer; tied names give one object.
        paths: name of a call -> qualified name of the module that made it.
        ranks: name of a node -> dimensions of its tensor.
        branches: graphs that calls refer to, by attribute name.
    """

    graph: Any
    inputs: tuple[str, ...]
    weights: Mapping[str, str]
    tensors: Mapping[str, Any]
    paths: Mapping[str, str] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    branches: Mapping[str, Any] = field(default_factory=dict)


def lift(exported: Exported, signature: Signature) -> Any:
    """Gives an `fx.GraphModule` in eval mode: named tensors in, a tensor or a tuple out.

    Raises:
        ModelError: for branches, and for a model that changes its own weights.
    """
    builder = _Builder(exported)
    graph = builder.run(signature)
    module = fx.GraphModule(builder.root, graph, class_name="Program")
    module.meta = {"signature": signature}
    module.eval()
    return module


def place(root: Any, name: str, value: Any) -> None:
    """Puts a module, parameter or buffer at a qualified name, with plain modules on the way.

    A tensor that a layer of that name already holds stays there.
    """
    *way, last = name.split(".")
    for part in way:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]
    if isinstance(value, nn.Module):
        root.add_module(last, value)
    elif last in root._parameters or last in root._buffers:
        return
    elif isinstance(value, nn.Parameter):
        root.register_parameter(last, value)
    else:
        root.register_buffer(last, value)


class _Builder:
    """Writes the new graph node by node."""

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.known: dict[Any, Any] = {}
        self.calls = self._find_layers()
        self.paths = self._name_layers()
        self.made: dict[str, LayerCall] = {}
        self.fetched: dict[str, Any] = {}

    def run(self, signature: Signature) -> Any:
        placeholders = {n.name: n for n in self.exported.graph.nodes if n.op == "placeholder"}
        for old, spec in zip(self.exported.inputs, signature.inputs, strict=True):
            self.known[placeholders[old]] = self.graph.placeholder(spec.name)
        answer = self._copy(self.exported.graph)
        flat = tuple(answer) if isinstance(answer, list | tuple) else (answer,)
        self.graph.output(flat[0] if len(flat) == 1 else flat)
        self._drop_unread()
        self.graph.lint()
        return self.graph

    def _find_layers(self) -> dict[Any, LayerCall]:
        found = {}
        for node in self.exported.graph.nodes:
            if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
                continue
            first = next((a for a in node.all_input_nodes if a.name in self.exported.ranks), None)
            rank = self.exported.ranks[first.name] if first is not None else 0
            call = layer_call(node, self._shape_of, rank)
            if call is not None and all(self._is_weight(n) for n in call.tensors.values()):
                found[node] = call
        return found

    def _is_weight(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node.name in self.exported.weights

    def _tensor(self, node: Any) -> Any:
        return self.exported.tensors[self.exported.weights[node.name]]

    def _shape_of(self, node: Any) -> tuple[int, ...]:
        return tuple(self._tensor(node).shape) if self._is_weight(node) else ()

    def _name_layers(self) -> dict[Any, str]:
        """The layer's own name; another where a layer of that name would hold more than itself."""
        paths = {node: self._path(node, call) for node, call in self.calls.items()}
        others = {*paths.values()}
        others |= {n for n in self.exported.weights.values() if n.split(".")[-1] not in HELD}
        for node, path in paths.items():
            if any(other.startswith(f"{path}.") for other in others):
                weight = next(iter(self.calls[node].tensors.values()))
                paths[node] = f"{self.exported.weights[weight.name]}{SUFFIX}"
        return paths

    def _path(self, node: Any, call: LayerCall) -> str:
        main = next(iter(call.tensors))
        weight = call.tensors[main]
        tensor, name = self._tensor(weight), self.exported.weights[weight.name]
        path = self.exported.paths.get(node.name, "")
        if path and self.exported.tensors.get(f"{path}.{main}") is tensor:
            return path
        return name.removesuffix(f".{main}") if name.endswith(f".{main}") else f"{name}{SUFFIX}"

    def _copy(self, graph: Any) -> Any:
        for node in graph.nodes:
            if node.op == "output":
                return self._mapped(node.args[0])
            if node.op == "call_function":
                if node.users or _writes(node):
                    self.known[node] = self._call(node)
            elif node.op not in ("placeholder", "get_attr"):
                raise ModelError(f"an exported graph can't hold a `{node.op}` ({node.name})")
        raise ModelError("the exported graph has no output")

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._mapped(item) for item in value)
        if isinstance(value, slice):
            return slice(*(self._mapped(v) for v in (value.start, value.stop, value.step)))
        if not isinstance(value, fx.Node):
            return value
        if value not in self.known and value.name in self.exported.weights:
            self.known[value] = self._fetch(self.exported.weights[value.name])
        if value not in self.known:
            raise ModelError(f"the exported graph reads `{value.name}` before it is computed")
        return self.known[value]

    def _fetch(self, name: str) -> Any:
        if name not in self.fetched:
            self.fetched[name] = self.graph.create_node("get_attr", name)
            place(self.root, name, self.exported.tensors[name])
        return self.fetched[name]

    def _call(self, node: Any) -> Any:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return self._inline(node)
        if node.target is operator.getitem and not isinstance(self._mapped(node.args[0]), fx.Node):
            return self._mapped(node.args[0])[node.args[1]]
        name = str(node.target)
        if name == "aten.dropout.default" and not named_arguments(node)["train"]:
            return self._mapped(node.args[0])
        if any(name.startswith(f"aten.{prefix}") for prefix in ASSERTIONS):
            return None
        self._refuse_changed_weights(node)
        if node in self.calls and (layer := self._layer(node)) is not None:
            return layer
        kwargs = {key: self._mapped(value) for key, value in node.kwargs.items()}
        return self.graph.create_node(
            "call_function", node.target, self._mapped(tuple(node.args)), kwargs, node.name
        )

    def _refuse_changed_weights(self, node: Any) -> None:
        if not _writes(node):
            return
        arguments = node.target._schema.arguments
        written = [a.name for a in arguments if a.alias_info and a.alias_info.is_write]
        values = named_arguments(node)
        for value in (values[name] for name in written):
            if self._is_weight(value):
                raise ModelError(
                    f"the model changes `{self.exported.weights[value.name]}` when it answers "
                    f"(`{node.target}`); a model must answer from its inputs alone"
                )

    def _layer(self, node: Any) -> Any:
        """Calls the layer in place of the operator, unless its name belongs to another layer."""
        call, path = self.calls[node], self.paths[node]
        if call.first_of_several and any(
            user.target is not operator.getitem or (user.args[1] != 0 and user.users)
            for user in node.users
        ):
            return None
        earlier = self.made.get(path)
        if earlier is None:
            place(self.root, path, self._module(call, path))
            self.made[path] = call
        elif not self._same(earlier, call):
            return None
        made = self.graph.create_node(
            "call_module", path, (self._mapped(call.given),), {}, node.name
        )
        return (made,) if call.first_of_several else made

    def _same(self, one: LayerCall, other: LayerCall) -> bool:
        tensors = {key: id(self._tensor(node)) for key, node in one.tensors.items()}
        others = {key: id(self._tensor(node)) for key, node in other.tensors.items()}
        return tensors == others and one.kind == other.kind and one.settings == other.settings

    def _module(self, call: LayerCall, path: str) -> Any:
        module = build(call.kind, call.settings, f"the layer `{path}`")
        counter = self.exported.tensors.get(f"{path}.num_batches_tracked")
        if "num_batches_tracked" in module._buffers:
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64)
            if counter is not None:
                module.num_batches_tracked = counter
        for name, node in call.tensors.items():
            table = module._buffers if name in BUFFERS else module._parameters
            table[name] = self._tensor(node)
        return module

    def _inline(self, node: Any) -> Any:
        """Copies the body of a region; what the region switches does not matter for answers."""
        name = node.target.name()
        arguments = list(node.args)
        if name == "wrap_with_set_grad_enabled":
            body, given = arguments[1], arguments[2:]
        elif name == "wrap_with_autocast" and arguments[2] is False:
            body, given = arguments[4], arguments[5:]
        else:
            raise ModelError(
                f"the model has a region `{name}`, whose course depends on data or on a mode; "
                "jettison takes programs without branches: write it with torch.where, or leave "
                "it out of `forward`"
            )
        graph = self.exported.branches[body.target]
        inside = [inner for inner in graph.nodes if inner.op == "placeholder"]
        for placeholder, value in zip(inside, given, strict=True):
            self.known[placeholder] = self._mapped(value)
        return self._copy(graph)

    def _drop_unread(self) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node.op in ("placeholder", "output") or node.users:
                continue
            if not _writes(node):
                self.graph.erase_node(node)


def _writes(node: Any) -> bool:
    """Whether a call changes a tensor in place."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)
