"""The layer-wise OBS walk against least squares, and as the core of two kinds of rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jettison.errors import CandidateFailed
from jettison.numerics.input_sums import Moments, Norms
from jettison.numerics.layerwise_obs import BLOCK, KeepNofM, KeepShare, factorise, walk
from jettison.numerics.masks import largest


def inputs_of(columns: int, positions: int = 400, seed: int = 0) -> Any:
    """Correlated inputs, shape (positions, columns)."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    square = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(square).Q
    sizes = torch.logspace(0, -2, columns, dtype=torch.float64)
    drawn = torch.randn(positions, columns, generator=generator, dtype=torch.float64)
    return drawn @ (turn * sizes) @ turn.T


def hessian_of(inputs: Any) -> Any:
    return 2 * inputs.T @ inputs / len(inputs)


def error_of(before: Any, after: Any, inputs: Any) -> float:
    return float(((before - after) @ inputs.T).square().sum())


class Only:
    """Sets chosen columns to zero."""

    span = 0

    def __init__(self, *columns: int) -> None:
        self.columns = columns

    def look(self, ahead: Any, importance: Any, start: int) -> None:
        self.importance = importance

    def column(self, values: Any, number: int) -> Any:
        return torch.zeros_like(values) if number in self.columns else values


class Grid:
    """Rounds to a grid of `bits` bits per group of columns, as weight-only quantization does."""

    def __init__(self, bits: int, span: int) -> None:
        self.span, self.most = span, 2 ** (bits - 1) - 1

    def look(self, ahead: Any, importance: Any, start: int) -> None:
        self.step = ahead.abs().amax(1) / self.most

    def column(self, values: Any, number: int) -> Any:
        return (values / self.step).round().clamp(-self.most, self.most) * self.step


def test_the_factor_is_that_of_the_inverse() -> None:
    """U is upper triangular with U^T U = (H + damping)^-1."""
    hessian = hessian_of(inputs_of(7))
    upper = factorise(hessian, 0.02).upper
    damped = hessian + 0.02 * hessian.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(upper.T @ upper, torch.linalg.inv(damped))
    assert torch.equal(upper, upper.triu())
    assert (upper.diagonal() > 0).all()


def test_compensation_is_least_squares() -> None:
    """After each column, those to the right are the best for the squared error."""
    inputs, columns = inputs_of(6), 6
    weights = torch.randn(3, columns, dtype=torch.float64)
    got = walk(weights, factorise(hessian_of(inputs), 1e-12), Only(0, 2))
    free = [1, 2, 3, 4, 5]
    first = weights.clone()
    first[:, 0] = 0.0
    first[:, free] = torch.linalg.lstsq(inputs[:, free], (inputs @ weights.T)).solution.T
    best, rest = first.clone(), [3, 4, 5]
    best[:, 2] = 0.0
    target = inputs @ weights.T - inputs[:, [1]] @ first[:, [1]].T
    best[:, rest] = torch.linalg.lstsq(inputs[:, rest], target).solution.T
    torch.testing.assert_close(got, best, rtol=1e-6, atol=1e-8)


def test_importance_is_the_rise_of_the_error() -> None:
    """Setting column 0 to zero costs its squares times the importance that `look` was given."""
    inputs = inputs_of(5)
    weights = torch.randn(4, 5, dtype=torch.float64)
    only = Only(0)
    got = walk(weights, factorise(hessian_of(inputs), 1e-12), only)
    told = float((weights[:, 0].square() * only.importance[0]).sum())
    assert told == pytest.approx(2 * error_of(weights, got, inputs) / len(inputs), rel=1e-5)


@pytest.mark.parametrize("columns", [10, BLOCK, 2 * BLOCK + 13])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.95])
def test_the_share_of_zeros_is_exact(columns: int, sparsity: float) -> None:
    """Over all blocks together the number of zeros is the nearest to what was asked."""
    weights = torch.randn(7, columns)
    factor = factorise(hessian_of(inputs_of(columns)))
    made = walk(weights, factor, KeepShare(weights, factor, sparsity))
    assert int((made == 0).sum()) == round(sparsity * 7 * columns)
    assert torch.isfinite(made).all()


def test_two_of_four_at_every_place() -> None:
    """Each group of four keeps two; a remainder of two is kept."""
    columns = BLOCK + 6
    made = walk(torch.randn(5, columns), factorise(hessian_of(inputs_of(columns))), KeepNofM(2, 4))
    groups = (made[:, : BLOCK + 4] != 0).view(5, -1, 4)
    assert (groups.sum(-1) == 2).all()
    assert (made[:, -2:] != 0).all()


