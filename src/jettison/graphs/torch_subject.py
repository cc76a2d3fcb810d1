"""A PyTorch module as the subject of pruning by curvature: rows, loss, BatchNorm statistics.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from jettison.errors import CandidateFailed
from jettison.graphs.torch_batchnorm import batch_norms, recalibrate
from jettison.graphs.torch_examples import Examples
from jettison.graphs.torch_layers import PrunableLayer, n_of_m_mask
from jettison.numerics.chita import PerGroup, Problem
from jettison.numerics.curvature import (
    FisherRows,
    Objective,
    Storage,
    WeightEntry,
    WeightVector,
    bytes_needed,
    collect,
    collect_together,
)

EVALUATED = 256
"""Examples in one forward pass without gradients."""

RECALIBRATED = 1024
"""Examples that BatchNorm statistics are recomputed from."""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How Fisher rows are taken.

    Attributes:
        count: rows (n).
        samples: examples in the mini-batch of a row (m).
        together: rows of one vectorised backward pass; 1 makes a plain pass for each.
        first_order: times the gradient of the loss in the local model; 1 is the whole gradient,
            0 leaves it out.
        storage: where rows are kept.
        in_blocks: keeps the rows of as few layers at a time as the storage's limit asks for.
        seed: of the order of examples and of drawn targets.
    """

    count: int
    samples: int
    together: int = 1
    first_order: float = 1.0
    storage: Storage = field(default_factory=Storage)
    in_blocks: bool = False
    seed: int = 0


