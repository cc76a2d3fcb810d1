"""Recovery: the weights that a mask left are trained on the fitting rows, and zeros stay zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

if TYPE_CHECKING:
    from jettison.training.settings import RecoverySettings

EPOCHS = 5


class Recover:
    """Trains a pruned model on the fitting rows; its zeros stay zero.

    It asks for a model that is `sparse`, so it can stand only after a mask: techniques that change
    the structure train by themselves. It learns the answers of the original model, the one that
    the recipe began with, which needs no labels; or the labels; or both. Settings:
    `fine_tune_epochs`, `fine_tune_target`, `learning_rate`, `optimizer`, `batch_size` and
    `temperature`.
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

        return recovery_ranges((2, EPOCHS, 20), EPOCHS)

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives quality back."""
        from jettison.training.settings import fixed_batch_refusal

        if refusal := fixed_batch_refusal(self.name, model):
            return refusal
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
            CandidateFailed: for settings out of range, labels that are asked for and not there, no
                original to learn from, or a loss that stops being finite; says what to do.
        """
        from jettison.training.recovery import recover
        from jettison.training.settings import RecoverySettings

        wish = RecoverySettings.of(settings, EPOCHS)
        if wish.epochs < 1:
            raise CandidateFailed(
                f"`fine_tune_epochs` of `{self.name}` must be at least 1; got {wish.epochs}"
            )
        module = bench.open(model).eval()
        with running():
            trained = recover(module, self._teacher(wish, bench), model, fitting, wish)
        saved = bench.save(module, model.artifact.format, model)
        zeros = sum(int((weight == 0).sum()) for weight in module.parameters())
        moved = sum(int(weight.numel()) for weight in module.parameters()) - zeros
        change = Change(f"{trained.told}; {zeros:,} zeros stay zero", weights=moved)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))

    def _teacher(self, wish: RecoverySettings, bench: Workbench) -> Any:
        """The original, where it is to be learned from; its answers are those before the mask."""
        if wish.target == "labels":
            return None
        if bench.original is None or "torch" not in bench.original.traits:
            raise CandidateFailed(
                f"`{self.name}` learns from the original, which is not at hand here as a PyTorch "
                "model; set `fine_tune_target` to `labels`"
            )
        return bench.open(bench.original).eval()
