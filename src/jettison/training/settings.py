"""The settings of a short training run after a change, and their ranges. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from jettison.domain.model import Model
from jettison.domain.recipe import Choices, Range, Refusal
from jettison.domain.record import Settings
from jettison.errors import CandidateFailed

__all__ = ["RecoverySettings", "fixed_batch_refusal", "recovery_ranges"]

TARGETS = ("original", "labels", "both")
LEARNING_RATE = 3e-3
BATCH = 32


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How a changed model is trained.

    Attributes:
        epochs: passes over the fitting rows; 0 trains nothing.
        target: learn the `original`'s answers (no labels needed), the `labels`, or `both`.
        learning_rate: the largest one of the one-cycle schedule.
        optimizer: `adamw` or `sgd`.
        batch_size: rows of a step.
        temperature: of the original's class probabilities.
    """

    epochs: int
    target: str = TARGETS[0]
    learning_rate: float = LEARNING_RATE
    optimizer: str = "adamw"
    batch_size: int = BATCH
    temperature: float = 2.0

    @classmethod
    def of(cls, settings: Settings, epochs: int = 0) -> RecoverySettings:
        """Reads what `recovery_ranges` names.

        Args:
            settings: of a technique.
            epochs: the default of `fine_tune_epochs`.

        Raises:
            CandidateFailed: for a value outside of what is allowed.
        """
        wish = cls(
            epochs=int(settings.get("fine_tune_epochs", epochs)),
            target=str(settings.get("fine_tune_target", TARGETS[0])),
            learning_rate=float(settings.get("learning_rate", LEARNING_RATE)),
            optimizer=str(settings.get("optimizer", "adamw")),
            batch_size=int(settings.get("batch_size", BATCH)),
            temperature=float(settings.get("temperature", 2.0)),
        )
        if wish.epochs < 0:
            raise CandidateFailed(
                f"`fine_tune_epochs` must be 0 (no training) or more; got {wish.epochs}"
            )
        if wish.target not in TARGETS:
            raise CandidateFailed(
                f"`fine_tune_target` must be one of {', '.join(TARGETS)}; got {wish.target!r}"
            )
        if not wish.temperature > 0:
            raise CandidateFailed(f"`temperature` must be above 0; got {wish.temperature}")
        return wish


def fixed_batch_refusal(technique: str, model: Model) -> Refusal | None:
    """Why a technique that runs batches of its own can't work on a model; `None` if it can."""
    if "fixed-batch" not in model.traits:
        return None
    return Refusal(
        technique,
        "this model takes batches of one size only, and this technique needs batches of its own: "
        "export it again with a free batch dimension",
    )


def recovery_ranges(epochs: tuple[int, ...] = (0, 5, 20), first: int = 5) -> dict[str, Range]:
    """The open settings of `RecoverySettings`: epochs are searched, the rest is there to be fixed.

    Args:
        epochs: what the search tries.
        first: of these, the one to try first.
    """
    return {
        "fine_tune_epochs": Choices(epochs, first, others=True),
        "fine_tune_target": Choices((TARGETS[0],), TARGETS[0], others=True),
        "learning_rate": Choices((LEARNING_RATE,), LEARNING_RATE, others=True),
        "optimizer": Choices(("adamw",), "adamw", others=True),
        "batch_size": Choices((BATCH,), BATCH, others=True),
        "temperature": Choices((2.0,), 2.0, others=True),
    }
