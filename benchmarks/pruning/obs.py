"""The optimal brain surgeon with the whole inverse Fisher matrix, pruned at once, as a peer.

Written from the formulas of Singh and Alistarh, "WoodFisher" (NeurIPS 2020), section 3: saliency
w_j^2 / (2 [H^-1]_jj), and the sum over pruned j of -w_j / [H^-1]_jj * H^-1 e_j as the change.
"""

from __future__ import annotations

from typing import Any

import torch

from jettison.numerics.chita import Problem
from jettison.numerics.masks import largest

SCALE = 0.9
"""Of the change: the sum treats the pruned weights as independent, which is too much."""


def obs(problem: Problem, keep: int) -> Any:
    """Weights of shape (p,) of which `keep` are not zero; takes no first-order term."""
    rows = problem.rows
    gram = rows.gram()
    gram.diagonal().add_(problem.ridge)
    factor = torch.linalg.cholesky(gram)
    parts = []
    for part in rows.column_parts(rows.p):
        columns = rows.columns(torch.arange(rows.p, device=gram.device)[part]).double()
        whitened = torch.linalg.solve_triangular(factor, columns, upper=False)
        parts.append((1.0 - whitened.square().sum(dim=0)) / problem.ridge)
    diagonal = torch.cat(parts)
    start = problem.start.double()
    mask = largest(start.square() / diagonal, keep)
    pushed = torch.where(mask, torch.zeros_like(start), -start / diagonal)
    inner = torch.cholesky_solve(rows.times(pushed.float()).double()[:, None], factor).flatten()
    change = (pushed - rows.transposed(inner.float()).double()) / problem.ridge
    return torch.where(mask, start + SCALE * change, torch.zeros_like(start)).float()
