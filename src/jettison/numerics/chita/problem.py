"""The quadratic model of the loss that pruning minimises. Importing this file imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from jettison.numerics.curvature.rows import FisherRows


@dataclass(frozen=True, slots=True)
class Problem:
    """min over w with few non-zeros of Q(w) = 1/2 |A d|^2 + u^T A d + c^T d + ridge/2 |d|^2.

    Here d = w - start. This is the local model of the loss multiplied by n / samples (Benbaki et
    al., ICML 2023, equations 3 to 6). The first-order term of the rows' own gradients is
    (1/samples) * sum of the rows, that is u = 1/samples for every row; it stays inside the row
    space, so that the exact solution needs no difference of large numbers.

    Attributes:
        rows: A, shape (n, p).
        start: the weights where the rows were taken, shape (p,) of float32.
        ridge: n times the ridge per weight; above 0.
        offset: u, shape (n,); `None` stands for zeros.
        linear: c, shape (p,), a gradient that is not in the row space, multiplied by n /
            samples; `None` stands for zeros.
    """

    rows: FisherRows
    start: Any
    ridge: float
    offset: Any | None = None
    linear: Any | None = None

    def residual(self, weights: Any) -> Any:
        """A d + u, shape (n,)."""
        product = self.rows.times(weights - self.start)
        return product if self.offset is None else product + self.offset

    def value(self, weights: Any, residual: Any | None = None) -> float:
        """Q(w); 0 at `start`. Sums are made in float64.

        Args:
            weights: shape (p,).
            residual: of these weights, where it is known.
        """
        found = self.residual(weights) if residual is None else residual
        total = 0.5 * _square(found)
        if self.offset is not None:
            total -= 0.5 * _square(self.offset)
        return total + self.penalty(weights - self.start)

    def penalty(self, change: Any) -> float:
        """The part of Q outside of the rows, for a change d of shape (p,)."""
        total = 0.5 * self.ridge * _square(change)
        if self.linear is not None:
            total += float(torch.dot(self.linear.double(), change.double()))
        return total

    def gradient(self, weights: Any, residual: Any) -> Any:
        """The gradient of Q, shape (p,)."""
        slope = self.rows.transposed(residual) + self.ridge * (weights - self.start)
        return slope if self.linear is None else slope + self.linear

    def with_ridge(self, ridge: float) -> Problem:
        """The same problem with another ridge."""
        return Problem(self.rows, self.start, ridge, self.offset, self.linear)

    def restricted(self, part: slice) -> Problem:
        """The problem over a contiguous part of the weights, the others held still."""
        linear = None if self.linear is None else self.linear[part]
        rows = self.rows.restricted(part)
        return Problem(rows, self.start[part], self.ridge, self.offset, linear)

    def predicted(self, weights: Any, value: float) -> float:
        """The change of the mean loss that the model predicts, without the ridge.

        Args:
            weights: shape (p,).
            value: Q of these weights.
        """
        ridge = 0.5 * self.ridge * _square(weights - self.start)
        return (value - ridge) * self.rows.samples / self.rows.n


def _square(vector: Any) -> float:
    return float(vector.double().square().sum())
