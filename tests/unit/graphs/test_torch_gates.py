"""What the loss feels of a channel."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.graphs.torch_channels import ChannelMap  # noqa: E402
from jettison.graphs.torch_gates import gate_gradients, importance_of_gates, norms  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):  # type: ignore[misc]
    """A convolution whose channels a second one reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)
        self.gates: Any = None

    def forward(self, image: Any) -> Any:
        x = torch.relu(self.first(image))
        if self.gates is not None:
            x = x * self.gates[:, :, None, None]
        return self.second(x).mean((2, 3))


@pytest.fixture
def net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


def _batches() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.randn(5, 2, 8, 8, generator=generator)} for _ in range(2)]


TARGETS = torch.arange(10) % 3


def _loss(answer: Any, rows: slice) -> Any:
    return nn.functional.cross_entropy(answer, TARGETS[rows], reduction="sum")


def test_derivatives_are_those_of_real_gates(net: Any) -> None:
    """They equal autograd's derivatives to gates that are multiplied in, row by row."""
    groups = ChannelMap(net, _batches()[0], "first").groups
    found = gate_gradients(net, groups, _batches(), _loss)[0]
    expected = []
    for number, batch in enumerate(_batches()):
        net.gates = torch.ones(5, 4, requires_grad=True)
        loss = _loss(net(**batch), slice(5 * number, 5 * number + 5))
        expected.append(torch.autograd.grad(loss, net.gates)[0])
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-6)


def test_importances_of_gates() -> None:
    """Taylor is the mean size, Fisher half the mean square."""
    gates = torch.tensor([[1.0, -2.0], [-3.0, 2.0]])
    assert importance_of_gates("taylor", gates).tolist() == [2.0, 2.0]
    assert importance_of_gates("fisher", gates).tolist() == [2.5, 2.0]


def test_norms_of_a_group(net: Any) -> None:
    """`l1` reads the layer that makes a channel, `group_l1` those that read it too."""
    group = ChannelMap(net, _batches()[0], "first").groups[0]
    made = net.first.weight.detach().abs().sum((1, 2, 3))
    read = net.second.weight.detach().abs().sum((0, 2, 3))
    torch.testing.assert_close(norms("l1", group), made / made.mean())
    both = made + read
    torch.testing.assert_close(norms("group_l1", group), both / both.mean())


def test_gradients_that_say_nothing_are_refused(net: Any) -> None:
    """Zero gradients, NaN gradients (batch and layer named) and no rows each have their error."""
    groups = ChannelMap(net, _batches()[0], "first").groups
    with pytest.raises(CandidateFailed, match="all gradients of 10 rows are zero"):
        gate_gradients(net, groups, _batches(), lambda answer, rows: 0.0 * answer.sum())
    broken = _batches()
    broken[1]["image"][2] = float("nan")
    with pytest.raises(CandidateFailed, match=r"batch 1 \(rows 5 to 9\).*`second`.*`first`"):
        gate_gradients(net, groups, broken, _loss)
    with pytest.raises(CandidateFailed, match="needs fitting rows"):
        gate_gradients(net, groups, [], _loss)
    assert net.first.weight.requires_grad


@pytest.mark.parametrize("form", ["rows first", "one axis", "rows second"])
def test_rows_are_told_apart_wherever_they_lie(form: str) -> None:
    """A layer may read (rows, tokens), rows and tokens on one axis, or (tokens, rows)."""

    class Tokens(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.into, self.out = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            if form == "rows second":
                return self.out(torch.relu(self.into(x.transpose(0, 1)))).mean(0)
            x = x.reshape(-1, 4) if form == "one axis" else x
            return self.out(torch.relu(self.into(x))).reshape(-1, 7, 3).mean(1)

    net = Tokens().eval()
    batch = {"x": torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(1))}
    groups = ChannelMap(net, batch, "into").groups
    found = gate_gradients(net, groups, [batch], _loss)[0]
    hidden = torch.relu(net.into(batch["x"])).detach().requires_grad_()
    loss = _loss(net.out(hidden).mean(1), slice(0, 5))
    expected = (hidden * torch.autograd.grad(loss, hidden)[0]).detach().sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
