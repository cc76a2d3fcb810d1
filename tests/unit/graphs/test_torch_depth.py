"""Whole blocks left out of a module that runs them one after the other."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import NothingChanged  # noqa: E402
from jettison.graphs.torch_depth import shorten  # noqa: E402

WEIGHTS = (1.0, 0.01, 0.5, 0.001)
"""How much each block adds to what it reads: the second and the fourth next to nothing."""


class Block(nn.Module):  # type: ignore[misc]
    """Adds a little to its input."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.inner, self.weight = nn.Linear(8, 8), weight

    def forward(self, x: Any) -> Any:
        return x + self.weight * torch.tanh(self.inner(x))


class Chain(nn.Module):  # type: ignore[misc]
    """Four blocks in a list, and a head."""

    def __init__(self, weights: tuple[float, ...] = WEIGHTS) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block(weight) for weight in weights)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


BATCHES = [{"x": torch.randn(12, 8, generator=torch.Generator().manual_seed(1))}]


def apart(one: Any, two: Any) -> Any:
    return (one - two).square().sum(1).mean()


def test_the_blocks_that_the_answers_miss_least_go_first() -> None:
    """Half of the products are two of four blocks: those that add next to nothing."""
    net = Chain().eval()
    with torch.no_grad():
        before = net(**BATCHES[0])
    done = shorten(net, 0.48, BATCHES, apart)
    assert done.names == ("blocks.3", "blocks.1")
    assert [block.weight for block in net.blocks] == [1.0, 0.5]
    assert (done.blocks, done.weights) == (4, 2 * 72)
    assert (done.macs_before, done.macs_after) == (4 * 64 + 24, 2 * 64 + 24)
    with torch.no_grad():
        assert float(apart(net(**BATCHES[0]), before)) < 1e-3


def test_at_least_one_goes_and_never_all() -> None:
    """A small share still takes one block; a large one leaves the last."""
    assert shorten(Chain().eval(), 0.01, BATCHES, apart).names == ("blocks.3",)
    net = Chain().eval()
    assert len(shorten(net, 0.99, BATCHES, apart).names) == 3
    assert [block.weight for block in net.blocks] == [1.0]


def test_a_block_whose_absence_breaks_the_answers_stays() -> None:
    """An answer that is not a number is the farthest of all, not the nearest."""

    def distance(one: Any, two: Any) -> Any:
        moved = apart(one, two)
        return torch.tensor(float("nan")) if float(moved) < 1e-6 else moved

    done = shorten(Chain((1.0, 0.5, 0.0)).eval(), 0.3, BATCHES, distance)
    assert done.names == ("blocks.1",)


@pytest.mark.parametrize("net", [nn.Sequential(nn.Linear(8, 3)), Chain((1.0,))])
def test_no_list_of_blocks(net: Any) -> None:
    """Without two blocks that run one after the other nothing can go; it says what to do."""
    rows = [{"input" if isinstance(net, nn.Sequential) else "x": BATCHES[0]["x"]}]
    with pytest.raises(NothingChanged, match="remove channels instead"):
        shorten(net.eval(), 0.5, rows, apart)


def test_the_answer_that_counts_decides() -> None:
    """Of a tuple, the part at the place that is asked for is compared."""

    class Two(Chain):
        def forward(self, x: Any) -> Any:
            return x, super().forward(x)

    done = shorten(Two().eval(), 0.48, BATCHES, apart, 1)
    assert done.names == ("blocks.3", "blocks.1")
