"""What training minimises."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.training.objectives import (  # noqa: E402
    CrossEntropy,
    Distillation,
    HiddenCosine,
    SquaredError,
    Weighted,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):  # type: ignore[misc]
    """Two layers; counts how often it runs."""

    def __init__(self, width: int = 5, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.hidden, self.out = nn.Linear(4, width), nn.Linear(width, 3)
        self.runs = 0

    def forward(self, x: Any) -> Any:
        self.runs += 1
        return self.out(torch.tanh(self.hidden(x)))


def _value(loss: Any) -> float:
    return float(loss.detach())


X = {"x": torch.randn(7, 4, generator=torch.Generator().manual_seed(2))}
Y = torch.arange(7) % 3


def test_the_original_itself_has_no_loss() -> None:
    """Imitating the original is done when the answers are equal, and only then."""
    net, other = Net(), Net(seed=1)
    for make in (Distillation, SquaredError, HiddenCosine):
        objective = make(net)
        assert _value(objective(net, X, None)) == pytest.approx(0.0, abs=1e-5)
        assert _value(objective(other, X, None)) > 1e-3


def test_distillation_is_the_divergence() -> None:
    """At temperature 1 it equals KL(teacher || student), computed from probabilities."""
    net, other = Net(), Net(seed=1)
    p, q = net(**X).softmax(1), other(**X).softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    found = Distillation(net, temperature=1.0)(other, X, Y)
    assert _value(found) == pytest.approx(_value(expected), rel=1e-4)


def test_gradients_keep_their_size_with_temperature() -> None:
    """The factor T^2 keeps the gradient of a hot divergence within reach of a cold one."""
    sizes = []
    for temperature in (2.0, 8.0):
        other = Net(seed=1)
        Distillation(Net(), temperature)(other, X, None).backward()
        sizes.append(float(other.out.weight.grad.norm()))
    assert 0.3 < sizes[1] / sizes[0] < 3.0


def test_no_gradient_reaches_the_original() -> None:
    """Only the changed model learns."""
    teacher, other = Net(), Net(seed=1)
    Distillation(teacher)(other, X, None).backward()
    assert teacher.out.weight.grad is None
    assert other.out.weight.grad is not None


def test_weighted_parts_share_one_run() -> None:
    """Labels and the original's answers together cost one run of the module, and add up."""
    net, teacher = Net(seed=1), Net()
    both = Weighted(((0.25, CrossEntropy()), (2.0, Distillation(teacher))))
    found = both(net, X, Y)
    assert net.runs == 1
    alone = 0.25 * CrossEntropy()(net, X, Y) + 2.0 * Distillation(teacher)(net, X, Y)
    assert _value(found) == pytest.approx(_value(alone), rel=1e-6)


def test_hidden_layers_of_other_width_are_refused() -> None:
    """A layer that lost channels can't be compared; the error names it."""
    with pytest.raises(CandidateFailed, match="layer `hidden` answers with shape"):
        HiddenCosine(Net(), ("hidden",))(Net(width=4), X, None)
    assert _value(HiddenCosine(Net(), ("hidden",))(Net(seed=1), X, None)) > 0


def test_weights_that_cannot_be_meant() -> None:
    """No parts, and negative weights, are refused."""
    for parts in ((), ((-1.0, CrossEntropy()),)):
        with pytest.raises(CandidateFailed, match="weights of 0 or more"):
            Weighted(parts)


def test_distillation_of_tokens_is_over_their_classes() -> None:
    """Three axes: the mean over rows and tokens of the divergence of each token's classes."""
    net, other = Net(), Net(seed=1)
    rows = {"x": torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3))}
    p, q = net(**rows).softmax(-1), other(**rows).softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    found = Distillation(net, temperature=1.0)(other, rows, None)
    assert _value(found) == pytest.approx(_value(expected), rel=1e-4)


class Told(Net):
    """Answers with probabilities."""

    def forward(self, x: Any) -> Any:
        return super().forward(x).softmax(-1)


def test_probabilities_are_not_squashed_twice() -> None:
    """A model that ends in a softmax has the losses of the one that ends before it."""
    logits, told, teacher = Net(seed=1), Told(seed=1), Net()
    assert _value(CrossEntropy()(told, X, Y)) == pytest.approx(
        _value(CrossEntropy()(logits, X, Y)), rel=1e-5
    )
    assert _value(Distillation(Told())(told, X, None)) == pytest.approx(
        _value(Distillation(teacher)(logits, X, None)), rel=1e-4
    )
