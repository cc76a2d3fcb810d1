"""Linear layers whose weights are 2:4, computed by the sparse tensor cores of NVIDIA GPUs.

PyTorch keeps such a weight without its zeros, with two bits for the place of each one that is left.
Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from jettison.errors import CandidateFailed
from jettison.graphs.two_of_four import COLUMNS, ROWS

__all__ = ["Chosen", "SemiStructuredLinear", "choose_layers", "is_two_of_four", "replace_layers"]

NAMED = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which linear layers can run sparse.

    Attributes:
        names: of the layers that can, in the order of the network.
        dense: the names of the other linear layers -> why they stay dense.
    """

    names: tuple[str, ...]
    dense: Mapping[str, str]


class SemiStructuredLinear(nn.Module):  # type: ignore[misc]
    """A linear layer with a compressed weight; answers like the layer that it stands for.

    Args:
        layer: with a 2:4 weight in 16 bits on a GPU.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # That PyTorch may change its class of such weights is nothing that a user can act on.
            warnings.filterwarnings("ignore", "The PyTorch API of SparseSemiStructuredTensor")
            compressed = torch.sparse.to_sparse_semi_structured(layer.weight.detach().contiguous())
        self.weight = nn.Parameter(compressed, requires_grad=False)
        self.bias = layer.bias

    def forward(self, values: Any) -> Any:
        """Gives the products of the last dimension with the weight, plus the bias."""
        # The kernels take matrices only, and `view` fails on what an attention has transposed.
        rows = values.reshape(-1, values.shape[-1])
        answer = functional.linear(rows, self.weight, self.bias)
        return answer.reshape(*values.shape[:-1], answer.shape[-1])


def is_two_of_four(weight: Any) -> bool:
    """Whether of every 4 neighbours along the last dimension at most 2 are not zero."""
    if weight.shape[-1] % 4:
        return False
    groups = weight.detach().reshape(-1, 4)
    return int((groups != 0).sum(dim=1).max()) <= 2


def choose_layers(module: nn.Module) -> Chosen:
    """Says of every linear layer whether its weight can be computed with sparsely, and why not.

    Only the layer's own class counts: a subclass may read its weight in other ways.
    """
    names: list[str] = []
    dense: dict[str, str] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        reason = _why_dense(layer)
        if reason:
            dense[name] = reason
        else:
            names.append(name)
    return Chosen(tuple(names), dense)


def _why_dense(layer: nn.Linear) -> str:
    rows, columns = layer.weight.shape
    if type(layer) is not nn.Linear:
        return f"it is a {type(layer).__name__}, not a plain linear layer"
    if rows % ROWS or columns % COLUMNS:
        return f"{rows} x {columns} is not a multiple of {ROWS} x {COLUMNS}"
    if not is_two_of_four(layer.weight):
        return "its weight is not 2:4"
    return ""


def replace_layers(module: nn.Module) -> Chosen:
    """Replaces the linear layers that can run sparse, in place; the module is in 16 bits on a GPU.

    Raises:
        CandidateFailed: if no layer can; gives the reasons.
    """
    chosen = choose_layers(module)
    if not chosen.names:
        raise CandidateFailed(f"no layer can be computed as 2:4: {_told(chosen)}")
    for name in chosen.names:
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, SemiStructuredLinear(module.get_submodule(name)))
    return chosen


def _told(chosen: Chosen) -> str:
    if not chosen.dense:
        return "the model has no linear layer"
    shown = [f"`{name}`: {why}" for name, why in list(chosen.dense.items())[:NAMED]]
    more = len(chosen.dense) - len(shown)
    hint = 'prune with `pattern = "2:4"` first'
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "") + f" ({hint})"