def test_blocks_don_t_change_the_result() -> None:
    """Compensation that waits for the end of a block is the same as at once."""
    columns = 2 * BLOCK
    inputs = inputs_of(columns)
    factor = factorise(hessian_of(inputs))
    weights = torch.randn(4, columns, dtype=torch.float64)
    in_blocks = Only(3, 200)
    in_blocks.span = BLOCK
    torch.testing.assert_close(
        walk(weights, factor, in_blocks), walk(weights, factor, Only(3, 200))
    )


def test_it_beats_a_mask_without_compensation() -> None:
    """On correlated inputs the answers change far less than with the largest weights kept."""
    inputs = inputs_of(64)
    weights = torch.randn(32, 64, dtype=torch.float64)
    factor = factorise(hessian_of(inputs))
    made = walk(weights, factor, KeepShare(weights, factor, 0.5))
    masked = weights * largest(weights.abs(), 32 * 32)
    assert error_of(weights, made, inputs) < 0.8 * error_of(weights, masked, inputs)


def test_narrow_spans_leave_room_for_compensation() -> None:
    """Choosing over all columns at once empties the left ones; narrow spans lose less."""
    inputs = inputs_of(64)
    weights = torch.randn(32, 64, dtype=torch.float64)
    factor = factorise(hessian_of(inputs))
    wide = walk(weights, factor, KeepShare(weights, factor, 0.5, span=64))
    narrow = walk(weights, factor, KeepShare(weights, factor, 0.5, span=16))
    assert error_of(weights, narrow, inputs) < 0.9 * error_of(weights, wide, inputs)


def test_weight_only_rounding_uses_the_same_walk() -> None:
    """A 4-bit grid per group, compensated, beats rounding to the nearest on the same grid."""
    inputs = inputs_of(64)
    weights = torch.randn(32, 64, dtype=torch.float64)
    made = walk(weights, factorise(hessian_of(inputs)), Grid(4, 32))
    nearest = torch.cat(
        [
            torch.stack([grid.column(part[:, j], j) for j in range(32)], 1)
            for part in weights.split(32, 1)
            for grid in [Grid(4, 32)]
            if grid.look(part, None, 0) is None
        ],
        1,
    )
    assert len(made[0, :32].unique()) <= 15
    assert error_of(weights, made, inputs) < 0.5 * error_of(weights, nearest, inputs)


def test_dead_inputs_go_first_and_disturb_nothing() -> None:
    """Weights of inputs that are always 0 are the first zeros, and cost no accuracy."""
    inputs = inputs_of(20)
    inputs[:, [4, 9, 17]] = 0.0
    weights = torch.randn(8, 20, dtype=torch.float64) + 3.0
    factor = factorise(hessian_of(inputs))
    assert factor.dead.nonzero()[:, 0].tolist() == [4, 9, 17]
    made = walk(weights, factor, KeepShare(weights, factor, 3 / 20))
    assert (made[:, [4, 9, 17]] == 0).all()
    assert error_of(weights, made, inputs) == pytest.approx(0.0, abs=1e-12)


def test_more_columns_than_positions() -> None:
    """Damping makes few fitting rows enough."""
    weights, factor = torch.randn(4, 50), factorise(hessian_of(inputs_of(50, 5)))
    made = walk(weights, factor, KeepShare(weights, factor, 0.5))
    assert torch.isfinite(made).all()
    assert int((made == 0).sum()) == 100


def test_no_input_at_all() -> None:
    """Where all inputs were 0, the mask is kept exact and no other weight changes."""
    weights, factor = torch.ones(2, 4), factorise(torch.zeros(4, 4))
    made = walk(weights, factor, KeepShare(weights, factor, 0.5))
    assert sorted(made.flatten().tolist()) == [0.0] * 4 + [1.0] * 4


def test_inputs_that_are_no_numbers_are_refused() -> None:
    """NaN in the moments is told before anything is changed."""
    with pytest.raises(CandidateFailed, match="not numbers"):
        factorise(torch.full((3, 3), torch.nan))


def test_moments_and_norms_are_those_of_all_batches() -> None:
    """Sums over batches are those of all positions at once, per group."""
    inputs = torch.randn(2, 30, 5)
    moments, norms = Moments(2, 5, "cpu"), Norms(2, 5, "cpu")
    for part in inputs.split(7, 1):
        moments.add(part)
        norms.add(part)
    assert moments.count == norms.count == 30
    whole = 2 * inputs.double().transpose(1, 2) @ inputs.double() / 30
    torch.testing.assert_close(moments.mean, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norms.norms, inputs.double().norm(dim=1), rtol=1e-5, atol=1e-6)
