"""Saved programs: a graph as JSON beside safetensors; opening one never runs code from a file.

`torch.export.save` writes pickles beside its graph, and its loader evaluates text from the file;
so programs are kept in a form of their own. `program.json` lists inputs, layers and operator
calls; `weights.safetensors` holds each tensor once, under its qualified name.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import fx, nn

from jettison.domain.files import write_atomically
from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.torch_capture import capture
from jettison.graphs.torch_kinds import build, describe, is_plain
from jettison.graphs.torch_lift import place
from jettison.graphs.torch_signature import DTYPES, Signature, signature_of
from jettison.graphs.torch_vocabulary import (
    check_name,
    check_path,
    decode,
    encode,
    function_named,
    name_of_function,
)

__all__ = [
    "PROGRAM",
    "WEIGHTS",
    "described_program",
    "open_program",
    "program_of",
    "save_program",
]

PROGRAM = "program.json"
WEIGHTS = "weights.safetensors"
VERSION = 1


def save_program(module: Any, folder: Path) -> tuple[str, ...]:
    """Writes a module into a folder; the same module gives the same bytes.

    An opened program whose layers are still of the kinds that can be written down is written as
    it is, with the sizes that its layers have now. Any other module (new kinds of layer, a
    transformers model) is exported again, with the free dimensions of its signature.

    Args:
        module: an opened program, or a module with a `signature`.
        folder: gets `program.json` and `weights.safetensors`.

    Returns:
        The names of the files, the program first.

    Raises:
        ModelError: if the module can't be exported, or holds what a program can't.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_program(module):
        signature = signature_of(module)
        # A program of fused attention could not be fused again once it is an ONNX graph.
        plain = getattr(module, "plain_attention", contextlib.nullcontext)
        with plain():
            module = capture(module, signature.inputs, signature.outputs)
    described, tensors = described_program(module)
    text = json.dumps(described, indent=1, allow_nan=False)
    write_atomically(folder / PROGRAM, f"{text}\n")
    safetensors.torch.save_file(tensors, str(folder / WEIGHTS))
    return PROGRAM, WEIGHTS


def open_program(folder: Path) -> Any:
    """Opens a program as an `fx.GraphModule` in eval mode.

    Its layers are real modules under their original names; it takes named tensors and answers
    with a tensor, or a tuple in the order of its outputs. `meta["signature"]` tells both.

    Raises:
        ModelError: if files are missing or damaged, or hold anything but words of the format.
    """
    try:
        stored = json.loads((folder / PROGRAM).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(str(folder / WEIGHTS))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"the program in {folder} can't be read: {error}") from error
    return program_of(stored, tensors, folder / PROGRAM)


def program_of(stored: Any, tensors: Mapping[str, Any], path: Path) -> Any:
    """Makes the module of a program that was read from `path`, as `open_program` gives it.

    Raises:
        ModelError: if the two don't fit, or hold anything but words of the format.
    """
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        raise ModelError(f"{path} is no program of version {VERSION} of jettison")
    try:
        return _Opening(stored, tensors).module()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged ({type(error).__name__}: {error}); save it again"
        ) from error


def _is_program(module: Any) -> bool:
    if not isinstance(module, fx.GraphModule) or "signature" not in module.meta:
        return False
    layers = (n.target for n in module.graph.nodes if n.op == "call_module")
    return all(is_plain(module.get_submodule(target)) for target in layers)


