"""Private recovery: fine-tuning on the fitting rows by DP-SGD, with the epsilon that it spent."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

DEFAULTS: dict[str, float | int] = {
    "epsilon": 8.0,
    "delta": 1e-5,
    "fine_tune_epochs": 5,
    "learning_rate": 0.1,
    "batch_size": 64,
    "clip": 1.0,
}


class RecoverPrivate:
    """Trains a model on the labels of the fitting rows with differential privacy; zeros stay zero.

    The gradient of each row is clipped and noise is added (DP-SGD), so that the *training of this
    step* is (epsilon, delta)-private with respect to one fitting row more or less. It says nothing
    of what other steps, or whoever trained the original, read of the same rows. Settings:
    `epsilon`, `delta`, `fine_tune_epochs`, `learning_rate`, `batch_size`, `clip`.
    """

    name: ClassVar[str] = "recover_private"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    private: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "opacus")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing is searched: each more trial on the same rows would cost more privacy."""
        return {name: Choices((value,), value, others=True) for name, value in DEFAULTS.items()}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No gain in time or bytes: it gives quality back."""
        from jettison.training.settings import fixed_batch_refusal

        if refusal := fixed_batch_refusal(self.name, model):
            return refusal
        if model.task == "embedding":
            return Refusal(self.name, "embeddings have no labels to learn from")
        return Potential(
            1.0, 1.0, "training changes no shape; it gives quality back without telling of one row"
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Trains a copy and saves it in the format that it came in.

        Raises:
            CandidateFailed: for settings out of range, rows without labels, or a module whose rows
                can't be told apart.
        """
        from jettison.graphs.torch_examples import FittingExamples
        from jettison.training.differential_privacy import PrivatePlan, train_privately
        from jettison.training.loop import zero_masks
        from jettison.training.recovery import objective_for
        from jettison.training.settings import RecoverySettings

        labels = fitting.labels
        if labels is None or labels.targets is None:
            raise CandidateFailed(
                f"`{self.name}` learns from labels, and the fitting rows have none; give data with "
                "a target, or leave this step out"
            )
        asked = {name: settings.get(name, value) for name, value in DEFAULTS.items()}
        plan = PrivatePlan(
            epsilon=float(asked["epsilon"]),
            delta=float(asked["delta"]),
            epochs=int(asked["fine_tune_epochs"]),
            batch_size=min(int(asked["batch_size"]), fitting.rows.n),
            learning_rate=float(asked["learning_rate"]),
            clip=float(asked["clip"]),
            seed=fitting.seed,
            about=f"{model.artifact.digest} {fitting.rows.digest} {fitting.target_digest}",
        )
        module = bench.open(model).eval()
        wish = dataclasses.replace(RecoverySettings(epochs=plan.epochs), target="labels")
        objective = objective_for(model, fitting, module, wish)
        examples = FittingExamples(fitting, classes=model.task == "classification")
        with running():
            spent = train_privately(module, examples, objective, plan, zero_masks(module))
        saved = bench.save(module, model.artifact.format, model)
        told = (
            f"trained by DP-SGD on {spent.rows} rows: this step is ({spent.epsilon:.2f}, "
            f"{spent.delta:g})-differentially private with respect to one of them ({spent.steps} "
            f"steps, clipping {plan.clip:g}, noise {spent.noise:.3f}; Opacus, Renyi accountant); "
            "what other steps and the training of the original read is not covered"
        )
        moved = sum(int((weight != 0).sum()) for weight in module.parameters())
        change = Change(told, weights=moved)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
