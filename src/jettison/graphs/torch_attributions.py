"""Integrated gradients of a PyTorch module, as captum gives them.

Numbers are attributed as they stand in the input; whole numbers that an embedding layer reads
(tokens, categories) at that layer, summed over its dimensions. Source: Sundararajan, Taly and Yan,
"Axiomatic Attribution for Deep Networks", 2017, equation 1; over several stand-ins the mean, as in
Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and
expected gradients", 2021, section 2.

Importing this file imports torch and captum; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients

from jettison.domain.attribution import Contest
from jettison.domain.model import Model
from jettison.domain.rows import Array, Batch, Rows
from jettison.errors import CandidateFailed

__all__ = ["integrated_gradients"]

STEPS = 128
"""Points of the way from a stand-in to the row; Gauss-Legendre, so that few are enough."""

TOGETHER = 32
"""Points in one pass forward and back."""


def integrated_gradients(
    model: Model, module: Any, rows: Rows, contests: Sequence[Contest]
) -> dict[str, Array]:
    """Attributes contests to the inputs that differ between a row and its stand-ins.

    Args:
        model: description of the module.
        module: in eval mode; its weights are not changed.
        rows: all rows that the contests speak of.
        contests: at least one.

    Returns:
        For each input that moves, shape (contests, ...) of the input, float64; 0 where nothing moved.

    Raises:
        CandidateFailed: if an input moves that has no gradients (whole numbers that no embedding
            layer reads), or the answer is not one score per class.
    """
    entrance = _Entrance(model, module.eval())
    alone = bool(model.traits & {"fixed-batch", "batch-dependent"})
    found: dict[str, Array] = {}
    for place, contest in enumerate(contests):
        index = np.array([contest.row, *contest.stand_ins])
        batch = rows.batch(index)
        for stand_in in range(1, len(index)):
            for name, values in _one(entrance, batch, stand_in, contest, alone).items():
                if name not in found:
                    shape = rows.column(name).shape[1:]
                    found[name] = np.zeros((len(contests), *shape))
                # A batch is cut to its longest row, so it may be narrower than the column.
                cut = slice(place, place + 1), *(slice(0, size) for size in values.shape)
                found[name][cut] += values / len(contest.stand_ins)
    return found


class _Entrance(torch.nn.Module):  # type: ignore[misc]
    """A module whose inputs come in through one door each, where a gradient can be taken."""

    def __init__(self, model: Model, module: Any) -> None:
        super().__init__()
        self.names = tuple(spec.name for spec in model.inputs)
        self.answer = [spec.name for spec in model.outputs].index(model.prediction)
        self.module = module
        self.doors = torch.nn.ModuleList(torch.nn.Identity() for _ in self.names)
        self.eval()

    def forward(self, *inputs: Any) -> Any:
        """Answers with the scores that metrics read, shape (n, classes) or (n, 1)."""
        named = {n: d(v) for n, d, v in zip(self.names, self.doors, inputs, strict=True)}
        answer = self.module(**named)
        scores = answer[self.answer] if isinstance(answer, tuple) else answer
        if not scores.is_floating_point() or scores.dim() not in (1, 2):
            raise CandidateFailed("the model gives labels, not scores, so it has no gradients")
        return scores.reshape(len(scores), -1)


@dataclass(frozen=True, slots=True)
class _Chances:
    """The contest as a function of the inputs, differentiable."""

    entrance: _Entrance
    contest: Contest

    def __call__(self, *inputs: Any) -> Any:
        scores = self.entrance(*inputs)
        single, known = scores.shape[1] == 1, self.contest.probabilities
        if single:
            one = scores if known else scores.sigmoid()
            chances = torch.cat([1 - one, one], dim=1)
        else:
            chances = scores if known else scores.softmax(dim=1)
        return chances[:, self.contest.old] - chances[:, self.contest.new]


def _one(
    entrance: _Entrance, batch: Batch, stand_in: int, contest: Contest, alone: bool
) -> dict[str, Array]:
    """Attributions of one row against one stand-in, without the batch axis."""
    moving = [n for n in entrance.names if not np.array_equal(batch[n][0], batch[n][stand_in])]
    if not moving:
        return {}
    row, other = (
        tuple(torch.from_numpy(np.array(batch[n][i : i + 1])) for n in entrance.names)
        for i in (0, stand_in)
    )
    layers = {name: _layers(entrance, name, row, other) for name in moving}
    flat = [layer for some in layers.values() for layer in some]
    with warnings.catch_warnings():
        # It asks to make sure that no layer hangs on another: doors and embeddings don't.
        warnings.filterwarnings("ignore", message="Multiple layers provided")
        method = LayerIntegratedGradients(_Chances(entrance, contest), flat)
    given = method.attribute(
        row, baselines=other, n_steps=STEPS, internal_batch_size=1 if alone else TOGETHER
    )
    parts = iter(given)
    found: dict[str, Array] = {}
    for name, some in layers.items():
        shape = batch[name].shape[1:]
        total = np.zeros(shape)
        for _ in some:
            part = next(parts)
            part = part[0] if isinstance(part, tuple) else part
            total += part.detach().double().numpy().reshape(*shape, -1).sum(axis=-1)
        found[name] = total
    return found


def _layers(entrance: _Entrance, name: str, row: Any, other: Any) -> list[Any]:
    """Where the gradient with regard to an input is taken: its door, or the embeddings that read it."""
    place = entrance.names.index(name)
    if row[place].is_floating_point():
        return [entrance.doors[place]]
    tables = [m for m in entrance.module.modules() if isinstance(m, torch.nn.Embedding)]
    readers = _readers(entrance, tables, row, place) & _readers(entrance, tables, other, place)
    if not readers:
        raise CandidateFailed(
            f"the input `{name}` holds whole numbers, and no embedding layer reads them, so there "
            "is no gradient with regard to it"
        )
    return [table for place, table in enumerate(tables) if place in readers]


def _readers(entrance: _Entrance, tables: Sequence[Any], inputs: Any, place: int) -> set[int]:
    """Which embedding layers read exactly the values of an input."""
    wanted, found = inputs[place], set()

    def watch(number: int) -> Any:
        def hook(module: Any, given: Any) -> None:
            if given[0].shape == wanted.shape and bool((given[0] == wanted).all()):
                found.add(number)

        return hook

    handles = [t.register_forward_pre_hook(watch(number)) for number, t in enumerate(tables)]
    try:
        with torch.no_grad():
            entrance(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found
