"""What each layer loses by each way of changing it."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.graphs.torch_layer_changes import OPTIONS  # noqa: E402
from jettison.graphs.torch_layers import prunable_layers, weight_matrix  # noqa: E402
from jettison.graphs.torch_sensitivity import layer_sensitivity  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


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
    tiny = {"tiny": lambda layer: step * torch.ones_like(weight_matrix(layer))}
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
    """Half of the weights, two of each four, half of the outputs; at most half a step of 8 bits."""
    layer = prunable_layers(net)[0]
    matrix = weight_matrix(layer)
    changes = {name: change(layer) for name, change in OPTIONS.items()}
    after = {name: matrix + change for name, change in changes.items()}
    assert int((after["half pruned"] == 0).sum()) == matrix.numel() // 2
    assert (after["2:4"].reshape(12, 2, 4) == 0).sum(2).eq(2).all()
    assert int((after["half of outputs"] == 0).all(1).sum()) == 6
    assert int(torch.linalg.matrix_rank(after["half in factors"], tol=1e-4)) == 2
    steps = matrix.abs().amax(1, keepdim=True) / 254
    assert bool((changes["int8 weights"].abs() <= steps + 1e-9).all())
    assert bool((changes["float16 weights"].abs() <= matrix.abs() / 1024).all())


def test_two_of_four_lies_along_the_channels_of_a_convolution() -> None:
    """At one position of the kernel, as masks lie, not over neighbouring positions."""
    layer = prunable_layers(nn.Sequential(nn.Conv2d(4, 3, 3)))[0]
    left = weight_matrix(layer) + OPTIONS["2:4"](layer)
    assert (left.reshape(3, 4, 9) == 0).sum(1).eq(2).all()


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
