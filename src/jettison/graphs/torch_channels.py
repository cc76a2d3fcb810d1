"""Groups of channels that can only be removed together, found in a PyTorch module and tried out.

What depends on what is read by Torch-Pruning's dependency graph (Fang et al., "DepGraph: Towards
Any Structural Pruning", CVPR 2023, arXiv 2301.12900). That graph takes operators that it does not
know (padding of channels, products of activations) for element-wise ones, so no group is believed:
each is tried once, and stays only if removing some of its channels answers the same as setting
them to zero. That test alone also keeps the model's inputs and outputs as they are, and spares
channels that a LayerNorm averages over.

Importing this file imports torch and torch_pruning; plug-ins import it inside the methods that
need it.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning
from torch import nn

from jettison.errors import CandidateFailed
from jettison.graphs.torch_macs import COUNTED, frozen

__all__ = ["ChannelGroup", "ChannelMap", "Member"]

TOLERANCE = 1e-3
"""Largest difference between removing and zeroing, as a share of the largest answer."""

TURNS = 4
"""Times that a group may meet each dependency of the whole model before it counts as endless."""

HEAD_WIDTHS = ("attention_head_size", "head_dim", "dim_per_head")
"""What transformers calls the width of an attention head."""


@dataclass(frozen=True, slots=True)
class Member:
    """One axis of one layer that a group runs through.

    Attributes:
        name, layer: the layer; `side`: its outputs or the inputs that it reads.
        positions: channels of that axis, shape (k,), int64.
        roots: the group's channel that each belongs to, shape (k,), int64.
    """

    name: str
    layer: Any
    side: Literal["out", "in"]
    positions: Any
    roots: Any


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that several layers share.

    Attributes:
        name: of the first layer that makes them.
        channels: how many there are.
        block: channels that go together (the width of an attention head, or 1).
        members: every layer that makes, scales or reads them.
    """

    name: str
    channels: int
    block: int
    members: tuple[Member, ...]

    @property
    def units(self) -> int:
        """What can be removed one by one: channels, or heads."""
        return self.channels // self.block

    @property
    def readers(self) -> tuple[Member, ...]:
        """The layers with weights that read these channels."""
        return tuple(m for m in self.members if m.side == "in" and isinstance(m.layer, COUNTED))

    @property
    def makers(self) -> tuple[Member, ...]:
        """The layers with weights that make these channels."""
        return tuple(m for m in self.members if m.side == "out" and isinstance(m.layer, COUNTED))

    def channels_of(self, units: Sequence[int]) -> list[int]:
        """The channels of some units."""
        return [unit * self.block + i for unit in units for i in range(self.block)]


