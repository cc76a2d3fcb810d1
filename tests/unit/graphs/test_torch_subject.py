"""A module as the subject of pruning: which rows it reads, and what it recomputes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from jettison.errors import CandidateFailed
from jettison.graphs.torch_examples import TensorExamples
from jettison.graphs.torch_layers import prunable_layers
from jettison.graphs.torch_subject import RowPlan, TorchSubject, n_of_m_budget
from jettison.numerics.curvature import Objective, Storage


class Small(nn.Module):
    """A convolution, BatchNorm and a linear layer; `loud` answers with a tuple."""

    def __init__(self, *, loud: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)
        self.loud = loud

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return (scores.sum(1), scores) if self.loud else scores


def sorted_examples(n: int = 60) -> TensorExamples:
    """Rows sorted by class, as data sets on disk often are: class 1 is much brighter."""
    order = torch.Generator().manual_seed(0)
    answers = (torch.arange(n) >= n // 2).long()
    images = torch.randn((n, 1, 6, 6), generator=order) + 4.0 * answers[:, None, None, None]
    return TensorExamples({"x": images}, answers)


def subject(
    module: Small, *, labelled: bool = True, task: str = "classification", **plan: Any
) -> TorchSubject:
    settings = {"count": 8, "samples": 3, **plan}
    held_out = torch.arange(0, 60, 6)
    objective = Objective(task, labelled)
    layers = prunable_layers(module)
    return TorchSubject(module, layers, objective, sorted_examples(), held_out, RowPlan(**settings))


def test_sorted_rows_are_mixed() -> None:
    """BatchNorm statistics come from all classes although the first rows are of one."""
    module = Small()
    # Statistics as far off as these are replaced, because that lowers the loss.
    module.norm.running_mean.fill_(-50.0)
    made = subject(module, recalibrated=20)
    made.write(made.read())
    with torch.no_grad():
        inner = module.conv(sorted_examples().inputs["x"])
    found, whole = module.norm.running_mean, inner.mean((0, 2, 3))
    first = inner[:30].mean((0, 2, 3))
    assert float((found - whole).norm()) < 0.35 * float((first - whole).norm())
    assert not module.training


def test_statistics_are_kept_where_new_ones_are_worse() -> None:
    """The better of carried and recomputed BatchNorm statistics stands, by the held-out loss."""
    module = Small()
    made = subject(module)
    made.write(made.read())
    before = made.loss()
    kept = module.norm.running_mean.clone()
    next(made.problems(1))
    made.write(made.read())
    assert made.loss() <= before
    assert torch.isfinite(kept).all()
    plain = subject(Small())
    assert made.loss() <= plain.loss()


def test_statistics_follow_the_weights_where_rows_are_not_those_of_training() -> None:
    """A layer that only became louder is followed exactly; carrying and recomputing both lose."""
    module, easy = Small(), sorted_examples()
    # Some answers are wrong, so that the loss feels how sure the module is.
    answers = torch.where(torch.arange(60) % 4 == 0, 1 - easy.answers, easy.answers)
    rows = TensorExamples(easy.inputs, answers)
    variances = torch.tensor([9.0, 0.3, 4.0, 1.0])
    # Statistics of other data, which the last layer has learned to live with.
    module.norm.running_mean.fill_(0.7)
    module.norm.running_var.copy_(variances)
    module.eval()
    learner = torch.optim.LBFGS(module.fc.parameters(), max_iter=100)

    def loss() -> torch.Tensor:
        learner.zero_grad()
        found = nn.functional.cross_entropy(module(rows.inputs["x"]), rows.answers)
        found.backward()
        return found

    learner.step(loss)  # type: ignore[no-untyped-call]
    objective = Objective("classification", labelled=True)
    everything = torch.arange(0, 60, 3), RowPlan(8, 3, recalibrated=20)
    made = TorchSubject(module, prunable_layers(module), objective, rows, *everything)
    before = made.loss()
    weights = made.read()
    weights[:36] *= 3.0
    made.write(weights)
    assert made.loss() == pytest.approx(before, abs=1e-4)
    torch.testing.assert_close(module.norm.running_var, 9.0 * variances, rtol=1e-3, atol=0.0)


def test_rows_are_fresh_in_each_stage_and_the_same_for_a_seed() -> None:
    """Stages differ, two subjects of one seed agree, and offset belongs to labelled rows."""
    one, two = subject(Small()), subject(Small())
    _, first = next(one.problems(0))
    _, again = next(two.problems(0))
    _, second = next(one.problems(1))
    assert torch.equal(first.rows.values, again.rows.values)
    assert not torch.equal(first.rows.values, second.rows.values)
    assert first.offset is not None
    assert torch.allclose(first.offset, torch.tensor(1 / 3))
    assert first.linear is None
    assert first.rows.n == 8


@pytest.mark.parametrize("task", ["classification", "embedding"])
def test_without_labels_the_gradient_is_zero_at_the_dense_weights(task: str) -> None:
    """The distance to the dense answers has no slope at first, and one after a change."""
    made = subject(Small(), labelled=False, task=task)
    _, at_first = next(made.problems(0))
    assert at_first.offset is None
    assert float(at_first.linear.abs().max()) < 1e-4
    assert made.loss() == pytest.approx(0.0, abs=1e-6)
    made.write(made.read() * 0.5)
    _, later = next(made.problems(1))
    assert made.loss() > 0.0
    assert float(later.linear.abs().max()) > 1e-3


def test_several_rows_at_once_are_the_same_rows() -> None:
    """One vectorised pass for many rows gives what one pass a row gives."""
    _, plain = next(subject(Small()).problems(0))
    _, many = next(subject(Small(), together=3).problems(0))
    index = torch.arange(plain.rows.p)
    torch.testing.assert_close(
        many.rows.columns(index), plain.rows.columns(index), rtol=1e-2, atol=1e-4
    )


def test_the_chosen_output_is_read() -> None:
    """Of a tuple, the answer that quality reads is the one whose loss is taken."""
    quiet, loud = subject(Small()), subject(Small(loud=True), output=1)
    assert loud.loss() == pytest.approx(quiet.loss())
    _, one = next(quiet.problems(0))
    _, two = next(loud.problems(0))
    assert torch.equal(one.rows.values, two.rows.values)


def test_block_mode_keeps_a_part_of_the_rows_at_a_time() -> None:
    """Parts follow each other, fit the limit, and hold the columns of the whole."""
    whole = next(subject(Small()).problems(0))[1].rows
    limit = Storage(limit_bytes=8 * 2 * 20)
    parts = list(subject(Small(), storage=limit, block=10).problems(0))
    assert [(part.start, part.stop) for part, _ in parts] == [(0, 20), (20, 36), (36, 44)]
    for part, problem in parts:
        place = torch.arange(part.start, part.stop)
        own = problem.rows.columns(torch.arange(problem.rows.p))
        torch.testing.assert_close(own, whole.columns(place), rtol=1e-2, atol=1e-4)


def test_the_diagonal_is_that_of_the_rows() -> None:
    """Summed without keeping rows, it is what the rows of the same stage give."""
    tested = subject(Small(), count=6, samples=4)
    _, problem = next(iter(tested.problems(1)))
    rows = problem.rows.columns(torch.arange(problem.rows.p))
    expected = problem.rows.samples * rows.square().mean(0)
    torch.testing.assert_close(tested.diagonal(1), expected, rtol=2e-3, atol=1e-6)


def test_fewer_rows_than_asked() -> None:
    """Rows never use an example twice, so too many are cut down; none at all is an error."""
    assert subject(Small(), count=100).rows_possible == 16
    with pytest.raises(CandidateFailed, match="too few"):
        TorchSubject(
            Small(),
            prunable_layers(Small()),
            Objective("classification", labelled=True),
            sorted_examples(4),
            torch.arange(4),
            RowPlan(2, 1),
        )


def test_the_budget_of_a_pattern_groups_input_channels() -> None:
    """2:4 over the layers of a module leaves half of the weights of a linear layer."""
    module = Small()
    layers = prunable_layers(module, "fc")
    budget = n_of_m_budget(layers, 2, 4)
    mask = budget.mask(subject(module).weights.read()[36:].abs())
    assert mask.reshape(2, 4).sum(dim=1).tolist() == [2, 2]
