"""Small problems whose best answer can be found by trying every mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from jettison.numerics.chita import Problem
from jettison.numerics.curvature import FisherRows

Maker = Callable[..., Problem]


@pytest.fixture
def problem() -> Maker:
    """Makes a random problem: n rows over p weights, with or without first-order terms."""

    def make(
        seed: int = 0, n: int = 6, p: int = 8, *, ridge: float = 0.1, first_order: bool = True
    ) -> Problem:
        order = torch.Generator().manual_seed(seed)
        matrix = torch.randn((n, p), generator=order)
        rows = FisherRows(matrix, torch.ones(n), samples=2)
        start = torch.randn(p, generator=order)
        offset = torch.full((n,), 0.5) if first_order else None
        linear = 0.1 * torch.randn(p, generator=order) if first_order else None
        return Problem(rows, start, ridge, offset, linear)

    return make
