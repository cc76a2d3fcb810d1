"""Which operator calls of an exported graph are layers with weights, and which layers they are.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

__all__ = ["LayerCall", "layer_call", "named_arguments"]


@dataclass(frozen=True, slots=True)
class LayerCall:
    """A call that a module can make.

    Attributes:
        kind: class name of the module.
        settings: as `torch_kinds.describe` gives them.
        tensors: name in the module -> node of the weight.
        given: the node that the layer works on.
        first_of_several: the operator answers with a tuple, of which the first is meant.
    """

    kind: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Any]
    given: Any
    first_of_several: bool = False


Values = Mapping[str, Any]
ShapeOf = Callable[[Any], tuple[int, ...]]
"""Gives the shape of the weight behind a node; `()` where there is none."""


def named_arguments(node: Any) -> dict[str, Any]:
    """Gives the arguments of an operator call by their names, defaults filled in."""
    arguments = node.target._schema.arguments
    named = {a.name: a.default_value for a in arguments if a.has_default_value()}
    named.update(zip((a.name for a in arguments), node.args))
    named.update(node.kwargs)
    return named


def layer_call(node: Any, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    """Says which layer a call is; `None` if it is none.

    Args:
        node: a call of an aten operator.
        shape_of: gives the shape of the weight behind a node, `()` where there is none.
        rank: dimensions of the first argument, 0 if unknown.
    """
    reader = _READERS.get(str(node.target).removeprefix("aten."))
    if reader is None:
        return None
    call = reader(named_arguments(node), shape_of, rank)
    if call is None or not isinstance(call.given, fx.Node):
        return None
    plain = not any(_holds_node(value) for value in call.settings.values())
    return call if plain else None


def _holds_node(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_node(item) for item in value)
    return isinstance(value, fx.Node)


def _spread(value: Any, count: int) -> Any:
    if isinstance(value, str):
        return value
    items = list(value) if isinstance(value, list | tuple) else [value]
    return items * count if len(items) == 1 else items


def _tensors(values: Values, *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if values[name] is not None}


def _conv(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    shape = shape_of(values["weight"])
    count = len(shape) - 2
    transposed = bool(values.get("transposed", "output_padding" in values))
    if count not in (1, 2, 3):
        return None
    groups = values["groups"]
    outer, inner = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
    settings = {
        "in_channels": inner if transposed else inner * groups,
        "out_channels": outer * groups if transposed else outer,
        "kernel_size": list(shape[2:]),
        "groups": groups,
        "bias": values["bias"] is not None,
    }
    names = ("stride", "padding", "dilation") + ("output_padding",) * transposed
    settings |= {name: _spread(values[name], count) for name in names}
    kind = f"Conv{'Transpose' * transposed}{count}d"
    return LayerCall(kind, settings, _tensors(values, "weight", "bias"), values["input"])


def _linear(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    shape = shape_of(values["weight"])
    if len(shape) != 2:
        return None
    settings = {
        "in_features": shape[1],
        "out_features": shape[0],
        "bias": values["bias"] is not None,
    }
    return LayerCall("Linear", settings, _tensors(values, "weight", "bias"), values["input"])


def _addmm(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    """Reads `bias + x @ transposed(weight)`: what a linear layer is decomposed into."""
    turned = values["mat2"]
    if values["beta"] != 1 or values["alpha"] != 1 or not isinstance(turned, fx.Node):
        return None
    name = str(turned.target)
    if name not in ("aten.t.default", "aten.permute.default", "aten.transpose.int"):
        return None
    if len(shape_of(values["self"])) != 1 or len(shape_of(turned.args[0])) != 2:
        return None
    if name == "aten.permute.default" and list(turned.args[1]) != [1, 0]:
        return None
    parts = {"weight": turned.args[0], "bias": values["self"], "input": values["mat1"]}
    return _linear(parts, shape_of, rank)


def _batch_norm(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    shape = shape_of(values["running_mean"])
    if values.get("training", False) or len(shape) != 1 or rank not in (2, 3, 4, 5):
        return None
    if (values["weight"] is None) != (values["bias"] is None):
        return None
    settings = {
        "num_features": shape[0],
        "eps": values["eps"],
        "momentum": values["momentum"],
        "affine": values["weight"] is not None,
    }
    names = ("weight", "bias", "running_mean", "running_var")
    kind = f"BatchNorm{max(1, rank - 2)}d"
    first = "training" not in values
    return LayerCall(kind, settings, _tensors(values, *names), values["input"], first)


def _layer_norm(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    settings = {
        "normalized_shape": list(values["normalized_shape"]),
        "eps": values["eps"],
        "elementwise_affine": True,
        "bias": values["bias"] is not None,
    }
    if values["weight"] is None:
        return None
    first = "cudnn_enable" not in values
    return LayerCall(
        "LayerNorm", settings, _tensors(values, "weight", "bias"), values["input"], first
    )


def _rms_norm(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    if values["weight"] is None:
        return None
    settings = {
        "normalized_shape": list(values["normalized_shape"]),
        "eps": values["eps"],
        "elementwise_affine": True,
    }
    return LayerCall("RMSNorm", settings, _tensors(values, "weight"), values["input"])


def _group_norm(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    shape = shape_of(values["weight"])
    if len(shape) != 1 or values["bias"] is None:
        return None
    settings = {
        "num_groups": values["num_groups"],
        "num_channels": shape[0],
        "eps": values["eps"],
        "affine": True,
    }
    return LayerCall("GroupNorm", settings, _tensors(values, "weight", "bias"), values["input"])


def _embedding(values: Values, shape_of: ShapeOf, rank: int) -> LayerCall | None:
    shape = shape_of(values["weight"])
    if values["scale_grad_by_freq"] or values["sparse"] or len(shape) != 2:
        return None
    padding = values["padding_idx"]
    settings = {
        "num_embeddings": shape[0],
        "embedding_dim": shape[1],
        "padding_idx": None if padding == -1 else padding,
    }
    return LayerCall("Embedding", settings, {"weight": values["weight"]}, values["indices"])


_READERS: Mapping[str, Callable[[Values, ShapeOf, int], LayerCall | None]] = {
    "conv1d.default": _conv,
    "conv2d.default": _conv,
    "conv3d.default": _conv,
    "conv1d.padding": _conv,
    "conv2d.padding": _conv,
    "conv3d.padding": _conv,
    "convolution.default": _conv,
    "conv_transpose1d.default": _conv,
    "conv_transpose2d.input": _conv,
    "conv_transpose3d.input": _conv,
    "linear.default": _linear,
    "addmm.default": _addmm,
    "batch_norm.default": _batch_norm,
    "_native_batch_norm_legit_no_training.default": _batch_norm,
    "layer_norm.default": _layer_norm,
    "native_layer_norm.default": _layer_norm,
    "rms_norm.default": _rms_norm,
    "group_norm.default": _group_norm,
    "embedding.default": _embedding,
}
