"""What each layer loses by each way of changing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.graphs.torch_layer_changes import OPTIONS  # noqa: E402
from jettison.graphs.torch_layers import prunable_layers  # noqa: E402
from jettison.graphs.torch_sensitivity import layer_sensitivity  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two threads on shared cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Net(nn.Module):  # type: ignore[misc]
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x: Any) -> Any:
        return self.second(torch.relu(self.first(x)))


@pytest.fixture
def net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


X = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
BATCHES = [{"x": X[:12]}, {"x": X[12:]}]
TARGETS = torch.arange(20) % 3


def _loss(answer: Any, rows: slice) -> Any:
    return nn.functional.cross_entropy(answer, TARGETS[rows], reduction="sum")


def test_small_change_is_predicted(net: Any) -> None:
    """It is half the mean square of how each row's loss really moves along the change."""
    step = 1e-3
    tiny = {"tiny": lambda matrix: step * torch.ones_like(matrix)}
    found = layer_sensitivity(net, prunable_layers(net), BATCHES, _loss, tiny)

    def losses() -> Any:
        return nn.functional.cross_entropy(net(X), TARGETS, reduction="none").detach().double()

    for name in ("first", "second"):
        before = losses()
        with torch.no_grad():
            getattr(net, name).weight += step
            moved = losses() - before
            getattr(net, name).weight -= step
        expected = 0.5 * float(moved.square().mean())
        assert found[name]["tiny"] == pytest.approx(expected, rel=0.05)


def test_options_change_what_they_say(net: Any) -> None:
    """Half of the weights, two of each four, and at most half a step of 8 bits."""
    matrix = net.first.weight.detach()
    half, pairs, rounded = (OPTIONS[name](matrix) for name in ("half pruned", "2:4", "int8 weights"))
    assert int(((matrix + half) == 0).sum()) == matrix.numel() // 2
    assert ((matrix + pairs).reshape(12, 2, 4) == 0).sum(2).eq(2).all()
    assert bool((rounded.abs() <= matrix.abs().amax(1, keepdim=True) / 254 + 1e-9).all())


def test_eight_bits_hurt_less_than_zeros(net: Any) -> None:
    """Every layer loses less by rounding than by losing half of its weights; flags come back."""
    net.first.weight.requires_grad_(requires_grad=False)
    found = layer_sensitivity(net, prunable_layers(net), BATCHES, _loss)
    assert all(layer["int8 weights"] < layer["half pruned"] for layer in found.values())
    assert not net.first.weight.requires_grad


def test_rows_that_say_nothing(net: Any) -> None:
    """A NaN row is named with its layer; no rows at all is an error."""
    broken = X.clone()
    broken[3] = float("nan")
    with pytest.raises(CandidateFailed, match="row 3 is not finite in layer `first`"):
        layer_sensitivity(net, prunable_layers(net), [{"x": broken}], _loss)
    with pytest.raises(CandidateFailed, match="needs fitting rows"):
        layer_sensitivity(net, prunable_layers(net), [], _loss)
