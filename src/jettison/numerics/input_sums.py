"""What layer-wise pruning keeps of a layer's inputs: second moments, or norms alone.

Everything runs on the device of its tensors. Importing this file imports torch; plug-ins import
it inside the methods that need it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

__all__ = ["InputSum", "Moments", "Norms"]

DOUBLE_UP_TO = 4096
"""Columns up to which moments are summed in 64 bits: 134 MB for one layer."""


class InputSum(Protocol):
    """Something that is summed over the inputs of a layer."""

    count: int

    def add(self, inputs: Any) -> None:
        """Adds inputs of shape (groups, positions, columns)."""
        ...


class Moments:
    """The mean of 2 x x^T over positions x, per group: the Hessian of a layer's squared error.

    Attributes:
        mean: shape (groups, columns, columns), float64 (float32 above 4,096 columns).
        count: positions that were added.
    """

    def __init__(self, groups: int, columns: int, device: Any) -> None:
        wide = torch.float64 if columns <= DOUBLE_UP_TO else torch.float32
        self.mean = torch.zeros(groups, columns, columns, dtype=wide, device=device)
        self.count = 0

    def add(self, inputs: Any) -> None:
        """Adds inputs of shape (groups, positions, columns); products in 32 bits."""
        added = inputs.shape[1]
        if not added:
            return
        inputs = inputs.to(torch.float32)
        products = torch.matmul(inputs.transpose(1, 2), inputs).to(self.mean.dtype)
        # A mean, not a sum, so that 32 bits are enough however many positions there are.
        self.mean *= self.count / (self.count + added)
        self.count += added
        self.mean += products * (2.0 / self.count)


class Norms:
    """The sum of squares of each input over positions.

    Attributes:
        squares: shape (groups, columns), float64.
        count: positions that were added.
    """

    def __init__(self, groups: int, columns: int, device: Any) -> None:
        self.squares = torch.zeros(groups, columns, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, inputs: Any) -> None:
        """Adds inputs of shape (groups, positions, columns)."""
        self.squares += inputs.to(torch.float32).square().sum(1, dtype=torch.float64)
        self.count += inputs.shape[1]

    @property
    def norms(self) -> Any:
        """The length of each input's column of values, shape (groups, columns)."""
        return self.squares.sqrt()
