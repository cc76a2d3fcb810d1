"""Recovery: the weights that a mask left are trained on the fitting rows, and zeros stay zero."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

EPOCHS = 5


class Recover:
    """Trains a pruned model on the labels of the fitting rows; its zeros stay zero.

    It asks for a model that is `sparse`, so it can stand only after a mask. Techniques that
    change the structure train by themselves, because they still hold the original model; here it
    is gone, so the labels must teach. Settings: `fine_tune_epochs`, `learning_rate`, `optimizer`
    and `batch_size`.
    """

    name: ClassVar[str] = "recover"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "sparse"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `fine_tune_epochs`."""
        from jettison.training.settings import recovery_ranges

        ranges = recovery_ranges((2, EPOCHS, 20), EPOCHS)
        unread = ("fine_tune_target", "temperature")
        return {key: allowed for key, allowed in ranges.items() if key not in unread}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives quality back."""
        if model.task == "embedding":
            return Refusal(self.name, "embeddings have no labels to learn from")
        return Potential(
            1.0,
            1.0,
            "training changes no shape and no zero; it gives back quality that a mask took",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Trains a copy and saves it in the format that it came in.

        Raises:
            CandidateFailed: for settings out of range, rows without labels, or a loss that stops
                being finite; says what to do.
        """
        from jettison.training.recovery import recover
        from jettison.training.settings import RecoverySettings

        wish = dataclasses.replace(RecoverySettings.of(settings, EPOCHS), target="labels")
        if wish.epochs < 1:
            raise CandidateFailed(
                f"`fine_tune_epochs` of `{self.name}` must be at least 1; got {wish.epochs}"
            )
        labels = fitting.labels
        if labels is None or labels.targets is None:
            raise CandidateFailed(
                f"`{self.name}` learns from labels, and the fitting rows have none; give data with "
                "a target, or leave this step out"
            )
        module = bench.open(model).eval()
        with running():
            trained = recover(module, module, model, fitting, wish)
        saved = bench.save(module, model.artifact.format, model)
        zeros = sum(int((weight == 0).sum()) for weight in module.parameters())
        moved = sum(int(weight.numel()) for weight in module.parameters()) - zeros
        change = Change(f"{trained.told}; {zeros:,} zeros stay zero", weights=moved)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
