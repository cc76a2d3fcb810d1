"""The exact weights for a fixed mask. Importing this file imports torch."""

from __future__ import annotations

from typing import Any

import torch

from jettison.errors import CandidateFailed
from jettison.numerics.chita.problem import Problem


class Backsolve:
    """Ridge regression on the columns that stay, for any ridge, with one Gram matrix.

    With e = mask * start - start (what pruning alone does) the best change z on the mask solves
    (A_S^T A_S + ridge I) z = -(A_S^T (A e + u) + c_S). Where fewer rows than kept weights are at
    hand, the push-through identity (A_S^T A_S + r I)^-1 A_S^T = A_S^T (A_S A_S^T + r I)^-1 makes
    it one system of n equations (Woodbury).

    Args:
        problem: its ridge is not used.
        mask: bool of shape (p,).
    """

    def __init__(self, problem: Problem, mask: Any) -> None:
        self._rows = problem.rows
        self._start = problem.start
        self._linear = problem.linear
        self._mask = mask
        self._index = mask.nonzero().flatten()
        self._right = problem.residual(problem.start * mask)
        self._few_rows = problem.rows.n < len(self._index)
        self._gram: Any = None

    def weights(self, ridge: float) -> Any:
        """The minimiser of Q on the mask, shape (p,) of float32, zero elsewhere.

        Raises:
            CandidateFailed: if the ridge is too small for the system to be solved.
        """
        solved = self._start * self._mask
        if not len(self._index):
            return solved
        change = self._by_rows(ridge) if self._few_rows else self._by_columns(ridge)
        solved[self._index] += change.to(solved.dtype)
        return solved

    def _by_rows(self, ridge: float) -> Any:
        if self._gram is None:
            self._gram = self._rows.gram(self._index)
        right = self._right.double()
        if self._linear is not None:
            # (A^T A + r I)^-1 c = (c - A^T (A A^T + r I)^-1 A c) / r
            right = right - self._times(self._linear[self._index]).double() / ridge
        rows = -_solve(self._gram, right, ridge)
        change = self._transposed(rows)
        if self._linear is not None:
            change = change - self._linear[self._index].double() / ridge
        return change

    def _by_columns(self, ridge: float) -> Any:
        columns = self._rows.columns(self._index)
        if self._gram is None:
            self._gram = (columns.T @ columns).double()
        right = (self._right @ columns).double()
        if self._linear is not None:
            right = right + self._linear[self._index].double()
        return -_solve(self._gram, right, ridge)

    def _times(self, short: Any) -> Any:
        return sum(
            (self._rows.columns(self._index[part]) @ short[part] for part in self._parts()),
            torch.zeros(self._rows.n, device=short.device),
        )

    def _transposed(self, vector: Any) -> Any:
        # Written in place: a small result that stays behind each part would keep its memory.
        found = torch.empty(len(self._index), device=vector.device)
        for part in self._parts():
            found[part] = vector.float() @ self._rows.columns(self._index[part])
        return found.double()

    def _parts(self) -> list[slice]:
        return self._rows.column_parts(len(self._index))


def backsolve(problem: Problem, mask: Any) -> Any:
    """The minimiser of Q on a mask, shape (p,); see `Backsolve`."""
    return Backsolve(problem, mask).weights(problem.ridge)


def _solve(gram: Any, right: Any, ridge: float) -> Any:
    system = gram.clone()
    system.diagonal().add_(ridge)
    factor, fault = torch.linalg.cholesky_ex(system)
    if int(fault):
        raise CandidateFailed(
            f"the system of {len(gram):,} equations can't be solved with a ridge of {ridge:.3g}; "
            "give a larger `ridge`"
        )
    return torch.cholesky_solve(right[:, None], factor).flatten()
