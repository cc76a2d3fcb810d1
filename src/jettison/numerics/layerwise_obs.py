"""Layer-wise Optimal Brain Surgeon: change a layer's weights column by column and compensate.

For a layer y = W x, the squared error of its answers on some inputs X is a quadratic function of W
with the Hessian H = 2 X X^T for each row. Columns are changed from left to right; what a change
costs is made up for by the columns to the right of it. What a change is (zeros, a coarser grid) is
the `Rounding`, so that pruning and weight-only quantization share this walk.

Sources: Frantar and Alistarh, SparseGPT, ICML 2023, arXiv 2301.00774 (equations 3 to 5 and
algorithm 1); Frantar et al., GPTQ, ICLR 2023, arXiv 2210.17323 (algorithm 1); Hassibi and Stork,
Second order derivatives for network pruning, NeurIPS 1992.

Everything runs on the device of its tensors. Importing this file imports torch; plug-ins import
it inside the methods that need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from jettison.errors import CandidateFailed
from jettison.numerics.masks import largest, n_of_m, pruned_count

__all__ = [
    "BLOCK",
    "DAMPING",
    "Factor",
    "KeepNofM",
    "KeepShare",
    "Rounding",
    "factorise",
    "walk",
]

BLOCK = 128
"""Columns that are compensated at once; wider ones to the right wait for the end of the block."""

DECIDED_TOGETHER = 32
"""Columns of which an unstructured mask is chosen at once."""

DAMPING = 0.01
"""Share of the mean diagonal of H that is added to it."""


class Rounding(Protocol):
    """How columns are changed.

    Attributes:
        span: columns that are decided on together (m for n:m, the group of a quantizer); 0 means
            all of them.
    """

    span: int

    def look(self, ahead: Any, importance: Any, start: int) -> None:
        """Sees the next columns, with all compensation so far, before the first of them changes.

        Args:
            ahead: shape (rows, width): columns `start` to `start + width`.
            importance: shape (width,): (change of a weight)^2 * importance is the rise of the
                squared error when the columns to the right make up for it; 0 for dead inputs.
            start: number of the first column.
        """
        ...

    def column(self, values: Any, number: int) -> Any:
        """The new values of a column, shape (rows,), from its present ones."""
        ...


@dataclass(frozen=True, slots=True)
class Factor:
    """The inverse of a Hessian, as the walk needs it.

    Attributes:
        upper: U of shape (columns, columns), upper triangular, with U^T U = H^-1.
        dead: shape (columns,), true for inputs that were always 0.
    """

    upper: Any
    dead: Any


def factorise(hessian: Any, damping: float = DAMPING) -> Factor:
    """Gives the upper Cholesky factor of the inverse of H + damping * mean(diag H) * I.

    With the columns in reverse order, H = R R^T for an upper triangular R, so U = R^-1: one
    Cholesky decomposition and one triangular solve, and H is never inverted.

    Args:
        hessian: shape (columns, columns), symmetric, not negative.
        damping: share of the mean diagonal, above 0.

    Raises:
        CandidateFailed: if H is not finite, or can't be inverted.
    """
    diagonal = hessian.diagonal()
    mean = diagonal.mean()
    if not bool(torch.isfinite(hessian).all()):
        raise CandidateFailed("the inputs of the layer are too large, or not numbers, to be summed")
    if float(mean) == 0.0:
        return Factor(torch.eye(len(hessian)).to(hessian), diagonal == 0)
    damped = hessian + damping * mean * torch.eye(
        len(hessian), dtype=hessian.dtype, device=hessian.device
    )
    lower, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
    if int(failed):
        raise CandidateFailed(
            f"the second moments of the layer's inputs can't be inverted with damping {damping:g}: "
            "give more fitting rows, or a larger damping"
        )
    root = lower.flip(0, 1)
    unit = torch.eye(len(root), dtype=root.dtype, device=root.device)
    return Factor(torch.linalg.solve_triangular(root, unit, upper=True), diagonal == 0)


def walk(weights: Any, factor: Factor, rounding: Rounding) -> Any:
    """Changes every column once, each compensated by the columns to the right of it.

    With w the present value of a weight of column j and q its new one, the error
    e = (w - q) / U_jj is taken from the columns k > j of its row as e * U_jk.

    Args:
        weights: shape (rows, columns); left as they are.
        factor: of the inputs' Hessian, in the order of the columns.
        rounding: what the new values are.

    Returns:
        New weights of the same shape, in the precision of the factor.
    """
    upper = factor.upper
    done = weights.to(upper.dtype, copy=True)
    columns = done.shape[1]
    span = min(rounding.span or columns, columns)
    width = span * max(1, BLOCK // span)
    importance = torch.where(factor.dead, 0.0, upper.diagonal() ** -2)
    for start in range(0, columns, width):
        stop = min(start + width, columns)
        errors = torch.empty_like(done[:, start:stop])
        for number in range(start, stop):
            if number % span == 0:
                rounding.look(
                    done[:, number : number + span], importance[number : number + span], number
                )
            values = done[:, number].clone()
            new = rounding.column(values, number)
            error = (values - new) / upper[number, number]
            done[:, number:stop] -= torch.outer(error, upper[number, number:stop])
            # Rounding errors of the subtraction must not turn a zero into almost zero.
            done[:, number] = new
            errors[:, number - start] = error
        done[:, stop:] -= errors @ upper[start:stop, stop:]
    return done


class _Mask:
    """Sets to zero what the latest look did not keep."""

    def __init__(self) -> None:
        self._mask: Any = None
        self._start = 0

    def column(self, values: Any, number: int) -> Any:
        """Zeros where the weight is not kept."""
        return torch.where(self._mask[:, number - self._start], values, 0.0)


class KeepShare(_Mask):
    """Sets an exact share of the weights to zero, whatever rows and columns they are in.

    How many zeros a span of columns gets is settled before the walk, by the rise of the error if
    each weight alone went, w^2 / (H^-1)_jj. Which weights they are is settled on the way, where
    the importance knows that only columns to the right can make up for a change: over wide
    spans that alone would empty the columns on the left (decision 0041).
    """

    def __init__(
        self, weights: Any, factor: Factor, sparsity: float, span: int = DECIDED_TOGETHER
    ) -> None:
        super().__init__()
        self.span = span
        alone = torch.where(factor.dead, 0.0, 1.0 / factor.upper.square().sum(0))
        scores = weights.to(alone.dtype).square() * alone
        keep = weights.numel() - pruned_count(weights.numel(), sparsity)
        self._zeros = (~largest(scores, keep)).sum(0)

    def look(self, ahead: Any, importance: Any, start: int) -> None:
        """Chooses the weights of a span whose loss costs least."""
        zeros = int(self._zeros[start : start + ahead.shape[1]].sum())
        self._start = start
        self._mask = largest(ahead.square() * importance, ahead.numel() - zeros)


class KeepNofM(_Mask):
    """Keeps n of every m weights along the columns.

    Args:
        n, m: as in `jettison.numerics.masks.n_of_m`.
        period: columns after which groups begin anew (the input channels at one position of a
            kernel); 0 for never. All groups of a period that m does not divide are decided on
            together.
    """

    def __init__(self, n: int, m: int, period: int = 0) -> None:
        super().__init__()
        self.span = period if period % m else m
        self._n, self._m = n, m

    def look(self, ahead: Any, importance: Any, start: int) -> None:
        """Chooses n of the next m weights of each row."""
        self._start = start
        self._mask = n_of_m(ahead.square() * importance, self._n, self._m)