class TorchSubject:
    """Holds a module, its prunable layers, and examples in a fitting and a held-out part.

    Args:
        module: in eval mode; it is changed.
        layers: whose weights are pruned.
        objective: the loss, with labels or without.
        examples: all that may be read.
        held_out: positions of the examples that only `loss` reads.
        plan: how rows are taken.
    """

    def __init__(
        self,
        module: Any,
        layers: Sequence[PrunableLayer],
        objective: Objective,
        examples: Examples,
        held_out: Any,
        plan: RowPlan,
    ) -> None:
        self._module = module.eval()
        self.weights = weight_vector(layers)
        self._objective = objective
        self._examples = examples
        self._held = held_out
        taken = torch.zeros(examples.n, dtype=torch.bool)
        taken[held_out] = True
        self._fit = (~taken).nonzero().flatten()
        self._plan = plan
        self._dense: Any = None if objective.rows_are_gradients else copy.deepcopy(self._module)
        self._has_norms = bool(batch_norms(module))
        if not len(self._fit) or not len(held_out):
            raise CandidateFailed(
                f"{examples.n} fitting rows are too few: some are for curvature and some are held "
                "out; give at least 10 (`data.fitting_rows`)"
            )

    @property
    def rows_possible(self) -> int:
        """Rows that the fitting part is enough for without using an example twice."""
        return min(self._plan.count, max(1, len(self._fit) // self._plan.samples))

    def read(self) -> Any:
        """The prunable weights, shape (p,)."""
        return self.weights.read()

    def write(self, weights: Any) -> None:
        """Puts weights in and recomputes BatchNorm statistics on the fitting part."""
        self.weights.write(weights)
        if self._has_norms:
            index = self._fit[:RECALIBRATED]
            whole = len(index) // EVALUATED * EVALUATED or len(index)
            recalibrate(self._module, (self._examples.batch(i) for i in _cut(index[:whole])))

    def loss(self) -> float:
        """The mean loss on the held-out part."""
        return self._mean_loss(self._held)

    def problems(self, stage: int) -> Iterator[tuple[slice, Problem]]:
        """Local models of the loss at the current weights, scaled by n / samples.

        One over all weights; in block mode one for each group of layers whose rows fit.
        """
        for first, last in self._groups():
            part = slice(self.weights.slices[first].start, self.weights.slices[last].stop)
            group = WeightVector(self.weights.entries[first : last + 1])
            yield part, self._problem(stage, group)

    def _problem(self, stage: int, group: WeightVector) -> Problem:
        rows = self._rows(stage, group)
        plan, scale = self._plan, self._plan.first_order
        offset = linear = None
        if scale and self._objective.rows_are_gradients:
            offset = torch.full((rows.n,), scale / rows.samples, device=rows.values.device)
        elif scale:
            linear = scale * rows.n / rows.samples * self._gradient(group)
        return Problem(rows, group.read(), float(rows.n), offset, linear)

    def _groups(self) -> Iterator[tuple[int, int]]:
        """First and last layer of each group whose rows are kept at once."""
        last = len(self.weights.slices) - 1
        if not self._plan.in_blocks:
            yield 0, last
            return
        most = self._plan.storage.limit_bytes // bytes_needed(self.rows_possible, 1)
        first = 0
        for place, part in enumerate(self.weights.slices):
            if part.stop - self.weights.slices[first].start > most and place > first:
                yield first, place - 1
                first = place
        yield first, last

    def _rows(self, stage: int, group: WeightVector) -> FisherRows:
        plan, count = self._plan, self.rows_possible
        order = torch.Generator().manual_seed(plan.seed * 100_003 + stage)
        shuffled = self._fit[torch.randperm(len(self._fit), generator=order)]
        samples = min(plan.samples, len(shuffled))
        index = shuffled[: count * samples].reshape(count, samples)
        if plan.together == 1:
            losses = self._losses(index, order)
            return collect(group, losses, (count, samples), plan.storage)
        batches = self._batches(index, order)
        loss = self._objective.row_loss
        return collect_together(self._module, group, batches, loss, (count, samples), plan.storage)

    def _losses(self, index: Any, order: Any) -> Iterator[Callable[[], Any]]:
        for row in index:

            def loss(row: Any = row) -> Any:
                batch = self._examples.batch(row)
                targets = self._targets(row, batch, order)
                return self._objective.row_loss(self._answer(self._module, batch), targets)

            yield loss

    def _batches(self, index: Any, order: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
        for rows in index.split(self._plan.together):
            flat = rows.flatten()
            batch = self._examples.batch(flat)
            targets = self._targets(flat, batch, order)
            shape = tuple(rows.shape)
            inputs = {name: value.unflatten(0, shape) for name, value in batch.items()}
            yield inputs, targets.unflatten(0, shape)

    def _targets(self, index: Any, batch: Mapping[str, Any], order: Any) -> Any:
        if self._dense is None:
            return self._examples.targets(index)
        with torch.no_grad():
            dense = self._answer(self._dense, batch)
        generator = order
        if dense.device.type != "cpu":
            seed = int(torch.randint(2**31, (1,), generator=order))
            generator = torch.Generator(dense.device).manual_seed(seed)
        return self._objective.draw(dense, None, generator)

    def _gradient(self, group: WeightVector) -> Any:
        """The gradient of the real loss over the fitting part, shape of the group."""
        total: Any = 0.0
        for index in _cut(self._fit):
            loss = self._real_loss(index)
            found = torch.autograd.grad(loss, group.parameters, allow_unused=True)
            full = [
                torch.zeros_like(p) if g is None else g
                for g, p in zip(found, group.parameters, strict=True)
            ]
            total = total + group.flat(full) * (len(index) / len(self._fit))
        return total

    def _mean_loss(self, index: Any) -> float:
        with torch.no_grad():
            parts = [float(self._real_loss(part)) * len(part) for part in _cut(index)]
        return sum(parts) / len(index)

    def _real_loss(self, index: Any) -> Any:
        batch = self._examples.batch(index)
        dense = None
        if not self._objective.labelled:
            with torch.no_grad():
                dense = self._answer(self._dense, batch)
        targets = self._examples.targets(index)
        return self._objective.real_loss(self._answer(self._module, batch), targets, dense)

    def _answer(self, module: Any, batch: Mapping[str, Any]) -> Any:
        answer = module(**batch)
        return answer[0] if isinstance(answer, tuple) else answer


def weight_vector(layers: Sequence[PrunableLayer]) -> WeightVector:
    """The weights of prunable layers as one vector; each shared weight once."""
    return WeightVector(
        [
            WeightEntry(f"{layer.name}.weight", layer.module.weight, layer.kind == "transposed")
            for layer in layers
        ]
    )


def n_of_m_budget(layers: Sequence[PrunableLayer], n: int, m: int) -> PerGroup:
    """The budget that keeps n of every m neighbouring inputs of each layer."""
    shapes = weight_vector(layers).shapes
    return PerGroup(
        shapes,
        tuple(
            lambda scores, layer=layer: n_of_m_mask(layer, scores, n, m)  # type: ignore[misc]
            for layer in layers
        ),
    )


def _cut(index: Any) -> Sequence[Any]:
    parts: Sequence[Any] = index.split(EVALUATED)
    return parts
