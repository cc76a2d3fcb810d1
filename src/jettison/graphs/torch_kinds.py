"""The layers that stand in an opened program as real modules, and how each is described as data.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jettison.errors import ModelError

__all__ = ["BUFFERS", "KINDS", "build", "describe", "is_plain"]

_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_CONV, "output_padding")
_BATCH = ("num_features", "eps", "momentum")

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Of BatchNorm; all else that these layers hold is a weight or a bias."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of layer.

    Attributes:
        cls: the class itself; subclasses are other kinds.
        settings: arguments of its constructor that are attributes of the layer too.
        switches: argument -> the tensor whose presence it switches.
    """

    cls: type[Any]
    settings: tuple[str, ...]
    switches: Mapping[str, str]


_BIAS = {"bias": "bias"}
_AFFINE = {"affine": "weight"}

KINDS: Mapping[str, Kind] = {
    kind.cls.__name__: kind
    for kind in (
        Kind(nn.Conv1d, _CONV, _BIAS),
        Kind(nn.Conv2d, _CONV, _BIAS),
        Kind(nn.Conv3d, _CONV, _BIAS),
        Kind(nn.ConvTranspose1d, _TRANSPOSED, _BIAS),
        Kind(nn.ConvTranspose2d, _TRANSPOSED, _BIAS),
        Kind(nn.ConvTranspose3d, _TRANSPOSED, _BIAS),
        Kind(nn.Linear, ("in_features", "out_features"), _BIAS),
        Kind(nn.BatchNorm1d, _BATCH, _AFFINE),
        Kind(nn.BatchNorm2d, _BATCH, _AFFINE),
        Kind(nn.BatchNorm3d, _BATCH, _AFFINE),
        Kind(
            nn.LayerNorm,
            ("normalized_shape", "eps"),
            {"elementwise_affine": "weight", "bias": "bias"},
        ),
        Kind(nn.RMSNorm, ("normalized_shape", "eps"), {"elementwise_affine": "weight"}),
        Kind(nn.GroupNorm, ("num_groups", "num_channels", "eps"), _AFFINE),
        Kind(nn.Embedding, ("num_embeddings", "embedding_dim", "padding_idx"), {}),
    )
}
"""Class name -> how a layer of that class is written down."""


def is_plain(module: Any) -> bool:
    """Whether a layer is wholly described by `describe` and its tensors."""
    kind = KINDS.get(type(module).__name__)
    if kind is None or type(module) is not kind.cls or any(True for _ in module.children()):
        return False
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    held = {name for name, _ in module.named_buffers(remove_duplicate=False)}
    if not names <= {"weight", "bias"} or not held <= set(BUFFERS):
        return False
    if "BatchNorm" in type(module).__name__ and module.running_mean is None:
        return False
    zeros: bool = getattr(module, "padding_mode", "zeros") == "zeros"
    return zeros and getattr(module, "max_norm", None) is None


def describe(module: Any) -> dict[str, Any]:
    """Gives the settings of a plain layer, as JSON has them; sizes as its tensors have them."""
    kind = KINDS[type(module).__name__]
    settings = {name: _plain(getattr(module, name)) for name in kind.settings}
    for switch, tensor in kind.switches.items():
        settings[switch] = getattr(module, tensor) is not None
    return settings


def build(kind_name: str, settings: Mapping[str, Any], where: str) -> Any:
    """Makes a layer without tensors (on the device `meta`).

    Raises:
        ModelError: for an unknown kind, or settings that the layer does not take.
    """
    kind = KINDS.get(kind_name)
    if kind is None or set(settings) != {*kind.settings, *kind.switches}:
        raise ModelError(
            f"{where} is no layer that a program may hold: `{kind_name}` with "
            f"{', '.join(sorted(settings)) or 'no settings'}; save the model again"
        )
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    try:
        return kind.cls(**given, device="meta")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{where} can't be a `{kind_name}` with {settings}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Size | tuple):
        return [int(item) for item in value]
    return value
