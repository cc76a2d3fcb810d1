"""Makes a PyTorch module narrower: fewer channels, attention heads and hidden neurons.

Importing this file imports torch and torch_pruning; plug-ins import it inside the methods that
need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.torch_batchnorm import recalibrate
from jettison.graphs.torch_channels import ChannelGroup, ChannelMap
from jettison.graphs.torch_gates import (
    GRADIENT_IMPORTANCES,
    NORM_IMPORTANCES,
    RowLoss,
    gate_gradients,
    importance_of_gates,
    norms,
)
from jettison.graphs.torch_macs import layer_macs
from jettison.graphs.torch_reconstruct import RIDGE, can_refit, refit, watch_moments
from jettison.numerics.channel_elimination import Reading, elimination_scores
from jettison.numerics.width_allocation import LayerShape, cost, keep_widths

__all__ = ["IMPORTANCES", "Narrowed", "NarrowingPlan", "narrow"]

RECONSTRUCTION = "reconstruction"
"""Importance by what the layers that read a channel can't make up for."""

IMPORTANCES = (RECONSTRUCTION, *GRADIENT_IMPORTANCES, *NORM_IMPORTANCES)

Batches = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class NarrowingPlan:
    """How to make a module narrower.

    Attributes:
        removed: share of the cost that goes, above 0 and below 1.
        of: what the cost is: `macs` (multiply-accumulates) or `channels` (their number).
        importance: one of `IMPORTANCES`.
        evenly: every group loses the same share, instead of one ranking over all groups.
        round_to: widths are multiples of this (heads are never split).
        rounds: importance is found anew and a part is removed this many times.
        refit_readers: fit the layers that read removed channels by least squares.
        layers: comma-separated patterns of layers that may become narrower; empty means all.
    """

    removed: float
    of: str = "macs"
    importance: str = RECONSTRUCTION
    evenly: bool = False
    round_to: int = 1
    rounds: int = 1
    refit_readers: bool = True
    layers: str = ""

    def __post_init__(self) -> None:
        """Checks what a person may have typed.

        Raises:
            CandidateFailed: for a value outside of what is allowed.
        """
        if not 0.0 < self.removed < 1.0:
            raise CandidateFailed(
                f"the share to remove must be above 0 and below 1; got {self.removed}"
            )
        if self.importance not in IMPORTANCES:
            raise CandidateFailed(
                f"importance must be one of {', '.join(IMPORTANCES)}; got {self.importance!r}"
            )
        if self.of not in ("macs", "channels"):
            raise CandidateFailed(f"a share is of `macs` or of `channels`; got {self.of!r}")
        if self.round_to < 1 or self.rounds < 1:
            raise CandidateFailed(
                f"round_to and rounds must be at least 1; got {self.round_to} and {self.rounds}"
            )


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What became narrower.

    Attributes:
        widths: first layer of each group -> units before and after.
        macs_before, macs_after: of one row, in all layers with weights.
        spared: layers whose channels stay, with the reason.
        refitted: layers whose weights were fitted again.
        recalibrated: BatchNorm layers whose statistics were recomputed.
    """

    widths: Mapping[str, tuple[int, int]]
    macs_before: int
    macs_after: int
    spared: Mapping[str, str]
    refitted: int = 0
    recalibrated: int = 0


def narrow(module: Any, plan: NarrowingPlan, batches: Batches, loss: RowLoss | None) -> Narrowed:
    """Removes the channels that the loss feels least; changes the module.

    Its inputs and outputs stay as they are. BatchNorm statistics are recomputed on the batches.

    Args:
        module: in eval mode, called with tensors by name.
        plan: how.
        batches: fitting rows in order, input name -> tensor of shape (n, ...), on its device.
        loss: of rows, for importances by gradients.

    Raises:
        NothingChanged: if no channel can be removed, or none was with these settings.
        CandidateFailed: if the module can't be traced, or gradients can't be had.
    """
    if not batches:
        raise CandidateFailed("making a model narrower needs fitting rows; none were given")
    inputs = {name: tensor[:4] for name, tensor in batches[0].items()}
    before = sum(layer_macs(module, inputs).values())
    widths: dict[str, tuple[int, int]] = {}
    done = Narrowed(widths, before, before, {})
    for number in range(plan.rounds):
        channels = ChannelMap(module, inputs, plan.layers)
        if not channels.groups and widths:
            break
        if not channels.groups:
            raise NothingChanged(_nothing(channels))
        # Equal factors: each round keeps the same share of what the round before left.
        share = (1.0 - plan.removed) ** ((number + 1) / plan.rounds)
        step = _one_round(module, channels, plan, share, (batches, inputs, loss), widths)
        done = Narrowed(
            widths,
            before,
            sum(layer_macs(module, inputs).values()),
            channels.spared,
            step,
            recalibrate(module, batches),
        )
    if all(was == now for was, now in widths.values()):
        raise NothingChanged(
            f"removing {plan.removed:.0%} of {plan.of} takes no whole step of {plan.round_to} "
            "channels from any layer; remove more, or round to fewer"
        )
    return done


def _one_round(
    module: Any,
    channels: ChannelMap,
    plan: NarrowingPlan,
    share: float,
    rows: tuple[Batches, Mapping[str, Any], RowLoss | None],
    widths: dict[str, tuple[int, int]],
) -> int:
    batches, inputs, loss = rows
    groups = channels.groups
    first = [widths.get(group.name, (group.units, 0))[0] for group in groups]
    layers = _shapes(layer_macs(module, inputs), groups, plan.of)
    # The share is one of the model as it was; `layers` cost what they cost now.
    now = [group.units for group in groups]
    whole = _at_first(layers, now, first)
    scores = _scores(module, groups, plan, batches, loss)
    weighed = _weighed(scores, layers, groups, plan)
    kept = keep_widths(
        weighed,
        layers,
        min(1.0, share * whole / max(cost(layers, now, now), 1e-30)),
        [1 if group.block > 1 else min(plan.round_to, group.units) for group in groups],
    )
    chosen = [
        np.sort(np.argsort(-np.asarray(values), kind="stable")[:width])
        for values, width in zip(scores, kept, strict=True)
    ]
    for group, units, width in zip(groups, first, kept, strict=True):
        widths[group.name] = (units, int(width))
    return _remove(module, channels, chosen, batches, refit_readers=plan.refit_readers)


def _at_first(layers: Sequence[LayerShape], now: Sequence[int], first: Sequence[int]) -> float:
    """What the layers would cost at the widths of the original model."""
    return cost(layers, first, now)


def _shapes(
    macs: Mapping[str, int], groups: Sequence[ChannelGroup], of: str
) -> tuple[LayerShape, ...]:
    if of == "channels":
        return tuple(LayerShape(float(g.channels), ({i: 1.0},)) for i, g in enumerate(groups))
    axes: dict[str, tuple[dict[int, float], ...]] = {name: ({}, {}) for name in macs}
    for number, group in enumerate(groups):
        for member in (*group.makers, *group.readers):
            if member.name in axes:
                reads = member.side == "in"
                axis = axes[member.name][reads]
                part = len(member.positions) / int(member.layer.weight.shape[reads])
                axis[number] = min(1.0, axis.get(number, 0.0) + part)
    return tuple(LayerShape(float(macs[name]), found) for name, found in axes.items())


def _scores(
    module: Any,
    groups: Sequence[ChannelGroup],
    plan: NarrowingPlan,
    batches: Batches,
    loss: RowLoss | None,
) -> list[Array]:
    if plan.importance in NORM_IMPORTANCES:
        return [norms(plan.importance, group).cpu().numpy() for group in groups]
    if plan.importance == RECONSTRUCTION:
        return _eliminated(module, groups, batches)
    if loss is None:
        raise CandidateFailed(
            f"importance `{plan.importance}` needs a loss, and this task has none; use `group_l1`"
        )
    gates = gate_gradients(module, groups, batches, loss)
    return [importance_of_gates(plan.importance, values).cpu().numpy() for values in gates]


def _eliminated(module: Any, groups: Sequence[ChannelGroup], batches: Batches) -> list[Array]:
    readers = {member.layer for group in groups for member in group.readers}
    for group in groups:
        for member in group.readers:
            if not can_refit(member.layer):
                raise CandidateFailed(
                    f"importance `{RECONSTRUCTION}` can't fit `{member.name}`, which reads the "
                    f"channels of `{group.name}`; use `group_l1`, or leave it out with `layers`"
                )
    moments = watch_moments(module, list(readers), batches)
    return [_eliminated_group(group, moments) for group in groups]


def _eliminated_group(group: ChannelGroup, moments: Mapping[Any, Any]) -> Array:
    readings = []
    for member in group.readers:
        weight = member.layer.weight.detach()
        area = weight[0, 0].numel() if weight.dim() > 2 else 1
        # Input channels in the order of the group's own, then the places of each in a patch.
        own = member.positions[member.roots.argsort(stable=True)].to(weight.device)
        inputs = own[:, None] * area + torch.arange(area, device=weight.device)
        readings.append(
            Reading(
                weight.flatten(1).double(),
                moments[member.layer].second,
                inputs.reshape(group.units, -1),
            )
        )
    found: Array = elimination_scores(readings, RIDGE).cpu().numpy()
    return found


def _weighed(
    scores: Sequence[Array],
    layers: Sequence[LayerShape],
    groups: Sequence[ChannelGroup],
    plan: NarrowingPlan,
) -> list[Array]:
    """Scores that can be compared between groups."""
    if plan.evenly:
        return [np.argsort(np.argsort(values)) / len(values) for values in scores]
    if plan.importance in NORM_IMPORTANCES:
        return [np.asarray(values) for values in scores]
    # What is lost (of the loss, or of the answers) for each multiplication saved.
    saved = [
        sum(layer.cost * axis.get(number, 0.0) for layer in layers for axis in layer.axes)
        / group.units
        for number, group in enumerate(groups)
    ]
    return [np.asarray(values) / max(s, 1e-30) for values, s in zip(scores, saved, strict=True)]


def _remove(
    module: Any,
    channels: ChannelMap,
    chosen: Sequence[Array],
    batches: Batches,
    *,
    refit_readers: bool,
) -> int:
    """Removes what is not chosen; gives the number of layers that were fitted again."""
    touched = [
        (group, [int(unit) for unit in units])
        for group, units in zip(channels.groups, chosen, strict=True)
        if len(units) < group.units
    ]
    fits = _fits(touched) if refit_readers else {}
    moments = watch_moments(module, list(fits), batches) if fits else {}
    for group, units in touched:
        gone = sorted(set(range(group.units)) - set(units))
        channels.remove(group, gone)
    for layer, (kept, weight) in fits.items():
        refit(layer, moments[layer], kept.to(weight.device), weight)
    return len(fits)


def _fits(touched: Sequence[tuple[ChannelGroup, list[int]]]) -> dict[Any, tuple[Any, Any]]:
    """Layers to fit again -> the input channels that they keep, and their weights before.

    Of a layer that loses outputs too, the weights before are those of the outputs that stay. A layer
    may read several groups (a concatenation), so what it loses is gathered over all of them.
    """
    lost: dict[str, dict[Any, set[int]]] = {"out": {}, "in": {}}
    for group, units in touched:
        stay = torch.tensor(group.channels_of(units))
        for member in (*group.makers, *group.readers):
            gone = member.positions[~torch.isin(member.roots, stay)]
            lost[member.side].setdefault(member.layer, set()).update(gone.tolist())
    fits: dict[Any, tuple[Any, Any]] = {}
    for layer, inputs in lost["in"].items():
        if can_refit(layer):
            weight = layer.weight.detach()
            outputs = _left(int(weight.shape[0]), lost["out"].get(layer, set()))
            before = weight[outputs.to(weight.device)]
            fits[layer] = (_left(int(weight.shape[1]), inputs), before)
    return fits


def _left(size: int, gone: set[int]) -> Any:
    """The places of an axis that are not gone, in order, shape (k,)."""
    return torch.tensor([place for place in range(size) if place not in gone])


def _nothing(channels: ChannelMap) -> str:
    reasons = "; ".join(f"`{name}`: {why}" for name, why in list(channels.spared.items())[:3])
    return f"no layer of this model can become narrower: {reasons or 'it has no convolution or linear layer'}"
