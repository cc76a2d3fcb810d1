"""Recomputing BatchNorm statistics."""

from __future__ import annotations

from typing import Any

import pytest

from jettison.errors import CandidateFailed
from jettison.graphs.torch_batchnorm import recalibrate

torch = pytest.importorskip("torch")


pytestmark = pytest.mark.usefixtures("one_thread")


class _Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.drop(self.norm(self.conv(x)))


def _batches(count: int = 3) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(8, 3, 6, 6, generator=generator) + 2} for _ in range(count)]


def test_statistics_are_the_mean_over_the_batches() -> None:
    """Each batch counts the same, in mean and in unbiased variance."""
    net, batches = _Net(), _batches()
    assert recalibrate(net, batches) == 1
    with torch.no_grad():
        seen = [net.conv(batch["x"]) for batch in batches]
    mean = torch.stack([part.mean((0, 2, 3)) for part in seen]).mean(0)
    variance = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in seen]).mean(0)
    torch.testing.assert_close(net.norm.running_mean, mean)
    torch.testing.assert_close(net.norm.running_var, variance)


def test_module_ends_in_eval_mode_with_its_momentum() -> None:
    """Dropout never acts, and later training finds the momentum that was set."""
    net = _Net().eval()
    net.norm.momentum = 0.3
    recalibrate(net, _batches())
    assert not net.training
    assert not net.norm.training
    assert net.norm.momentum == 0.3


def test_module_without_batch_norm_reads_no_batch() -> None:
    """Nothing to recompute: no row is read."""

    def never() -> Any:
        raise AssertionError("a batch was read")
        yield {}

    assert recalibrate(torch.nn.Linear(2, 2), never()) == 0


@pytest.mark.parametrize("bad", [[], [{"x": torch.full((2, 3, 6, 6), float("nan"))}]])
def test_bad_batches_leave_the_statistics(bad: list[dict[str, Any]]) -> None:
    """No batch, or a NaN: a clear error, and the earlier statistics stand."""
    net = _Net()
    recalibrate(net, _batches())
    before = net.norm.running_mean.clone()
    with pytest.raises(CandidateFailed, match="BatchNorm"):
        recalibrate(net, bad)
    assert torch.equal(net.norm.running_mean, before)


def test_one_value_has_no_variance() -> None:
    """A batch of one row says nothing of a variance: it is refused, and the statistics stand."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).eval()
    net[1].running_mean.fill_(2.0)
    with pytest.raises(CandidateFailed, match=r"more than 1 value per channel.*give more rows"):
        recalibrate(net, [{"input": torch.randn(1, 3)}])
    assert torch.equal(net[1].running_mean, torch.full((4,), 2.0))
    assert not net[1].training
