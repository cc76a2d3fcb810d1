"""DP-SGD: the budget is kept, single rows are clipped, nobody without the key repeats the noise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from jettison.errors import CandidateFailed
from jettison.graphs.torch_examples import TensorExamples
from jettison.training.differential_privacy import (
    PrivatePlan,
    _filled,
    _generator,
    _row_gradients,
    train_privately,
)
from jettison.training.objectives import CrossEntropy

ROWS, TEST = 500, 500
PLAN = PrivatePlan(
    epsilon=8.0, delta=1e-4, epochs=6, batch_size=100, learning_rate=0.5, clip=1.0, seed=3
)


@pytest.fixture
def examples(shared_data: Path) -> tuple[TensorExamples, TensorExamples]:
    """MNIST's digits, to train on and to test on."""

    def some(images: np.ndarray, labels: np.ndarray, n: int) -> TensorExamples:
        x = torch.from_numpy(images[:n].reshape(n, -1).astype(np.float32) / 255)
        return TensorExamples({"x": x}, torch.from_numpy(labels[:n].astype(np.int64)))

    with np.load(shared_data / "vision" / "mnist.npz") as data:
        return (
            some(data["x_train"], data["y_train"], ROWS),
            some(data["x_test"], data["y_test"], TEST),
        )


class Digits(torch.nn.Module):
    """A network of two layers, with a norm between whose statistics are fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(784, 32)
        self.norm = torch.nn.BatchNorm1d(32)
        self.second = torch.nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.norm(self.first(x))))


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed key: what the tests find is not drawn anew each time."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = tmp_path / "state" / "jettison" / "local.key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))


def network() -> Digits:
    torch.manual_seed(0)
    return Digits().eval()


def accuracy(module: torch.nn.Module, rows: TensorExamples) -> float:
    with torch.no_grad():
        right = module(**rows.inputs).argmax(1) == rows.answers
    return float(right.float().mean())


def test_it_learns_within_the_budget(examples: tuple[TensorExamples, TensorExamples]) -> None:
    """The accountant's epsilon is at most what was asked for; zeros and statistics stay."""
    train, test = examples
    module = network()
    mask = torch.rand(32, 784, generator=torch.Generator().manual_seed(1)) < 0.5
    module.first.weight.data.mul_(mask)
    before = accuracy(module, test)
    spent = train_privately(module, train, CrossEntropy(), PLAN, {"first.weight": mask})
    assert 0.9 * PLAN.epsilon < spent.epsilon <= PLAN.epsilon
    assert (spent.rows, spent.delta) == (ROWS, PLAN.delta)
    assert accuracy(module, test) > before + 0.2
    assert torch.equal(module.first.weight != 0, mask)
    assert torch.equal(module.norm.running_mean, torch.zeros(32))
    assert all(w.grad is None and w.requires_grad for w in module.parameters())


def test_less_epsilon_means_more_noise(examples: tuple[TensorExamples, TensorExamples]) -> None:
    """The noise is what the budget costs."""
    short = dataclasses.replace(PLAN, epochs=1)
    noise = [
        train_privately(
            network(), examples[0], CrossEntropy(), dataclasses.replace(short, epsilon=e), {}
        ).noise
        for e in (8.0, 0.5)
    ]
    assert noise[1] > 2 * noise[0]


def test_the_noise_repeats_for_this_account_only(
    examples: tuple[TensorExamples, TensorExamples],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The seed in the configuration alone gives nobody the noise."""
    plan = dataclasses.replace(PLAN, epochs=1)

    def trained() -> torch.Tensor:
        module = network()
        train_privately(module, examples[0], CrossEntropy(), plan, {})
        return module.first.weight.detach()

    first = trained()
    assert torch.equal(first, trained())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not torch.equal(first, trained())


def test_two_trainings_share_no_noise(examples: tuple[TensorExamples, TensorExamples]) -> None:
    """The same plan for as many rows of other data draws other noise: none cancels in a pair."""
    plans = [dataclasses.replace(PLAN, about=about) for about in ("one row", "another row")]
    first, again, other = (
        torch.randn(50, generator=_generator(plan, examples[0], "noise"))
        for plan in (plans[0], plans[0], plans[1])
    )
    assert torch.equal(first, again)
    assert not torch.isin(first, other).any()


def test_all_bits_of_the_secret_count() -> None:
    """Secrets that agree in any 32 bits give other noise, as independent as numbers can be."""
    secrets = [bytes(28) + b"same", bytes(27) + b"\1same", b"\1" + bytes(27) + b"same"]
    drawn = [torch.randn(2000, generator=_filled(secret)) for secret in secrets]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(float(torch.corrcoef(torch.stack([drawn[one], drawn[other]]))[0, 1])) < 0.1
    assert all(abs(float(numbers.mean())) < 0.1 for numbers in drawn)
    assert all(0.9 < float(numbers.std()) < 1.1 for numbers in drawn)


def test_gradients_of_single_rows_are_those_of_autograd(
    examples: tuple[TensorExamples, TensorExamples],
) -> None:
    """What is clipped is the gradient of one row's own loss."""
    module, rows = network(), examples[0]
    weights = dict(module.named_parameters())
    index = torch.tensor([5, 17])
    found = _row_gradients(module, CrossEntropy())(weights, rows, index)
    for place, row in enumerate(index.tolist()):
        one = torch.tensor([row])
        loss = CrossEntropy()(module, rows.batch(one), rows.targets(one))
        told = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(weights, told, strict=True):
            torch.testing.assert_close(found[name][place], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"delta": 3e-3}, "below 1/500"),
        ({"epsilon": 0.0}, "must be above 0"),
        ({"batch_size": 2000}, "from 1 to 500"),
        ({"epsilon": 1e-4}, "larger `epsilon`"),
    ],
)
def test_what_can_t_be_private_is_refused(
    examples: tuple[TensorExamples, TensorExamples], change: dict[str, float], word: str
) -> None:
    """A delta that would let a row out, no budget, a batch beyond the rows."""
    with pytest.raises(CandidateFailed, match=word):
        train_privately(
            network(), examples[0], CrossEntropy(), dataclasses.replace(PLAN, **change), {}
        )
