"""Products with some columns of the rows. Importing this file imports torch."""

from __future__ import annotations

from typing import Any

import torch

from jettison.numerics.chita.problem import Problem


class Active:
    """The columns in `index`, gathered once in float32 where they fit into the workspace.

    All vectors have full length p; entries outside of the index are read as zeros and written
    as zeros. Columns that don't fit are left where they are: each product then reads all rows.

    Args:
        problem: whose rows are meant.
        mask: bool of shape (p,), the columns.
    """

    def __init__(self, problem: Problem, mask: Any) -> None:
        self._problem = problem
        self.mask = mask
        self.index = mask.nonzero().flatten()
        rows = problem.rows
        # 16 and 32 bits of the gathered columns exist at once.
        fits = 6 * rows.n * len(self.index) <= rows.workspace_bytes
        self._columns = rows.columns(self.index) if fits else None

    def times(self, vector: Any) -> Any:
        """A v over these columns, shape (n,)."""
        if self._columns is None:
            return self._problem.rows.times(vector * self.mask)
        return self._columns @ vector[self.index]

    def gradient(self, weights: Any, residual: Any) -> Any:
        """The gradient of Q on these columns, zero elsewhere, shape (p,)."""
        if self._columns is None:
            return self._problem.gradient(weights, residual) * self.mask
        problem = self._problem
        short = residual @ self._columns
        short += problem.ridge * (weights - problem.start)[self.index]
        if problem.linear is not None:
            short += problem.linear[self.index]
        slope = torch.zeros_like(weights)
        slope[self.index] = short
        return slope
