"""The loss of rows whose gradients tell what a channel is worth, with labels or without.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from typing import Any

import torch

from jettison.domain.model import Model
from jettison.domain.splits import FittingData
from jettison.graphs.torch_gates import RowLoss
from jettison.numerics.curvature import Objective

__all__ = ["mixed_order", "row_loss_of"]


def mixed_order(fitting: FittingData) -> Any:
    """A permutation of the fitting rows, shape (n,), the same for the same seed.

    Rows may come sorted by class, and a batch of one class has BatchNorm statistics that no mixed
    batch has.
    """
    return torch.randperm(fitting.rows.n, generator=torch.Generator().manual_seed(fitting.seed))


def row_loss_of(model: Model, fitting: FittingData) -> RowLoss:
    """Gives the sum of the losses of some fitting rows, counted in `mixed_order`.

    Where the fitting rows have class labels, it is their cross entropy. Without labels, targets
    are drawn from the model's own answers, so that the squared gradients are its true Fisher
    information (see `jettison.numerics.curvature.Objective`).
    """
    labels = fitting.labels
    known = None if labels is None else labels.targets
    objective = Objective(model.task, known is not None and model.task == "classification")
    place = [spec.name for spec in model.outputs].index(model.prediction)
    targets = (
        torch.from_numpy(known.astype("int64"))[mixed_order(fitting)]
        if objective.labelled and known is not None
        else None
    )

    def loss(answer: Any, rows: slice) -> Any:
        scores = answer[place] if isinstance(answer, tuple) else answer
        generator = torch.Generator(scores.device).manual_seed(
            fitting.seed * 1_000_003 + rows.start
        )
        given = None if targets is None else targets[rows].to(scores.device)
        drawn = objective.draw(scores.detach(), given, generator)
        return objective.row_loss(scores, drawn) * len(scores)

    return loss
