"""Fisher rows in 16 bits against the same rows in 32 bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.numerics.curvature import FisherRows


def both(seed: int = 0, n: int = 7, p: int = 50) -> tuple[torch.Tensor, FisherRows]:
    """A matrix whose rows differ by many decades, and its rows in 16 bits."""
    order = torch.Generator().manual_seed(seed)
    matrix = torch.randn((n, p), generator=order)
    matrix *= torch.logspace(-12, 6, n)[:, None]
    return matrix, FisherRows.of(matrix, samples=4)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(-25.0, 30.0))
def test_no_size_of_row_overflows_or_vanishes(seed: int, exponent: float) -> None:
    """Whatever the size of a row, each entry keeps three digits relative to the largest."""
    order = torch.Generator().manual_seed(seed)
    row = torch.randn((1, 40), generator=order) * 10.0**exponent
    kept = FisherRows.of(row).columns(torch.arange(40))
    assert torch.isfinite(kept).all()
    assert float((kept - row).abs().max() / row.abs().max()) < 1e-3


def test_products_agree_with_32_bits() -> None:
    """A v, A^T s, A A^T, the columns and the mean curvature, a few rows and columns at a time."""
    matrix, rows = both()
    small = FisherRows(rows.values, rows.scales, 4, workspace_bytes=400)
    v, s = torch.linspace(-1, 1, 50), torch.linspace(0, 1, 7)
    index = torch.tensor([3, 1, 40])
    for found in (rows, small):
        scale = matrix.norm(dim=1)
        assert torch.allclose(found.times(v) / scale, matrix @ v / scale, atol=2e-3)
        torch.testing.assert_close(found.transposed(s), s @ matrix, rtol=2e-3, atol=1e3)
        torch.testing.assert_close(
            found.columns(index) / scale[:, None],
            matrix[:, index] / scale[:, None],
            atol=1e-3,
            rtol=1e-3,
        )
        gram = (matrix @ matrix.T) / (scale[:, None] * scale)
        assert torch.allclose(found.gram().float() / (scale[:, None] * scale), gram, atol=3e-3)
        part = (matrix[:, index] @ matrix[:, index].T) / (scale[:, None] * scale)
        assert torch.allclose(found.gram(index).float() / (scale[:, None] * scale), part, atol=3e-3)
    expected = 4 * float(matrix.double().square().sum()) / 350
    assert rows.mean_curvature() == pytest.approx(expected, rel=1e-3)


def test_dead_columns_and_parts() -> None:
    """Columns without any gradient are found; a part of the columns is a view."""
    matrix, _ = both()
    matrix[:, [2, 5]] = 0.0
    rows = FisherRows.of(matrix)
    assert rows.dead().nonzero().flatten().tolist() == [2, 5]
    part = rows.restricted(slice(2, 6))
    assert part.p == 4
    assert part.values.data_ptr() == rows.values[:, 2:].data_ptr()
    assert rows.stored_bytes == 2 * 7 * 50
