"""Making a module narrower."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed, NothingChanged  # noqa: E402
from jettison.graphs.torch_macs import total_macs  # noqa: E402
from jettison.graphs.torch_narrowing import IMPORTANCES, NarrowingPlan, narrow  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def _net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 4),
    ).eval()


class Named(nn.Module):  # type: ignore[misc]
    """Takes its input by name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _net()

    def forward(self, image: Any) -> Any:
        return self.net(image)


def _batches() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.randn(16, 3, 8, 8, generator=generator)} for _ in range(3)]


TARGETS = torch.arange(48) % 4


def _loss(answer: Any, rows: slice) -> Any:
    return nn.functional.cross_entropy(answer, TARGETS[rows], reduction="sum")


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_every_importance_meets_the_share(importance: str) -> None:
    """The products left are within the share, the answers are finite and of the old shape."""
    net, batches = Named().eval(), _batches()
    done = narrow(net, NarrowingPlan(0.4, importance=importance), batches, _loss)
    assert done.macs_after <= 0.6 * done.macs_before
    assert done.macs_after == total_macs(net, batches[0])
    assert done.recalibrated == 2
    answer = net(**batches[0]).detach()
    assert answer.shape == (16, 4)
    assert bool(torch.isfinite(answer).all())


def test_same_rows_give_the_same_weights() -> None:
    """Narrowing is repeatable to the last bit."""
    one, two = Named().eval(), Named().eval()
    for net in (one, two):
        narrow(net, NarrowingPlan(0.4, importance="fisher", rounds=2), _batches(), _loss)
    pairs = zip(one.state_dict().values(), two.state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)


def test_refitting_brings_answers_back() -> None:
    """The reader that is fitted again answers closer to the original than without."""
    batches = _batches()
    with torch.no_grad():
        original = Named().eval()
        wanted = original(**batches[0])
        errors = {}
        for refit in (True, False):
            net = copy.deepcopy(original)
            plan = NarrowingPlan(0.3, importance="l1", layers="net.3", refit_readers=refit)
            done = narrow(net, plan, batches, None)
            assert bool(done.refitted) is refit
            errors[refit] = float((net(**batches[0]) - wanted).square().mean())
    assert errors[True] < 0.7 * errors[False]


def test_widths_are_rounded() -> None:
    """Channel counts are multiples of the step that was asked for."""
    net = Named().eval()
    done = narrow(net, NarrowingPlan(0.4, importance="l1", round_to=8), _batches(), None)
    assert all(now % 8 == 0 for _, now in done.widths.values())
    assert net.net[0].weight.shape[0] % 8 == 0


def test_even_ranking_takes_the_same_share_everywhere() -> None:
    """With `evenly`, each group loses about the same share of its channels."""
    plan = NarrowingPlan(0.5, of="channels", importance="l1", evenly=True)
    done = narrow(Named().eval(), plan, _batches(), None)
    shares = [now / was for was, now in done.widths.values()]
    assert max(shares) - min(shares) < 0.1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"removed": 0.0}, "above 0 and below 1; got 0"),
        ({"removed": 1.0}, "above 0 and below 1; got 1"),
        ({"removed": 1.5}, "above 0 and below 1; got 1.5"),
        ({"removed": 0.5, "importance": "beauty"}, "importance must be one of.*'beauty'"),
        ({"removed": 0.5, "of": "seconds"}, "of `macs` or of `channels`"),
        ({"removed": 0.5, "rounds": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any], words: str) -> None:
    """Each has an error that says what is allowed."""
    with pytest.raises(CandidateFailed, match=words):
        NarrowingPlan(**wrong)


def test_nothing_to_remove() -> None:
    """One layer alone, and a share too small for a step, are told apart and refused."""

    class One(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.only(x)

    rows = [{"x": torch.randn(8, 4)}]
    with pytest.raises(NothingChanged, match=r"no layer of this model can become narrower.*`only`"):
        narrow(One().eval(), NarrowingPlan(0.5, importance="l1"), rows, None)
    plan = NarrowingPlan(0.01, importance="l1", round_to=16, layers="net.0")
    with pytest.raises(NothingChanged, match="no whole step of 16"):
        narrow(Named().eval(), plan, _batches(), None)
    with pytest.raises(CandidateFailed, match="needs fitting rows"):
        narrow(One().eval(), NarrowingPlan(0.5, importance="l1"), [], None)


class Joined(nn.Module):  # type: ignore[misc]
    """A convolution reads two others side by side."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(3, 20, 3, padding=1)
        self.both, self.head = nn.Conv2d(32, 16, 3, padding=1), nn.Linear(16, 4)

    def forward(self, image: Any) -> Any:
        x = torch.relu(torch.cat([self.one(image), self.two(image)], 1))
        return self.head(torch.relu(self.both(x)).mean((2, 3)))


@pytest.mark.parametrize("importance", ["reconstruction", "fisher"])
def test_a_layer_that_reads_a_concatenation(importance: str) -> None:
    """What it loses is gathered over both, its readers are fitted, and the share is met closely."""
    net = Joined().eval()
    plan = NarrowingPlan(0.4, importance=importance, evenly=True)
    done = narrow(net, plan, _batches(), _loss)
    assert 0.5 * done.macs_before < done.macs_after <= 0.6 * done.macs_before
    assert net.both.weight.shape[1] == net.one.weight.shape[0] + net.two.weight.shape[0]
    assert done.refitted == 2


def test_a_part_of_a_concatenation_goes() -> None:
    """One of two goes narrower, and the reader answers closer to the original than without a fit."""
    original, errors = Joined().eval(), {}
    with torch.no_grad():
        wanted = original(**_batches()[0])
        for fitted in (True, False):
            net = copy.deepcopy(original)
            plan = NarrowingPlan(0.1, importance="l1", layers="two", refit_readers=fitted)
            narrow(net, plan, _batches(), None)
            assert net.one.weight.shape[0] == 12
            errors[fitted] = float((net(**_batches()[0]) - wanted).square().mean())
    assert errors[True] < errors[False]


def test_later_rounds_may_find_nothing_left() -> None:
    """A layer that is down to one channel ends the rounds; what went before counts."""
    net = nn.Module()
    net.first, net.second = nn.Linear(3, 2), nn.Linear(2, 4)
    net.forward = lambda x: net.second(torch.relu(net.first(x)))
    plan = NarrowingPlan(0.5, of="channels", importance="l1", rounds=2)
    done = narrow(net.eval(), plan, [{"x": torch.randn(8, 3)}], None)
    assert done.widths == {"first": (2, 1)}
    assert net.first.weight.shape == (1, 3)