class ChannelMap:
    """The channel groups of one module; removing channels changes the module.

    Args:
        module: in eval mode, called with tensors by name; answers a tensor or a tuple.
        inputs: a few real rows, input name -> tensor of shape (n, ...); they are run some times.
        patterns: comma-separated `fnmatch` patterns of layers that may make fewer channels;
            empty means all.

    Attributes:
        groups: what can be removed, in the order of the network.
        spared: name of the first layer -> why its channels stay.

    Raises:
        CandidateFailed: if the module can't be traced, what depends on a layer has no end, or a
            pattern matches no layer.
    """

    def __init__(self, module: Any, inputs: Mapping[str, Any], patterns: str = "") -> None:
        self._module = module
        self._inputs = dict(inputs)
        self._names = {part: name for name, part in module.named_modules()}
        self._graph = _trace(module, self._inputs)
        self.spared: dict[str, str] = {}
        self.groups = tuple(self._find(patterns))

    def remove(self, group: ChannelGroup, units: Sequence[int]) -> None:
        """Removes some units of a group from every layer that it runs through.

        The other groups of this map stay usable.
        """
        self._pruning(group.members[0], group.channels_of(units)).prune()

    def _find(self, patterns: str) -> Iterator[ChannelGroup]:
        roots = (nn.modules.conv._ConvNd, nn.Linear)
        chosen = _matching(
            [name for part, name in self._names.items() if isinstance(part, roots)], patterns
        )
        with _bounded(self._graph):
            found = list(self._graph.get_all_groups(root_module_types=roots))
        reference = self._answer()
        if not all(bool(torch.isfinite(part).all()) for part in reference):
            raise CandidateFailed(
                "the model answers some of the first fitting rows with NaN or infinite values, so "
                "that no change can be judged; look for such values in the rows"
            )
        for raw in found:
            members = self._members(raw)
            name = members[0].name if members else "?"
            # Whichever of the layers that make these channels was named.
            if chosen.isdisjoint(member.name for member in members if member.side == "out"):
                continue
            problem = _unfit(raw, members)
            group = None if problem else self._tried(members, reference)
            if group is None:
                self.spared[name] = problem or (
                    "removing its channels does not answer the same as setting them to zero "
                    "(an output of the model, a norm over channels, or an operator that counts "
                    "on their number reads them)"
                )
                continue
            yield group

    def _members(self, raw: Any) -> tuple[Member, ...]:
        found = []
        for place in range(len(raw)):
            dependency, positions = raw[place]
            layer = dependency.target.module
            if layer not in self._names:
                continue
            makes = self._graph.is_out_channel_pruning_fn(dependency.handler)
            both = isinstance(layer, nn.modules.batchnorm._BatchNorm) or _depthwise(layer)
            roots = raw[place].root_idxs
            found.append(
                Member(
                    self._names[layer],
                    layer,
                    "out" if makes or both else "in",
                    torch.tensor(list(positions), dtype=torch.int64),
                    torch.tensor(list(roots), dtype=torch.int64),
                )
            )
        return tuple(found)

    def _tried(self, members: tuple[Member, ...], reference: Any) -> ChannelGroup | None:
        """The group with the smallest block that can be removed; `None` where there is none."""
        channels = int(members[0].positions.numel())
        for block in (1, *self._head_widths(members)):
            if channels % block or channels // block < 2:
                continue
            group = ChannelGroup(members[0].name, channels, block, members)
            if self._stands(group, reference):
                return group
        return None

    def _head_widths(self, members: tuple[Member, ...]) -> tuple[int, ...]:
        widths = set()
        for member in members:
            path = member.name.split(".")
            for depth in range(len(path)):
                parent = self._module.get_submodule(".".join(path[:depth]))
                widths |= {getattr(parent, key, None) for key in HEAD_WIDTHS}
        return tuple(sorted(w for w in widths if isinstance(w, int) and w > 1))

    def _stands(self, group: ChannelGroup, reference: Any) -> bool:
        """Whether removing some of its channels answers the same as zeroing them."""
        picked = torch.Generator().manual_seed(group.channels)
        order = torch.randperm(group.units, generator=picked).tolist()
        units = sorted(order[: max(1, group.units // 3)])
        gone = group.channels_of(units)
        with _kept(group.members):
            _zero(group, gone)
            expected = self._answer()
        raw = self._pruning(group.members[0], gone)
        with _kept_modules([dep.target.module for dep, _ in raw]):
            try:
                raw.prune(record_history=False)
                answer = self._answer()
            except (RuntimeError, ValueError, IndexError, AssertionError):
                # Shapes that no longer fit show themselves as any of these; that is the answer.
                return False
        return _same(answer, expected, reference)

    def _pruning(self, root: Member, channels: list[int]) -> Any:
        function = self._graph.get_pruner_of_module(root.layer).prune_out_channels
        return self._graph.get_pruning_group(root.layer, function, channels)

    def _answer(self) -> tuple[Any, ...]:
        with frozen(self._module):
            answer = self._module(**self._inputs)
        return answer if isinstance(answer, tuple) else (answer,)


def _trace(module: Any, inputs: Mapping[str, Any]) -> Any:
    needs = [(weight, weight.requires_grad) for weight in module.parameters()]
    try:
        # The tracer follows gradients, so weights must have them.
        for weight, _ in needs:
            weight.requires_grad_(weight.is_floating_point())
        with torch.enable_grad():
            return torch_pruning.DependencyGraph().build_dependency(
                module, dict(inputs), forward_fn=lambda m, named: m(**named), verbose=False
            )
    except (RuntimeError, ValueError, AttributeError, KeyError, TypeError, AssertionError) as error:
        raise CandidateFailed(
            f"Torch-Pruning {torch_pruning.__version__} can't read how the layers of this model "
            f"depend on each other: {type(error).__name__}: {str(error).strip().splitlines()[:1]}"
        ) from error
    finally:
        for weight, needed in needs:
            weight.requires_grad_(needed)


@contextlib.contextmanager
def _bounded(graph: Any) -> Iterator[None]:
    """Ends the search for a group where it would go on forever.

    Where a model cuts channels apart and joins them in another order (rotary position embeddings),
    Torch-Pruning follows numbers of channels that move on at each turn.
    """
    home: Any = sys.modules[type(graph).__module__]
    whole: Any = home.Group
    most = TURNS * sum(len(node.dependencies) for node in graph.module2node.values())

    class Bounded(whole):  # type: ignore[misc]
        def add_dep(self, dep: Any, idxs: Any) -> None:
            if len(self.items) >= most:
                raise CandidateFailed(
                    f"Torch-Pruning {torch_pruning.__version__} finds no end of what depends on "
                    f"`{self.items[0].dep.target.name.split()[0]}` (rotary position embeddings do that): "
                    "channels of this model can't be removed; use `low_rank` or a mask"
                )
            super().add_dep(dep, idxs)

    home.Group = Bounded
    try:
        yield
    finally:
        home.Group = whole


def _matching(names: list[str], patterns: str) -> frozenset[str]:
    wanted = [part.strip() for part in patterns.split(",") if part.strip()]
    if not wanted:
        return frozenset(names)
    found: set[str] = set()
    for pattern in wanted:
        hits = fnmatch.filter(names, pattern)
        if not hits:
            near = difflib.get_close_matches(pattern, names, n=8, cutoff=0.4)
            shown = ", ".join(f"`{name}`" for name in near or names[:8])
            raise CandidateFailed(
                f"`layers` names {pattern!r}, which matches none of {len(names)} convolutions and "
                f"linear layers; {'near names' if near else 'the first'}: {shown}"
            )
        found.update(hits)
    return frozenset(found)


def _unfit(raw: Any, members: tuple[Member, ...]) -> str:
    """Why a group can't be tried at all; empty if it can."""
    if any(isinstance(dep.target.module, nn.Parameter) for dep, _ in raw):
        return "a free parameter (a position table, a scale) runs along these channels"
    for member in members:
        if isinstance(member.layer, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            return f"the norm `{member.name}` averages over these channels"
        if getattr(member.layer, "groups", 1) > 1 and not _depthwise(member.layer):
            return f"`{member.name}` is a convolution in groups"
        if any(root is None for root in member.roots):
            return f"which channel is which in `{member.name}` is not known"
    if not any(m.side == "in" and isinstance(m.layer, COUNTED) for m in members):
        return "no layer with weights reads these channels"
    return ""


def _depthwise(layer: Any) -> bool:
    groups = getattr(layer, "groups", 1)
    return groups > 1 and groups == layer.in_channels == layer.out_channels


def _zero(group: ChannelGroup, channels: list[int]) -> None:
    gone = torch.tensor(channels)
    for member in group.members:
        hit = member.positions[torch.isin(member.roots, gone)]
        hit = hit.to(member.layer.weight.device) if _has(member.layer, "weight") else hit
        for name in ("weight", "bias"):
            if not _has(member.layer, name) or (name == "bias" and member.side == "in"):
                continue
            changed = getattr(member.layer, name).detach().clone()
            changed[(slice(None),) * (member.side == "in") + (hit,)] = 0
            setattr(member.layer, name, nn.Parameter(changed))


def _has(layer: Any, name: str) -> bool:
    return getattr(layer, name, None) is not None


def _same(answer: tuple[Any, ...], expected: tuple[Any, ...], reference: tuple[Any, ...]) -> bool:
    for got, wanted, original in zip(answer, expected, reference, strict=True):
        if got.shape != original.shape:
            return False
        scale = float(original.abs().max()) + 1e-12
        if not float((got - wanted).abs().max()) <= TOLERANCE * scale:
            return False
    return True


@contextlib.contextmanager
def _kept(members: Sequence[Member]) -> Iterator[None]:
    with _kept_modules([member.layer for member in members]):
        yield


@contextlib.contextmanager
def _kept_modules(modules: Sequence[Any]) -> Iterator[None]:
    """Puts back everything that pruning changes in some modules."""
    saved = [
        (
            module,
            {
                key: copy.copy(value) if isinstance(value, dict | list) else value
                for key, value in vars(module).items()
            },
        )
        for module in modules
    ]
    try:
        yield
    finally:
        for module, state in saved:
            vars(module).clear()
            vars(module).update(state)
