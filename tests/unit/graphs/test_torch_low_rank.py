"""Two thin layers in place of one."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed, NothingChanged  # noqa: E402
from jettison.graphs.torch_low_rank import (  # noqa: E402
    factor,
    output_weights,
    replace,
    thin_layers,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):  # type: ignore[misc]
    """A convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12 * 16, 10, bias=False)

    def forward(self, image: Any) -> Any:
        return self.head(torch.relu(self.conv(image)).flatten(1))


@pytest.fixture
def net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


def _batches(rows: int = 64) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(rows, 3, 8, 8, generator=generator)
    # Neighbouring pixels alike, so that what is given has directions that matter more.
    return [{"image": nn.functional.avg_pool2d(image, 3, 1, 1) + 0.5}]


def test_full_rank_answers_the_same(net: Any) -> None:
    """With every singular value kept, and all directions seen, nothing changes."""
    batches = _batches(256)
    with torch.no_grad():
        wanted = net(**batches[0])
    for made in factor(net, thin_layers(net), batches, {}):
        replace(net, made, made.left.shape[1])
    with torch.no_grad():
        torch.testing.assert_close(net(**batches[0]), wanted, rtol=1e-3, atol=1e-3)
    assert isinstance(net.conv, nn.Sequential)
    assert net.conv[0].stride == (2, 2)


def test_error_told_is_the_error_found(net: Any) -> None:
    """Half the mean squared difference of a layer's answers is what `lost` says for the rank."""
    batches = _batches(256)
    made = next(m for m in factor(net, thin_layers(net, "head"), batches, {}))
    with torch.no_grad():
        wanted = net(**batches[0])
    replace(net, made, 3)
    with torch.no_grad():
        found = 0.5 * (net(**batches[0]) - wanted).double().square().sum(1).mean()
    assert float(found) == pytest.approx(float(made.lost[3]), rel=1e-2)


def test_inputs_decide_what_is_kept(net: Any) -> None:
    """Weighted by what the layer is given, a rank loses less than a plain decomposition."""
    batches = _batches(256)
    with torch.no_grad():
        hidden = torch.relu(net.conv(batches[0]["image"])).flatten(1)
        wanted = hidden @ net.head.weight.T
        u, s, v = torch.linalg.svd(net.head.weight)
        mean = hidden.mean(0)
        plain = (u[:, :3] * s[:3]) @ v[:3]
        plain_error = ((hidden - mean) @ (net.head.weight - plain).T).square().sum(1).mean()
    made = factor(net, thin_layers(net, "head"), batches, {})[0]
    replace(net, made, 3)
    with torch.no_grad():
        error = (net(**batches[0]) - wanted).square().sum(1).mean()
    assert float(error) < 0.95 * float(plain_error)


def test_output_weights_are_squared_gradients(net: Any) -> None:
    """They equal the squares of autograd's gradients to the answers, summed over positions."""
    batches = _batches(6)

    def loss(answer: Any, rows: slice) -> Any:
        return answer.square().sum()

    found = output_weights(net, thin_layers(net), batches, loss)
    answer = net(**batches[0])
    torch.testing.assert_close(found["head"], (2 * answer).square().mean(0).double())
    assert found["conv"].shape == (12,)
    with pytest.raises(CandidateFailed, match="all gradients of 6 rows are zero"):
        output_weights(net, thin_layers(net), batches, lambda answer, rows: 0 * answer.sum())


def test_layers_that_cannot_be_factored() -> None:
    """Grouped convolutions and shared weights are left out; without others that is an error."""
    grouped = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2))
    with pytest.raises(NothingChanged, match="none of 1 layers"):
        thin_layers(grouped)
    shared = nn.Module()
    shared.one, shared.two, shared.free = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    shared.two.weight = shared.one.weight
    assert [layer.name for layer in thin_layers(shared)] == ["free"]
