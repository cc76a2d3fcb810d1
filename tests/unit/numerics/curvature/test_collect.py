"""Rows by backward passes: right, told of what is wrong, and kept where they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from jettison.errors import CandidateFailed
from jettison.numerics.curvature import (
    Objective,
    Storage,
    WeightEntry,
    WeightVector,
    collect,
    collect_together,
)


class Tied(nn.Module):
    """Two layers that share one matrix, a convolution before them, BatchNorm between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        return self.second(torch.relu(self.first(inner)))


@pytest.fixture
def network() -> Tied:
    """In eval mode, as gradients for pruning are taken."""
    return Tied().eval()


def vector(network: Tied) -> WeightVector:
    return WeightVector(
        [
            WeightEntry("conv.weight", network.conv.weight),
            WeightEntry("first.weight", network.first.weight),
        ]
    )


X = torch.linspace(-1, 1, 6 * 25).reshape(6, 1, 5, 5)
Y = torch.tensor([0, 1, 2, 3, 0, 1])


def losses(network: Tied, x: torch.Tensor = X, samples: int = 2) -> Iterator[Callable[[], Any]]:
    for i in range(0, len(x), samples):
        yield lambda i=i: functional.cross_entropy(network(x[i : i + samples]), Y[i : i + samples])


def test_rows_are_gradients_and_both_ways_agree(network: Tied) -> None:
    """One pass a row and all rows in one pass give the gradients of autograd; shared weights once."""
    weights = vector(network)
    one = collect(weights, losses(network), (3, 2), Storage(full_precision=True))
    batches = [({"x": X.reshape(3, 2, 1, 5, 5)}, Y.reshape(3, 2))]
    together = collect_together(
        network, weights, batches, functional.cross_entropy, (3, 2), Storage(full_precision=True)
    )
    torch.testing.assert_close(one.values, together.values, rtol=1e-4, atol=1e-6)
    assert not together.values.requires_grad
    network.zero_grad()
    functional.cross_entropy(network(X[2:4]), Y[2:4]).backward()
    expected = torch.cat([network.conv.weight.grad.flatten(), network.first.weight.grad.flatten()])
    torch.testing.assert_close(one.values[1], expected, rtol=1e-4, atol=1e-6)
    assert network.norm.running_mean.abs().sum() == 0


def test_half_precision_is_near(network: Tied) -> None:
    """Rows in 16 bits differ from those in 32 bits by the last digits only."""
    weights = vector(network)
    full = collect(weights, losses(network), (3, 2), Storage(full_precision=True))
    half = collect(weights, losses(network), (3, 2), Storage())
    assert half.values.dtype == torch.float16
    index = torch.arange(weights.size)
    torch.testing.assert_close(half.columns(index), full.values, rtol=1e-3, atol=1e-5)


def test_fewer_losses_give_fewer_rows(network: Tied) -> None:
    """There are as many rows as mini-batches, whatever room was made."""
    assert collect(vector(network), losses(network), (10, 2), Storage()).n == 3


def test_what_is_wrong_is_named(network: Tied) -> None:
    """NaN names batch and layer; zeros and no batch at all are errors."""
    weights = vector(network)
    broken = X.clone()
    broken[4] = torch.nan
    with pytest.raises(
        CandidateFailed, match=r"mini-batch 2 is not finite in layer `conv\.weight`"
    ):
        collect(weights, losses(network, broken), (3, 2), Storage())
    still = [lambda: 0.0 * network(X).sum()]
    with pytest.raises(CandidateFailed, match="all gradients of 1 mini-batches are zero"):
        collect(weights, still, (1, 6), Storage())
    with pytest.raises(CandidateFailed, match="no mini-batch"):
        collect(weights, [], (1, 6), Storage())


def test_past_the_limit_rows_are_mapped_or_refused(network: Tied, tmp_path: Path) -> None:
    """A limit refuses with the bytes that are needed, or maps a file where a folder is given."""
    weights = vector(network)
    with pytest.raises(CandidateFailed, match=r"need 312 bytes; the limit is 100.*`block`"):
        collect(weights, losses(network), (3, 2), Storage(limit_bytes=100))
    mapped = collect(weights, losses(network), (3, 2), Storage(limit_bytes=100, folder=tmp_path))
    plain = collect(weights, losses(network), (3, 2), Storage())
    assert torch.equal(mapped.values, plain.values)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [312]


def test_vector_reads_writes_and_cuts() -> None:
    """Matrices lie row by row, stored (in, out) ones turned; parts name the right layer."""
    plain = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    turned = nn.Parameter(torch.arange(4.0).reshape(2, 2))
    whole = WeightVector([WeightEntry("a", plain), WeightEntry("b", turned, transposed=True)])
    assert whole.read().tolist() == [0, 1, 2, 3, 4, 5, 0, 2, 1, 3]
    whole.write(torch.arange(10.0) * 10)
    assert turned.tolist() == [[60, 80], [70, 90]]
    part = whole.within(slice(7, 9))
    assert part.read().tolist() == [70, 80]
    assert part.where(torch.tensor([False, True])) == "b"
    both = whole.within(slice(4, 8))
    assert both.read().tolist() == [40, 50, 60, 70]
    assert [both.where(torch.arange(4) == i) for i in (1, 2)] == ["a", "b"]
    assert both.where(torch.zeros(4, dtype=torch.bool)) == ""


def test_objectives_without_labels() -> None:
    """Drawn labels follow the softmax; noise is unit Gaussian; losses are zero at the own answer."""
    order = torch.Generator().manual_seed(0)
    scores = torch.log(torch.tensor([[0.7, 0.2, 0.1]])).expand(4000, 3)
    drawn = Objective("classification", labelled=False).draw(scores, None, order)
    shares = torch.bincount(drawn, minlength=3) / 4000
    assert torch.allclose(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.03)
    noisy = Objective("embedding", labelled=False).draw(scores, None, order) - scores
    assert float(noisy.std()) == pytest.approx(1.0, abs=0.03)
    for task in ("classification", "embedding"):
        objective = Objective(task, labelled=False)
        assert float(objective.real_loss(scores, None, scores)) == pytest.approx(0.0, abs=1e-6)
        assert float(objective.real_loss(scores.roll(1, 1), None, scores)) > 0.1
    labelled = Objective("classification", labelled=True)
    assert labelled.draw(scores, Y, order) is Y
    regression = Objective("regression", labelled=True)
    found = regression.real_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 2.0]), None)
    assert float(found) == pytest.approx(0.25)


def test_probabilities_are_read_as_such() -> None:
    """Labels are drawn from what the model says, not from a second softmax over it."""
    scores = torch.log(torch.tensor([[0.9, 0.08, 0.02]])).expand(4000, 3) + 3.0
    objective = Objective("classification", labelled=False)
    order = torch.Generator().manual_seed(0)
    drawn = objective.draw(scores.softmax(-1), None, order)
    assert float((drawn == 0).float().mean()) == pytest.approx(0.9, abs=0.02)
    other = torch.randn(4000, 3, generator=order)
    for loss in (
        lambda a, b: objective.row_loss(a, drawn),
        lambda a, b: objective.real_loss(a, None, b),
    ):
        plain = loss(other, scores)
        torch.testing.assert_close(loss(other.softmax(-1), scores.softmax(-1)), plain)
