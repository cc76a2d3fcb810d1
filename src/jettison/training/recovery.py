"""Trains a changed model on the fitting rows: the one path for every technique that does so.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from typing import Any

from jettison.domain.model import Model
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.torch_batchnorm import recalibrate
from jettison.graphs.torch_examples import FittingExamples
from jettison.graphs.torch_row_loss import check_scores, mixed_order
from jettison.training.loop import Trained, TrainingPlan, train, zero_masks
from jettison.training.objectives import (
    CrossEntropy,
    Distillation,
    HiddenCosine,
    Objective,
    SquaredError,
    Weighted,
)
from jettison.training.settings import RecoverySettings

__all__ = ["mixed_batches", "objective_for", "prediction_place", "recover"]


def prediction_place(model: Model) -> int:
    """Where the output that quality reads stands in the module's answer."""
    return [spec.name for spec in model.outputs].index(model.prediction)


def objective_for(
    model: Model, fitting: FittingData, original: Any, wish: RecoverySettings
) -> Objective:
    """What training minimises for this task.

    Class scores learn by cross entropy and by the divergence from the original, values by squared
    error, embeddings by the cosine to the original's.

    Raises:
        CandidateFailed: if labels are asked for where there are none, or the prediction has no
            gradient.
    """
    check_scores(model)
    place = prediction_place(model)
    labels = fitting.labels
    labelled = labels is not None and labels.targets is not None and model.task != "embedding"
    if wish.target != "original" and not labelled:
        raise CandidateFailed(
            f"`fine_tune_target` is {wish.target!r}, but "
            + (
                "embeddings have no labels"
                if model.task == "embedding"
                else "the fitting rows have no labels"
            )
            + "; use `original`, which learns the answers of the original model"
        )
    if model.task == "embedding":
        return HiddenCosine(original, place=place)
    if model.task == "regression":
        # With labels at hand, squared error reads them; `_Unlabelled` hides them.
        imitate: Objective = _Unlabelled(SquaredError(original, place))
        learn: Objective = SquaredError(original, place)
    else:
        imitate = Distillation(original, wish.temperature, place)
        learn = CrossEntropy(place)
    if wish.target == "original":
        return imitate
    return learn if wish.target == "labels" else Weighted(((0.5, learn), (0.5, imitate)))


def recover(
    module: Any, original: Any, model: Model, fitting: FittingData, wish: RecoverySettings
) -> Trained:
    """Trains a changed module in place; weights that are zero stay zero.

    Args:
        module: the changed model, in eval mode.
        original: the model before the change, which is not changed; `None` for labels alone.
        model: describes both.
        fitting: rows to learn from.
        wish: how; at least one epoch.

    Returns:
        The losses. BatchNorm statistics are recomputed on the fitting rows at the end.

    Raises:
        CandidateFailed: if the loss stops being finite, or labels are asked for that are not there.
    """
    examples = FittingExamples(fitting, classes=model.task == "classification")
    objective = objective_for(model, fitting, original, wish)
    plan = TrainingPlan(
        epochs=wish.epochs,
        learning_rate=wish.learning_rate,
        optimizer=wish.optimizer,
        schedule="one_cycle",
        batch_size=wish.batch_size,
        weight_decay=0.0,
        seed=fitting.seed,
    )
    done = train(module, examples, objective, plan, zero_masks(module))
    recalibrate(module, mixed_batches(examples, fitting, 64))
    return done


def mixed_batches(examples: FittingExamples, fitting: FittingData, size: int) -> list[Any]:
    """All fitting rows in `mixed_order`, in batches of `size` rows; a small rest is left out."""
    parts = mixed_order(fitting).split(size)
    return [
        examples.batch(part) for n, part in enumerate(parts) if n == 0 or len(part) >= size // 2
    ]


class _Unlabelled:
    """An objective that is not shown the labels."""

    def __init__(self, inner: SquaredError) -> None:
        self._inner = inner

    def __call__(self, module: Any, inputs: Any, targets: Any) -> Any:
        """Runs the module."""
        return self._inner(module, inputs, None)

    def of_answer(self, answer: Any, inputs: Any, targets: Any) -> Any:
        """The same for an answer that is there already."""
        return self._inner.of_answer(answer, inputs, None)
