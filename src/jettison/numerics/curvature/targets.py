"""What the loss of a mini-batch is, with labels or without. Importing this file imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

TASKS = ("classification", "regression", "embedding")

SUM_TOLERANCE = 1e-4
"""How far probabilities in 32 bits may add up to other than 1."""

RAREST = 1e-12
"""Probabilities below it count as it."""


def as_logits(answers: Any) -> Any:
    """Scores whose softmax is what a classifier tells, also where its answers are probabilities.

    Probabilities are told by what they are: nowhere negative, each row adding up to 1. A second
    softmax over them would call every class nearly as likely as the others.

    Args:
        answers: logits or probabilities, shape (..., classes).
    """
    scores = answers.float()
    told = (scores >= 0).all() & ((scores.sum(-1) - 1.0).abs() <= SUM_TOLERANCE).all()
    # No branch: this runs inside of `torch.func.vmap` too.
    return torch.where(told, scores.clamp_min(RAREST).log(), scores)


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss whose curvature is wanted.

    Without labels the answers of the dense model take their place. For classification, labels
    are drawn from its softmax: the Gauss-Newton matrix of the KL divergence is the covariance of
    those gradients (Martens, "New insights and perspectives on the natural gradient method",
    section 9). For regression and embeddings the target of a row is the dense answer plus unit
    Gaussian noise, whose gradients have the Gauss-Newton matrix as covariance.

    Attributes:
        task: `classification`, `regression` or `embedding`.
        labelled: whether right answers are at hand.
    """

    task: str
    labelled: bool

    @property
    def rows_are_gradients(self) -> bool:
        """Whether the mean of the rows is the gradient of the real loss (no drawn targets)."""
        return self.labelled and self.task == "classification"

    def draw(self, dense: Any, targets: Any, generator: torch.Generator) -> Any:
        """Targets for Fisher rows.

        Args:
            dense: answers of the dense model, shape (m, ...); read unless the rows are gradients.
            targets: right answers, shape (m,), or `None`.
            generator: of every random choice, on the device of the answers.
        """
        if self.rows_are_gradients:
            return targets
        if self.task == "classification":
            shares = torch.softmax(as_logits(dense.detach()), dim=-1)
            drawn = torch.multinomial(shares.flatten(0, -2), 1, generator=generator)
            return drawn.reshape(shares.shape[:-1])
        noise = torch.randn(
            dense.shape, generator=generator, device=dense.device, dtype=torch.float32
        )
        return dense.detach().float() + noise

    def row_loss(self, answers: Any, targets: Any) -> Any:
        """The mean loss of a mini-batch, of drawn targets: a scalar."""
        if self.task == "classification":
            scores = as_logits(answers).reshape(-1, answers.shape[-1])
            return functional.cross_entropy(scores, targets.reshape(-1))
        return _half_square(answers, targets)

    def real_loss(self, answers: Any, targets: Any, dense: Any) -> Any:
        """The mean loss that counts: of the labels, or the distance to the dense model.

        Args:
            answers: shape (m, ...).
            targets: right answers, or `None`.
            dense: answers of the dense model; read without labels only.
        """
        if self.labelled:
            return self.row_loss(answers, targets)
        if self.task == "classification":
            own = torch.log_softmax(as_logits(answers), dim=-1).reshape(-1, answers.shape[-1])
            other = torch.log_softmax(as_logits(dense), dim=-1).reshape(-1, answers.shape[-1])
            return functional.kl_div(own, other, reduction="batchmean", log_target=True)
        return _half_square(answers, dense)


def _half_square(answers: Any, targets: Any) -> Any:
    apart = answers.float().reshape(len(answers), -1) - targets.float().reshape(len(answers), -1)
    return 0.5 * apart.square().sum(dim=1).mean()
