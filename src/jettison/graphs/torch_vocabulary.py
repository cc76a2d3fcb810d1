"""The words of a stored program: operators and values, each as plain JSON, none of them code.

Names in a file become lines of the `forward` that `torch.fx` writes, so what is no plain word is
refused here. Operators are looked up among those of PyTorch's own `aten`, never by import.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import importlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any

import torch
from torch import fx

from jettison.errors import ModelError

__all__ = [
    "check_name",
    "check_path",
    "decode",
    "encode",
    "function_named",
    "name_of_function",
]

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    f"operator.{name}": getattr(operator, name)
    for name in (
        *("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "pos", "abs"),
        *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
    )
} | {
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_int": torch.sym_int,
    "torch.sym_float": torch.sym_float,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_not": torch.sym_not,
    "torch.sym_ite": torch.sym_ite,
    "torch.sym_sum": torch.sym_sum,
    "math.sqrt": math.sqrt,
}
"""Arithmetic on sizes."""

_BY_FUNCTION = {function: name for name, function in FUNCTIONS.items()}

FORBIDDEN = frozenset({"from_file", "set_", "resize_", "as_strided_", "as_strided_scatter"})
"""Operators of aten that reach files, or memory beyond a tensor."""

DECOMPOSED = "quantized_decomposed"
ROUNDING = frozenset(
    f"{DECOMPOSED}.{name}.default"
    for name in ("quantize_per_tensor", "dequantize_per_tensor", "dequantize_per_channel")
)
"""Operators that take floats to integers and back, as `torch.export` writes 8-bit programs."""

_PART = re.compile(r"\w+", re.ASCII)
_WORD = re.compile(r"[\w ,.\->]*", re.ASCII)

TYPES: Mapping[str, type[Any]] = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}
"""Kinds of constant that are attributes of `torch`."""


def check_name(name: Any, what: str) -> str:
    """Gives a name back if it can be the name of a variable.

    Raises:
        ModelError: otherwise.
    """
    if isinstance(name, str) and name.isascii() and name.isidentifier() and not iskeyword(name):
        return name
    raise ModelError(f"{what} of the program is named {name!r}, which is no plain word; {_AGAIN}")


def check_path(path: Any, what: str) -> str:
    """Gives a qualified name back if it consists of letters, digits, underscores and dots.

    Raises:
        ModelError: otherwise.
    """
    if isinstance(path, str) and all(_PART.fullmatch(part) for part in path.split(".")):
        return path
    raise ModelError(f"{what} of the program is named {path!r}, which is no plain name; {_AGAIN}")


_AGAIN = "the file is damaged or was made by hand: save the model again"


def name_of_function(target: Any) -> str:
    """Gives the name under which an operator is stored.

    Raises:
        ModelError: for an operator that is not PyTorch's own, or draws random numbers.
    """
    if target in _BY_FUNCTION:
        return _BY_FUNCTION[target]
    if isinstance(target, torch._ops.OpOverload):
        name = str(target)
        _refuse_random(name, function_named(name))
        return name
    raise ModelError(
        f"the model calls `{getattr(target, '__name__', target)}`, which is no operator of PyTorch "
        "itself; jettison takes programs of `aten` operators: export the model to ONNX with the "
        "library that brings that operator"
    )


def function_named(name: Any) -> Any:
    """Looks an operator up, whether it draws random numbers or not.

    Raises:
        ModelError: for a name that is not allowed, or that this PyTorch does not know.
    """
    if isinstance(name, str) and name in FUNCTIONS:
        return FUNCTIONS[name]
    parts = name.split(".") if isinstance(name, str) else []
    if name in ROUNDING:
        # PyTorch registers them when this is imported.
        importlib.import_module("torch.ao.quantization.fx._decomposed")
        return getattr(getattr(torch.ops.quantized_decomposed, parts[1]), parts[2])
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts) or parts[0] != "aten":
        raise ModelError(
            f"the program calls {name!r}; allowed are operators of PyTorch's `aten`, "
            f"{', '.join(sorted(ROUNDING))}, and arithmetic on sizes "
            f"({', '.join(sorted(FUNCTIONS))})"
        )
    packet = getattr(torch.ops.aten, parts[1], None)
    found = getattr(packet, parts[2], None)
    if not isinstance(found, torch._ops.OpOverload) or parts[1] in FORBIDDEN:
        raise ModelError(
            f"the program calls `{name}`, which PyTorch {torch.__version__} does not know or "
            "jettison does not allow; use the version that wrote the program, or export it again"
        )
    return found


def _refuse_random(name: str, function: Any) -> None:
    quiet = name.split(".")[1] in _QUIET_IN_EVAL
    if torch.Tag.nondeterministic_seeded in function.tags and not quiet:
        raise ModelError(
            f"the model draws random numbers when it answers (`{name}`); a model must give the "
            "same answer to the same input: take the randomness out of `forward`"
        )


_QUIET_IN_EVAL = frozenset({"scaled_dot_product_attention", "lstm", "gru", "rnn_tanh", "rnn_relu"})
"""Operators that draw numbers only where their dropout is on."""


def encode(value: Any) -> Any:
    """Turns an argument of a node into JSON.

    Raises:
        ModelError: for a value that JSON and this format have no form for.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, fx.Node):
        # An input called like a built-in function (`input`) is a node of another name.
        return {"node": str(value.target) if value.op == "placeholder" else value.name}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    for kind, cls in TYPES.items():
        if isinstance(value, cls):
            return {kind: str(value).removeprefix("torch.")}
    raise ModelError(
        f"the model passes a `{type(value).__name__}` to an operator, which a stored program can't "
        "hold; write it with tensors and numbers"
    )


def decode(value: Any, nodes: Mapping[str, Any]) -> Any:
    """Turns JSON back into an argument.

    Args:
        value: as `encode` gives it.
        nodes: nodes that came before, by stored name.

    Raises:
        ModelError: for anything that `encode` does not give.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [decode(item, nodes) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if isinstance(content, str):
            return _decode_word(kind, content, nodes)
    raise ModelError(f"the program holds the value {str(value)[:80]!r}; {_AGAIN}")


def _decode_word(kind: str, content: str, nodes: Mapping[str, Any]) -> Any:
    if kind == "node" and content in nodes:
        return nodes[content]
    if kind == "text" and _WORD.fullmatch(content):
        return content
    if kind == "float" and content in ("inf", "-inf", "nan"):
        return float(content)
    if kind == "device" and content == "cpu":
        return torch.device("cpu")
    if kind in TYPES and _PART.fullmatch(content):
        found = getattr(torch, content, None)
        if isinstance(found, TYPES[kind]):
            return found
    raise ModelError(f"the program holds the {kind} {content[:80]!r}; {_AGAIN}")
