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
from jettison.numerics.chita import PerGroup, Problem, blocks_of
from jettison.numerics.curvature import (
    FisherRows,
    Objective,
    Storage,
    WeightEntry,
    WeightVector,
    bytes_needed,
    collect,
    collect_together,
    diagonal,
)

Statistics = list[tuple[Any, Any]]
"""Mean and variance of each BatchNorm layer."""

TINY = 1e-12
"""The least variance that is divided by."""


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
        block: weights in a block that is solved apart; rows are then kept for as few blocks at
            a time as the storage's limit asks for. 0 keeps all.
        seed: of the order of examples and of drawn targets.
        output: place of the answer that the loss reads, where the module gives a tuple.
        recalibrated: examples that BatchNorm statistics are recomputed from.
        evaluated: examples in one forward pass without rows.
    """

    count: int
    samples: int
    together: int = 1
    first_order: float = 1.0
    storage: Storage = field(default_factory=Storage)
    block: int = 0
    seed: int = 0
    output: int = 0
    recalibrated: int = 1024
    evaluated: int = 256


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
        left = (~taken).nonzero().flatten()
        # Rows may come sorted by class, and statistics of one class fit no other.
        order = torch.Generator().manual_seed(plan.seed)
        self._fit = left[torch.randperm(len(left), generator=order)]
        self._plan = plan
        self._dense: Any = None if objective.rows_are_gradients else copy.deepcopy(self._module)
        self._norms = batch_norms(module)
        self._known: float | None = None
        if not len(self._fit) or not len(held_out):
            raise CandidateFailed(
                f"{examples.n} fitting rows are too few: some are for curvature and some are held "
                "out; give at least 10 (`data.fitting_rows`)"
            )
        self._begin_stage()

    @property
    def labelled(self) -> bool:
        """Whether the loss is that of right answers."""
        return self._objective.labelled

    @property
    def rows_possible(self) -> int:
        """Rows that the fitting part is enough for without using an example twice."""
        return min(self._plan.count, max(1, len(self._fit) // self._plan.samples))

    def read(self) -> Any:
        """The prunable weights, shape (p,)."""
        return self.weights.read()

    def write(self, weights: Any) -> None:
        """Puts weights in, and the BatchNorm statistics with the lowest held-out loss.

        Tried are those of the stage's begin (what stays was corrected for them), recomputed ones
        (right after a very large change), and those of the begin moved by what the change of
        weights did to recomputed ones. The last is free of what recomputing alone does: where the
        fitting rows are not what the model was trained on, that can cost more than the pruning.
        """
        self._put(self._statistics)
        self.weights.write(weights)
        self._known = self._mean_loss(self._held)
        if not self._norms:
            return
        fresh = self._recomputed()
        best = self._statistics
        for statistics in (fresh, self._moved(fresh)):
            self._put(statistics)
            loss = self._mean_loss(self._held)
            # False for a loss that is not a number.
            if loss < self._known or self._known != self._known:
                best, self._known = statistics, loss
        self._put(best)

    def _moved(self, fresh: Statistics) -> Statistics:
        """Fresh statistics, as far from the carried ones as the recomputed ones of the begin were.

        Distances of means count in standard deviations and those of variances as ratios, so that
        a layer that only became louder is followed exactly.
        """
        found = []
        for carried, new, old in zip(self._statistics, fresh, self._at_begin, strict=True):
            louder = new[1] / old[1].clamp_min(TINY)
            mean = new[0] + (carried[0] - old[0]) * louder.sqrt()
            found.append((mean, carried[1] * louder))
        return found

    def _begin_stage(self) -> None:
        """Remembers the statistics that are in, and what recomputing would make of them."""
        self._statistics = self._get()
        if self._norms:
            self._at_begin = self._recomputed()
            self._put(self._statistics)

    def _recomputed(self) -> Statistics:
        """Statistics recomputed from fitting rows at the weights that are in."""
        index = self._fit[: self._plan.recalibrated]
        whole = len(index) // self._plan.evaluated * self._plan.evaluated or len(index)
        recalibrate(self._module, (self._examples.batch(i) for i in self._cut(index[:whole])))
        return self._get()

    def loss(self) -> float:
        """The mean loss on the held-out part."""
        if self._known is None:
            self._known = self._mean_loss(self._held)
        return self._known

    def _get(self) -> Statistics:
        return [(n.running_mean.clone(), n.running_var.clone()) for n in self._norms]

    def _put(self, statistics: Statistics) -> None:
        for norm, (mean, variance) in zip(self._norms, statistics, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)

    def problems(self, stage: int) -> Iterator[tuple[slice, Problem]]:
        """Local models of the loss at the current weights, scaled by n / samples.

        One over all weights; in block mode one for each part of the vector whose rows fit.
        """
        self._begin_stage()
        for part in self._parts():
            yield part, self._problem(stage, self.weights.within(part))

    def diagonal(self, stage: int) -> Any:
        """The diagonal of the Fisher matrix over the rows of `problems`, shape (p,)."""
        index, order = self._row_index(stage)
        return diagonal(self.weights, self._losses(index, order), index.shape[1])

    def _problem(self, stage: int, group: WeightVector) -> Problem:
        rows = self._rows(stage, group)
        scale = self._plan.first_order
        offset = linear = None
        if scale and self._objective.rows_are_gradients:
            offset = torch.full((rows.n,), scale / rows.samples, device=rows.values.device)
        elif scale:
            linear = scale * rows.n / rows.samples * self._gradient(group)
        return Problem(rows, group.read(), float(rows.n), offset, linear)

    def _parts(self) -> Iterator[slice]:
        """Parts of the vector whose rows are kept at once; in block mode as many as must be."""
        whole = slice(0, self.weights.size)
        if not self._plan.block:
            yield whole
            return
        most = self._plan.storage.limit_bytes // bytes_needed(self.rows_possible, 1)
        start = stop = 0
        for block in blocks_of(self.weights.slices, self._plan.block):
            if block.stop - start > most and stop > start:
                yield slice(start, stop)
                start = stop
            stop = block.stop
        yield slice(start, stop)

    def _rows(self, stage: int, group: WeightVector) -> FisherRows:
        plan = self._plan
        index, order = self._row_index(stage)
        count, samples = index.shape
        if plan.together == 1:
            losses = self._losses(index, order)
            return collect(group, losses, (count, samples), plan.storage)
        batches = self._batches(index, order)

        def loss(answer: Any, targets: Any) -> Any:
            return self._objective.row_loss(self._read(answer), targets)

        return collect_together(self._module, group, batches, loss, (count, samples), plan.storage)

    def _row_index(self, stage: int) -> tuple[Any, Any]:
        """Positions of the examples of each row, shape (n, samples), and the generator of targets."""
        order = torch.Generator().manual_seed(self._plan.seed * 100_003 + stage)
        shuffled = self._fit[torch.randperm(len(self._fit), generator=order)]
        count, samples = self.rows_possible, min(self._plan.samples, len(shuffled))
        return shuffled[: count * samples].reshape(count, samples), order

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
        for index in self._cut(self._fit):
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
            parts = [float(self._real_loss(part)) * len(part) for part in self._cut(index)]
        return sum(parts) / len(index)

    def _real_loss(self, index: Any) -> Any:
        batch = self._examples.batch(index)
        dense = None
        if not self._objective.labelled:
            with torch.no_grad():
                dense = self._answer(self._dense, batch)
        targets = self._examples.targets(index)
        return self._objective.real_loss(self._answer(self._module, batch), targets, dense)

    def _cut(self, index: Any) -> Sequence[Any]:
        parts: Sequence[Any] = index.split(self._plan.evaluated)
        return parts

    def _answer(self, module: Any, batch: Mapping[str, Any]) -> Any:
        return self._read(module(**batch))

    def _read(self, answer: Any) -> Any:
        return answer[self._plan.output] if isinstance(answer, tuple) else answer


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
