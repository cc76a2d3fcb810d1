"""The loop over stages, on a model whose loss is exactly quadratic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch

from jettison.errors import CandidateFailed
from jettison.numerics.chita import LargestOverall, Plan, Problem, keeps, prune
from jettison.numerics.curvature import FisherRows


class Quadratic:
    """loss(w) = 1/(2n) |A w - t|^2 with held-out rows of the same law; remembers what was asked."""

    def __init__(self, p: int = 30, n: int = 40) -> None:
        order = torch.Generator().manual_seed(0)
        self.weights = torch.randn(p, generator=order)
        self.fit = torch.randn((n, p), generator=order)
        self.held = torch.randn((200, p), generator=order)
        truth = self.weights * (torch.rand(p, generator=order) < 0.3)
        self.fit_targets, self.held_targets = self.fit @ truth, self.held @ truth
        self.asked: list[int] = []

    def read(self) -> torch.Tensor:
        return self.weights.clone()

    def write(self, weights: torch.Tensor) -> None:
        self.weights = weights.clone()

    def loss(self) -> float:
        return float((self.held @ self.weights - self.held_targets).square().mean()) / 2

    def problems(self, stage: int) -> Iterator[tuple[slice, Problem]]:
        self.asked.append(stage)
        residual = self.fit @ self.weights - self.fit_targets
        rows = FisherRows.of(self.fit)
        yield slice(0, len(self.weights)), Problem(rows, self.read(), 1.0, residual)


def plan(**changed: object) -> Plan:
    settings: dict[str, object] = {
        "sparsity": 0.7,
        "budget": lambda share: LargestOverall(keeps((30,), share)[0]),
        "ridges": lambda unit: (10.0 * unit, 1e-1 * unit, 1e-3 * unit),
        "stages": 6,
        **changed,
    }
    return Plan(**settings)  # type: ignore[arg-type]


def test_stages_find_what_one_stage_misses() -> None:
    """Fresh rows each stage; the end is exactly as sparse as asked, and better than one stage."""
    once, often = Quadratic(), Quadratic()
    prune(once, plan(stages=1))
    mask, stages = prune(often, plan())
    assert often.asked == [0, 1, 2, 3, 4, 5]
    assert int(mask.sum()) == 9
    assert int((often.read() != 0).sum()) <= 9
    assert [round(stage.sparsity, 9) for stage in stages][-1] == 0.7
    assert stages[-1].loss == pytest.approx(often.loss())
    assert often.loss() <= once.loss() + 1e-6


def test_the_held_out_loss_chooses_the_ridge() -> None:
    """Of several ridges the one with the lowest held-out loss is kept."""
    together = Quadratic()
    _, stages = prune(together, plan(stages=1))
    unit = FisherRows.of(Quadratic().fit).mean_curvature()
    alone = []
    for factor in (10.0, 1e-1, 1e-3):
        one = Quadratic()
        prune(one, plan(stages=1, ridges=lambda u, f=factor: (f * u,)))
        alone.append((one.loss(), factor * unit))
    assert stages[0].ridge == pytest.approx(min(alone)[1], rel=1e-3)


def test_the_trust_radius_follows_predicted_and_actual() -> None:
    """The ridge moves by the factor only, down while the model of the loss can be trusted."""
    subject = Quadratic()
    _, stages = prune(subject, plan(radius=4.0, ridges=lambda unit: (unit,)))
    ratios = [b.ridge / a.ridge for a, b in itertools.pairwise(stages)]
    assert all(any(abs(r - x) < 1e-6 * x for x in (0.25, 1.0, 4.0)) for r in ratios)
    fixed = prune(Quadratic(), plan(ridges=lambda unit: (unit,)))[1]
    assert len({stage.ridge for stage in fixed}) == 1


class Spoiled(Quadratic):
    """Its loss is finite at the weights that it began with, and nowhere else."""

    def loss(self) -> float:
        return super().loss() if not self.asked else float("nan")


def test_a_loss_that_is_not_finite_is_told() -> None:
    """Before anything is pruned the rows are at fault; later no ridge can be chosen."""
    broken = Quadratic()
    broken.held[0] = torch.inf
    with pytest.raises(CandidateFailed, match="not finite before anything is pruned"):
        prune(broken, plan())
    with pytest.raises(CandidateFailed, match="not finite at sparsity"):
        prune(Spoiled(), plan())


class Uneven(Quadratic):
    """The second half of the weights is small, and the loss hangs on it a hundred times more."""

    def __init__(self) -> None:
        super().__init__()
        scale = torch.ones(30)
        scale[15:] = 100.0
        self.weights = torch.ones(30) / scale.sqrt()
        self.fit, self.held = self.fit * scale, self.held * scale
        self.fit_targets, self.held_targets = self.fit @ self.weights, self.held @ self.weights

    def diagonal(self, stage: int) -> torch.Tensor:
        return self.fit.square().mean(0)


def test_in_blocks_saliency_keeps_small_weights_that_matter() -> None:
    """By size the large half stays; by size and curvature the half that the loss hangs on."""
    blocks = (slice(0, 30),)
    sizes, _ = prune(Uneven(), plan(sparsity=0.5, stages=1, blocks=blocks))
    salient, _ = prune(Uneven(), plan(sparsity=0.5, stages=1, blocks=blocks, saliency=True))
    assert sizes[:15].all()
    assert salient[15:].all()


def test_blocks_cover_the_vector() -> None:
    """In block mode each part is solved alone, and the budget still holds over all."""
    subject = Quadratic()
    mask, _ = prune(subject, plan(blocks=(slice(0, 10), slice(10, 30))))
    assert int(mask.sum()) == 9
    assert not subject.read()[~mask].any()
