"""The loss of rows whose gradients tell what a channel is worth, with labels or without.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from typing import Any

import torch

from jettison.domain.model import Model
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.torch_gates import RowLoss
from jettison.numerics.curvature import Objective

__all__ = ["check_scores", "mixed_order", "objective_of", "row_loss_of"]


def mixed_order(fitting: FittingData) -> Any:
    """A permutation of the fitting rows, shape (n,), the same for the same seed.

    Rows may come sorted by class, and a batch of one class has BatchNorm statistics that no mixed
    batch has.
    """
    return torch.randperm(fitting.rows.n, generator=torch.Generator().manual_seed(fitting.seed))


def objective_of(model: Model, *, labelled: bool) -> Objective:
    """The loss of a model's task; that of a token classifier is of its classes, token by token."""
    task = "classification" if model.task == "token-classification" else model.task
    return Objective(task, labelled)


def check_scores(model: Model) -> None:
    """Checks that the prediction has a gradient.

    Raises:
        CandidateFailed: for class numbers.
    """
    spec = next(spec for spec in model.outputs if spec.name == model.prediction)
    if not spec.dtype.startswith("float"):
        raise CandidateFailed(
            f"the prediction `{spec.name}` is {spec.dtype}: class numbers have no gradient; let the "
            "model answer with the scores of its classes"
        )


def row_loss_of(model: Model, fitting: FittingData) -> RowLoss:
    """Gives the sum of the losses of some fitting rows, counted in `mixed_order`.

    Where the fitting rows have class labels, it is their cross entropy. Without labels, targets
    are drawn from the model's own answers, so that the squared gradients are its true Fisher
    information (see `jettison.numerics.curvature.Objective`).

    The loss raises `CandidateFailed` where the prediction has no gradient.
    """
    labels = fitting.labels
    known = None if labels is None else labels.targets
    labelled = known is not None and model.task == "classification"
    objective = objective_of(model, labelled=labelled)
    place = [spec.name for spec in model.outputs].index(model.prediction)
    targets = (
        torch.from_numpy(known.astype("int64"))[mixed_order(fitting)]
        if objective.labelled and known is not None
        else None
    )

    def loss(answer: Any, rows: slice) -> Any:
        check_scores(model)
        scores = answer[place] if isinstance(answer, tuple) else answer
        generator = torch.Generator(scores.device).manual_seed(
            fitting.seed * 1_000_003 + rows.start
        )
        given = None if targets is None else targets[rows].to(scores.device)
        drawn = objective.draw(scores.detach(), given, generator)
        return objective.row_loss(scores, drawn) * len(scores)

    return loss
