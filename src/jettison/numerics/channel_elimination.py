"""Which input channels a layer misses least when the others are fitted again.

Channels go one after the other (a backward stepwise selection). Taking the inputs K out of a
layer with weights W and second moments H of what it reads, and fitting the rest again, adds

    tr(W_K ((H^-1)_KK)^-1 W_K^T)

to the mean squared error of its answer, and W and H^-1 are corrected as in the block form of
Optimal Brain Surgeon (Hassibi and Stork 1993; for channels, He et al. 2017, arXiv 1707.06168,
minimise the same error). Errors are shares of the answer's mean square, so that layers can be
compared. Importing this file imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Reading", "elimination_scores"]

PASSES = 64
"""Steps of one elimination; wide layers lose several units in a step."""


@dataclass(slots=True)
class Reading:
    """One layer that reads the channels.

    Attributes:
        weights: shape (out, k), float64; changed.
        second: mean of x x^T, shape (k, k), float64.
        inputs: for each unit, which of the k inputs it is, shape (units, c), int64.
    """

    weights: Any
    second: Any
    inputs: Any


def elimination_scores(readings: Sequence[Reading], ridge: float) -> Any:
    """What each unit adds to the error when its turn to go comes.

    Args:
        readings: the layers that read these units.
        ridge: added to the diagonal of each H, as a share of its mean.

    Returns:
        Shape (units,), float64. The order of the scores is the order of removal, the smallest
        first; the last unit has the largest.
    """
    states = [_State(reading, ridge) for reading in readings]
    units = len(readings[0].inputs)
    scores = torch.zeros(units, dtype=torch.float64, device=readings[0].weights.device)
    left = torch.ones(units, dtype=torch.bool, device=scores.device)
    size = max(1, units // PASSES)
    largest = 0.0
    while int(left.sum()) > 1:
        errors = sum((state.errors() for state in states), torch.zeros_like(scores))
        errors = errors.masked_fill(~left, torch.inf)
        gone = errors.argsort(stable=True)[: min(size, int(left.sum()) - 1)]
        # Later units never count less than earlier ones, so that one threshold cuts the order.
        for unit in gone.tolist():
            largest = max(largest * (1 + 1e-9), float(errors[unit]))
            scores[unit] = largest
        for state in states:
            state.take_out(gone)
        left[gone] = False
    scores[left] = largest * (1 + 1e-6) + 1e-300
    return scores


class _State:
    def __init__(self, reading: Reading, ridge: float) -> None:
        second = reading.second
        scale = float(second.diagonal().mean()) + 1e-300
        eye = torch.eye(len(second), dtype=second.dtype, device=second.device)
        self.weights = reading.weights.clone()
        self.inverse = torch.linalg.inv(second + ridge * scale * eye)
        self.inputs = reading.inputs
        whole = float(((reading.weights @ second) * reading.weights).sum())
        self.whole = max(whole, 1e-300)
        self.gone = torch.zeros(len(reading.inputs), dtype=torch.bool, device=second.device)

    def errors(self) -> Any:
        """What taking each unit out now would add, as a share; 0 for those that are out."""
        blocks = self.inverse[self.inputs[:, :, None], self.inputs[:, None, :]]
        columns = self.weights.T[self.inputs]
        blocks = torch.where(
            self.gone[:, None, None], torch.eye(blocks.shape[1]).to(blocks), blocks
        )
        return (columns * torch.linalg.solve(blocks, columns)).sum((1, 2)) / self.whole

    def take_out(self, units: Any) -> None:
        """Removes some units and fits the others again."""
        inputs = self.inputs[units].flatten()
        rows = self.inverse[inputs]
        block = rows[:, inputs]
        fitted = torch.linalg.solve(block, rows)
        self.weights -= self.weights[:, inputs] @ fitted
        self.inverse -= rows.T @ fitted
        self.weights[:, inputs] = 0
        self.inverse[inputs] = 0
        self.inverse[:, inputs] = 0
        self.gone[units] = True