def described_program(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives an opened program as JSON and as tensors by qualified name."""
    signature = signature_of(module)
    layers: dict[str, Any] = {}
    values: dict[str, Any] = {}
    nodes: list[list[Any]] = []
    result: Any = None
    for node in module.graph.nodes:
        if node.op == "output":
            result = encode(node.args[0])
        elif node.op == "call_module":
            layer = module.get_submodule(node.target)
            layers[node.target] = {"kind": type(layer).__name__, **describe(layer)}
            values |= {f"{node.target}.{name}": tensor for name, tensor in _tensors(layer)}
            nodes.append([node.name, "layer", node.target, encode(node.args)])
        elif node.op == "get_attr":
            values[node.target] = _attribute(module, node.target)
            nodes.append([node.name, "tensor", node.target])
        elif node.op == "call_function":
            kwargs = {key: encode(value) for key, value in node.kwargs.items()}
            target = name_of_function(node.target)
            nodes.append([node.name, "call", target, encode(node.args), kwargs])
    tensors, tied = _untied(values)
    described = {
        "version": VERSION,
        "inputs": [[s.name, s.dtype, list(s.shape)] for s in signature.inputs],
        "outputs": list(signature.outputs),
        "layers": layers,
        "parameters": sorted(n for n, t in values.items() if isinstance(t, nn.Parameter)),
        "tied": tied,
        "nodes": nodes,
        "result": result,
    }
    return described, tensors


def _tensors(layer: Any) -> Iterator[tuple[str, Any]]:
    yield from layer.named_parameters(remove_duplicate=False)
    yield from layer.named_buffers(remove_duplicate=False)


def _attribute(module: Any, target: str) -> Any:
    way, _, last = target.rpartition(".")
    return getattr(module.get_submodule(way), last)


def _untied(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each tensor once, in the order of names, and the other names of tied ones."""
    first: dict[int, str] = {}
    tensors: dict[str, Any] = {}
    tied: dict[str, str] = {}
    stores: set[int] = set()
    for name in sorted(values):
        known = first.setdefault(id(values[name]), name)
        if known != name:
            tied[name] = known
        else:
            alone = _alone(values[name].detach())
            store = alone.untyped_storage().data_ptr()
            # Two parameters may be made over one storage; safetensors takes each store once.
            tensors[name] = alone.clone() if store in stores else alone
            stores.add(store)
    return tensors, tied


def _alone(tensor: Any) -> Any:
    """A tensor that fills its storage, as safetensors wants it; copied only if it doesn't."""
    tensor = tensor.contiguous()
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


class _Opening:
    """One stored program on its way to a module."""

    def __init__(self, stored: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        self.stored = stored
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.nodes: dict[str, Any] = {}
        self.tensors = self._typed(tensors)
        self.signature = self._signature()

    def module(self) -> Any:
        for path, described in self.stored["layers"].items():
            place(self.root, check_path(path, "a layer"), self._layer(path, described))
        for spec in self.signature.inputs:
            self.nodes[spec.name] = self.graph.placeholder(spec.name)
        for node in self.stored["nodes"]:
            self._add(*node)
        result = decode(self.stored["result"], self.nodes)
        self.graph.output(tuple(result) if isinstance(result, list) else result)
        self.graph.lint()
        module = fx.GraphModule(self.root, self.graph, class_name="Program")
        module.meta = {"signature": self.signature}
        module.eval()
        return module

    def _typed(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as such, and one object for all names of a tied tensor."""
        parameters = set(self.stored["parameters"])
        typed = {
            name: nn.Parameter(tensor) if name in parameters else tensor
            for name, tensor in tensors.items()
        }
        return typed | {name: typed[first] for name, first in self.stored["tied"].items()}

    def _signature(self) -> Signature:
        inputs = []
        for name, dtype, shape in self.stored["inputs"]:
            if dtype not in DTYPES or not all(isinstance(size, int | str) for size in shape):
                raise ModelError(f"the input {name!r} of the program is {dtype!r} {shape!r}")
            inputs.append(TensorSpec(check_name(name, "an input"), dtype, tuple(shape)))
        outputs = tuple(check_name(name, "an output") for name in self.stored["outputs"])
        return Signature(tuple(inputs), outputs)

    def _layer(self, path: str, described: Mapping[str, Any]) -> Any:
        settings = {key: value for key, value in described.items() if key != "kind"}
        layer = build(described["kind"], settings, f"the layer `{path}`")
        for table in (layer._parameters, layer._buffers):
            for name, empty in table.items():
                if empty is None:
                    continue
                table[name] = self._tensor(f"{path}.{name}", tuple(empty.shape))
        return layer

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Any:
        found = self.tensors.get(name)
        if found is None or tuple(found.shape) != shape:
            held = "no tensor" if found is None else f"shape {tuple(found.shape)}"
            raise ModelError(
                f"the weights of the program hold {held} for `{name}`, which needs shape {shape}; "
                "the two files are not of one model"
            )
        return found

    def _add(self, name: str, op: str, target: str, *rest: Any) -> None:
        check_name(name, "a node")
        if name in self.nodes:
            raise ModelError(f"the program computes `{name}` twice")
        if op == "tensor":
            check_path(target, "a tensor")
            if target not in self.tensors:
                raise ModelError(f"the weights of the program lack `{target}`")
            place(self.root, target, self.tensors[target])
            made = self.graph.create_node("get_attr", target, name=name)
        elif op == "layer" and target in self.stored["layers"]:
            arguments = tuple(decode(rest[0], self.nodes))
            made = self.graph.create_node("call_module", target, arguments, {}, name)
        elif op == "call":
            arguments = tuple(decode(rest[0], self.nodes))
            kwargs = {
                check_name(key, "an argument"): decode(value, self.nodes)
                for key, value in rest[1].items()
            }
            function = function_named(target)
            made = self.graph.create_node("call_function", function, arguments, kwargs, name)
        else:
            raise ModelError(f"the program holds a node {op!r} of {str(target)[:80]!r}")
        self.nodes[name] = made
