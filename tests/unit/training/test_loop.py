"""The training loop."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.graphs.torch_examples import TensorExamples  # noqa: E402
from jettison.training.loop import TrainingPlan, train, zero_masks  # noqa: E402
from jettison.training.objectives import CrossEntropy  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Net(nn.Module):  # type: ignore[misc]
    """A small classifier with a norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.norm = nn.Linear(6, 16), nn.BatchNorm1d(16)
        self.drop, self.out = nn.Dropout(0.9), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.drop(torch.relu(self.norm(self.into(x)))))


def _net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


def _rows(n: int = 96) -> TensorExamples:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    return TensorExamples({"x": x}, x[:, :3].argmax(1))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_learns(optimizer: str, schedule: str) -> None:
    """The loss falls, with either optimizer and schedule; the module ends in eval mode."""
    plan = TrainingPlan(8, 0.02, optimizer, schedule, batch_size=16)
    net = _net()
    done = train(net, _rows(), CrossEntropy(), plan)
    assert done.losses[-1] < 0.7 * done.losses[0]
    assert done.steps == 8 * 6
    assert not net.training
    assert not net.norm.training


def test_same_seed_same_weights() -> None:
    """Two runs agree to the last bit; another seed gives other weights."""
    made = []
    for seed in (0, 0, 1):
        net = _net()
        train(net, _rows(), CrossEntropy(), TrainingPlan(2, seed=seed, batch_size=16))
        made.append(net.into.weight.detach().clone())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_zeros_stay_zero() -> None:
    """Weights that are zero before are zero after; the others move."""
    net = _net()
    with torch.no_grad():
        net.into.weight[:, ::2] = 0
    before = net.into.weight.detach().clone()
    masks = zero_masks(net)
    assert set(masks) == {"into.weight"}
    train(net, _rows(), CrossEntropy(), TrainingPlan(2, 0.05, batch_size=16), masks)
    assert not net.into.weight[:, ::2].any()
    assert not torch.equal(net.into.weight, before)


def test_flags_and_gradients_are_put_back() -> None:
    """A weight that needed no gradient before needs none after, and no gradient is kept."""
    net = _net()
    net.out.weight.requires_grad_(requires_grad=False)
    before = net.out.weight.detach().clone()
    train(net, _rows(), CrossEntropy(), TrainingPlan(1, batch_size=16))
    assert not net.out.weight.requires_grad
    assert net.into.weight.requires_grad
    assert net.into.weight.grad is None
    assert not torch.equal(net.out.weight, before)


def test_loss_that_is_not_finite_is_named() -> None:
    """The error tells the epoch and what to change."""
    rows = _rows()
    rows.inputs["x"][3, 2] = float("nan")
    with pytest.raises(
        CandidateFailed, match=r"loss is nan in epoch 1 of 3.*smaller learning rate"
    ):
        train(_net(), rows, CrossEntropy(), TrainingPlan(3, batch_size=16))


def test_augmentation_sees_every_batch() -> None:
    """What changes the inputs is called once a step, with the generator of the seed."""
    sizes = []

    def augment(inputs: Any, generator: Any) -> Any:
        sizes.append(len(inputs["x"]))
        noise = torch.randn(inputs["x"].shape, generator=generator)
        return {"x": inputs["x"] + 0.1 * noise}

    train(_net(), _rows(40), CrossEntropy(), TrainingPlan(2, batch_size=16), augment=augment)
    assert sizes == [16, 16, 8] * 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "at least 1 epoch"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning rate above 0"),
        ({"epochs": 1, "optimizer": "lion"}, "`sgd` or `adamw`; got 'lion'"),
        ({"epochs": 1, "schedule": "flat"}, "`cosine` or `one_cycle`; got 'flat'"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any], words: str) -> None:
    """Each has an error that says what is allowed."""
    with pytest.raises(CandidateFailed, match=words):
        TrainingPlan(**wrong)


def test_one_row_is_too_few() -> None:
    """A single row is refused before anything changes."""
    with pytest.raises(CandidateFailed, match="at least 2 rows; got 1"):
        train(_net(), _rows(1), CrossEntropy(), TrainingPlan(1))
