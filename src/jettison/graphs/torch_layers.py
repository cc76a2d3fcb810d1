"""The layers of a PyTorch module whose weights can be pruned, by name.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn

from jettison.errors import CandidateFailed, NothingChanged
from jettison.numerics.masks import n_of_m

__all__ = [
    "Kind",
    "PrunableLayer",
    "input_order",
    "n_of_m_mask",
    "outer_layers",
    "prunable_layers",
    "weight_matrix",
]

Kind = Literal["linear", "convolution", "transposed"]
NAMED = 8


@dataclass(frozen=True, slots=True)
class PrunableLayer:
    """One weight that can be pruned.

    Attributes:
        name: qualified name of the first module that holds it.
        module: that module.
        kind: `linear` (weight of shape (out, in)), `convolution` ((out, in / groups, *kernel)) or
            `transposed` ((in, out), the Conv1D of transformers).
        weight_shape: as the module stores it.
        names: of all modules that share the weight, `name` first.
    """

    name: str
    module: Any
    kind: Kind
    weight_shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of weights."""
        return int(self.module.weight.numel())


def prunable_layers(module: Any, patterns: str = "") -> tuple[PrunableLayer, ...]:
    """Finds the linear and convolution layers of a module, in the order of `named_modules`.

    A weight that several modules share appears once, under its first name. Biases, norms and
    embeddings never appear, nor does a layer that shares its weight with an embedding.

    Args:
        module: any `nn.Module`.
        patterns: comma-separated shell patterns of names (`encoder.*, head`); a pattern that
            begins with `!` takes layers out again. Empty means all.

    Raises:
        CandidateFailed: if a pattern matches no layer, or the patterns leave none; lists names.
        NothingChanged: if the module has no layer that can be pruned.
    """
    layers = _all_layers(module)
    if not layers:
        raise NothingChanged(
            "the model has no weight that can be pruned: no Linear, Conv1d, Conv2d or Conv1D layer "
            "with floating-point weights of its own"
        )
    return _selected(layers, patterns)


def weight_matrix(layer: PrunableLayer) -> Any:
    """The weight as a matrix of shape (out, in * kernel): a view, so that edits reach the layer.

    The columns of a convolution are ordered as `torch.nn.functional.unfold` orders them.
    """
    weight = layer.module.weight.detach()
    if layer.kind == "transposed":
        return weight.t()
    return weight.view(weight.shape[0], -1)


def input_order(layer: PrunableLayer) -> Any:
    """Column numbers of `weight_matrix` with input channels next to each other, shape (in * k,).

    Kernels that skip zeros in groups of m weights group input channels at one kernel position.
    """
    columns = weight_matrix(layer).shape[1]
    numbers = torch.arange(columns, device=layer.module.weight.device)
    if layer.kind != "convolution":
        return numbers
    channels = layer.weight_shape[1]
    return numbers.view(channels, -1).t().reshape(-1)


def n_of_m_mask(layer: PrunableLayer, scores: Any, n: int, m: int) -> Any:
    """The n best of every m input channels; scores and mask have the shape of `weight_matrix`.

    See `jettison.numerics.masks.n_of_m` for what happens to a remainder. Groups of a convolution
    lie within one kernel position and never cross from one position to the next.
    """
    if layer.kind != "convolution":
        return n_of_m(scores, n, m)
    out, channels = layer.weight_shape[:2]
    by_position = scores.reshape(out, channels, -1).transpose(1, 2)
    return n_of_m(by_position, n, m).transpose(1, 2).reshape(out, -1)


def outer_layers(layers: Sequence[PrunableLayer]) -> tuple[str, ...]:
    """Names of the first and the last layer, which lose most when they are pruned.

    The order is that of `named_modules`: for the usual models that of the computation.
    """
    if not layers:
        return ()
    return tuple(dict.fromkeys((layers[0].name, layers[-1].name)))


def _all_layers(module: Any) -> tuple[PrunableLayer, ...]:
    named = list(module.named_modules(remove_duplicate=False))
    tables = {_identity(part.weight) for _, part in named if _is_embedding(part)}
    names: dict[tuple[object, ...], list[str]] = {}
    first: dict[tuple[object, ...], tuple[Any, Kind]] = {}
    for name, part in named:
        kind = _kind(part)
        if kind is None or _identity(part.weight) in tables:
            continue
        identity = _identity(part.weight)
        names.setdefault(identity, []).append(name)
        first.setdefault(identity, (part, kind))
    return tuple(
        PrunableLayer(names[key][0], part, kind, tuple(part.weight.shape), tuple(names[key]))
        for key, (part, kind) in first.items()
    )


def _kind(part: Any) -> Kind | None:
    own = {**part._parameters, **part._buffers}
    weight = own.get("weight")
    if weight is None or not weight.is_floating_point():
        return None
    if isinstance(part, nn.Linear):
        return "linear"
    if isinstance(part, nn.Conv1d | nn.Conv2d):
        return "convolution"
    # Told by its class's name, because transformers need not be installed.
    kinds = {(kind.__module__, kind.__name__) for kind in type(part).__mro__}
    return "transposed" if ("transformers.pytorch_utils", "Conv1D") in kinds else None


def _is_embedding(part: Any) -> bool:
    return isinstance(part, nn.Embedding | nn.EmbeddingBag)


def _identity(weight: Any) -> tuple[object, ...]:
    """The same for two tensors that lie at the same place in memory."""
    place = weight.data_ptr()
    return (place, tuple(weight.shape)) if place else (id(weight),)


def _selected(layers: tuple[PrunableLayer, ...], patterns: str) -> tuple[PrunableLayer, ...]:
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    hits = {pattern: _matching(layers, pattern.removeprefix("!")) for pattern in wanted}
    kept = set().union(*(names for text, names in hits.items() if not text.startswith("!")))
    if all(pattern.startswith("!") for pattern in wanted):
        kept = {layer.name for layer in layers}
    kept -= set().union(*(names for text, names in hits.items() if text.startswith("!")))
    chosen = tuple(layer for layer in layers if layer.name in kept)
    if not chosen:
        raise CandidateFailed(
            f"the patterns `{patterns}` leave no layer; the layers are {_listed(layers)}"
        )
    return chosen


def _matching(layers: tuple[PrunableLayer, ...], pattern: str) -> set[str]:
    found = {
        layer.name for layer in layers if any(fnmatchcase(name, pattern) for name in layer.names)
    }
    if found:
        return found
    every = [name for layer in layers for name in layer.names]
    near = difflib.get_close_matches(pattern, every, n=NAMED, cutoff=0.4)
    hint = f"near names: {', '.join(f'`{name}`' for name in near)}" if near else ""
    raise CandidateFailed(
        f"`{pattern}` matches no layer that can be pruned; "
        f"{hint or 'the layers are ' + _listed(layers)}. Patterns are compared with whole names: "
        "`*` stands for any characters"
    )


def _listed(layers: tuple[PrunableLayer, ...]) -> str:
    shown = ", ".join(f"`{layer.name}`" for layer in layers[:NAMED])
    rest = len(layers) - NAMED
    return f"{shown} and {rest} more" if rest > 0 else shown
