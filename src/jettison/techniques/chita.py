"""CHITA: sets weights to zero by the curvature of the loss, and corrects those that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, IntegerRange, Potential, Range, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.mask_technique import UNSTRUCTURED, MaskTechnique

if TYPE_CHECKING:
    from jettison.graphs.torch_masking import Masking
    from jettison.graphs.torch_subject import RowPlan, TorchSubject
    from jettison.numerics.chita import Budget, Plan, Stage

RELATIVE_RIDGES = (1e2, 1e1, 1.0, 1e-1)
"""Ridges that are tried when none is given, in multiples of the mean curvature."""

NO_CORRECTION = 1e6
"""Tried in blocks besides: so few rows may say so little of a block that correcting it for them
ruins the model, and then the mask alone stays."""

HELD_OUT = 0.2
"""Share of the fitting rows that only the held-out loss reads."""

MOST_ROWS = 1000
MOST_SAMPLES = 16
RADIUS = 3.0
STAGES = 8
STEPS = 20


class Chita(MaskTechnique):
    """Prunes a PyTorch module in stages, from Fisher rows of the fitting data.

    Settings: those of a mask (`sparsity`, `pattern`, `keep_outer`, `layers`), `stages`, `budget`
    (`global` or `per_layer`), `schedule`, `ridge` (0: chosen on held-out fitting rows),
    `first_order` (uses the gradient of the loss, so that each stage is a training step too),
    `search` (rounds of the search for a better support than the largest weights, in each stage),
    `rows` (Fisher rows; 0: as many as the data allow), `block` (weights in a block that is
    solved apart; 0: all at once), `saliency` (in blocks, weights stay by size and curvature, not
    by size alone) and `memory_mb` (for the rows).
    """

    name: ClassVar[str] = "chita"
    # Statistics are recomputed in every stage, where that lowers the loss.
    recalibrates: ClassVar[bool] = False

    def own_ranges(self) -> Mapping[str, Range]:
        """Searched: `stages`; the others are there to be fixed."""
        return {
            "stages": IntegerRange(1, 20, STAGES),
            "budget": Choices(("global",), "global", others=True, when=UNSTRUCTURED),
            "schedule": Choices(("exponential",), "exponential", others=True, when=UNSTRUCTURED),
            "ridge": Choices((0.0,), 0.0, others=True),
            "first_order": Choices((True,), default=True, others=True),
            "search": Choices((1,), 1, others=True),
            "rows": Choices((0,), 0, others=True),
            "block": Choices((0,), 0, others=True),
            "saliency": Choices((True,), default=True, others=True),
            "memory_mb": Choices((2048,), 2048, others=True),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """As for every mask, where mini-batches can be formed."""
        if "fixed-batch" in model.traits:
            return Refusal(
                self.name,
                "this model takes batches of one size only, and curvature needs mini-batches of "
                "its own: export it again with a free batch dimension",
            )
        return super().potential(model, profile)

    def prune(self, piece: Masking, settings: Settings, fitting: FittingData) -> str:
        """Prunes in stages, each from Fisher rows at the weights that the last one left.

        Raises:
            CandidateFailed: for settings out of range, gradients that are zero or not finite, or
                rows that don't fit; says what to do.
        """
        from jettison.numerics.chita import prune

        wish = _Wish.of(settings)
        for parameter in piece.module.parameters():
            parameter.requires_grad_(requires_grad=False)
        for layer in piece.layers:
            layer.module.weight.requires_grad_()
        subject = _subject(piece, wish, fitting)
        with running():
            _, stages = prune(subject, _plan(piece, wish, subject))
        return _how(wish, subject, stages)


@dataclass(frozen=True, slots=True)
class _Wish:
    """The settings beside those of a mask, checked."""

    stages: int
    budget: str
    schedule: str
    ridge: float
    first_order: bool
    search: int
    rows: int
    block: int
    saliency: bool
    memory_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> _Wish:
        budget = str(settings.get("budget", "global"))
        if budget not in ("global", "per_layer"):
            raise CandidateFailed(f"`budget` must be `global` or `per_layer`; got `{budget}`")
        for name in ("ridge", "search", "rows", "block"):
            if float(settings.get(name, 0)) < 0:
                raise CandidateFailed(f"`{name}` must be 0 or above; got {settings[name]}")
        if int(settings.get("memory_mb", 1)) < 1:
            raise CandidateFailed(f"`memory_mb` must be at least 1; got {settings['memory_mb']}")
        return cls(
            stages=int(settings.get("stages", STAGES)),
            budget=budget,
            schedule=str(settings.get("schedule", "exponential")),
            ridge=float(settings.get("ridge", 0.0)),
            first_order=bool(settings.get("first_order", True)),
            search=int(settings.get("search", 1)),
            rows=int(settings.get("rows", 0)),
            block=int(settings.get("block", 0)),
            saliency=bool(settings.get("saliency", True)),
            memory_bytes=int(settings.get("memory_mb", 2048)) * 2**20,
        )


def _subject(piece: Masking, wish: _Wish, fitting: FittingData) -> TorchSubject:
    import torch

    from jettison.graphs.torch_examples import FittingExamples
    from jettison.graphs.torch_row_loss import check_scores, objective_of
    from jettison.graphs.torch_subject import TorchSubject

    check_scores(piece.model)
    task = piece.model.task
    examples = FittingExamples(fitting, classes=task == "classification")
    order = torch.Generator().manual_seed(fitting.seed)
    held_out = torch.randperm(examples.n, generator=order)[: round(HELD_OUT * examples.n)]
    labels = fitting.labels
    labelled = labels is not None and labels.targets is not None and task != "embedding"
    plan = _row_plan(piece, wish, examples.n - len(held_out), fitting.seed)
    objective = objective_of(piece.model, labelled=labelled)
    return TorchSubject(piece.module, piece.layers, objective, examples, held_out, plan)


def _row_plan(piece: Masking, wish: _Wish, examples: int, seed: int) -> RowPlan:
    from jettison.graphs.torch_subject import RowPlan
    from jettison.numerics.curvature import Storage

    count = wish.rows or max(1, min(MOST_ROWS, examples))
    outputs = [spec.name for spec in piece.model.outputs]
    return RowPlan(
        count,
        max(1, min(MOST_SAMPLES, examples // count)),
        first_order=1.0 if wish.first_order else 0.0,
        storage=Storage(limit_bytes=wish.memory_bytes),
        block=wish.block,
        seed=seed,
        output=outputs.index(piece.model.prediction),
    )


def _plan(piece: Masking, wish: _Wish, subject: TorchSubject) -> Plan:
    from jettison.graphs.torch_subject import n_of_m_budget
    from jettison.numerics.chita import (
        Effort,
        LargestOverall,
        LargestPerLayer,
        Plan,
        blocks_of,
        keeps,
    )

    vector = subject.weights

    def budget(sparsity: float) -> Budget:
        if piece.pattern is not None:
            return n_of_m_budget(piece.layers, *piece.pattern)
        if wish.budget == "global":
            return LargestOverall(keeps((vector.size,), sparsity)[0])
        sizes = [part.stop - part.start for part in vector.slices]
        return LargestPerLayer(vector.slices, keeps(sizes, sparsity))

    def ridges(unit: float) -> tuple[float, ...]:
        relative = (NO_CORRECTION, *RELATIVE_RIDGES) if wish.block else RELATIVE_RIDGES
        return (wish.ridge,) if wish.ridge else tuple(unit * ridge for ridge in relative)

    return Plan(
        sparsity=piece.sparsity,
        budget=budget,
        ridges=ridges,
        stages=wish.stages,
        schedule="constant" if piece.pattern is not None else wish.schedule,
        effort=Effort(rounds=wish.search, steps=STEPS),
        blocks=blocks_of(vector.slices, wish.block) if wish.block else (),
        saliency=wish.saliency,
        radius=1.0 if wish.ridge else RADIUS,
    )


def _how(wish: _Wish, subject: TorchSubject, stages: Sequence[Stage]) -> str:
    used = subject.rows_possible
    fewer = f" (only {used:,} of {wish.rows:,} asked for, as the data allow)"
    last = stages[-1]
    before = last.loss - sum(stage.actual for stage in stages)
    plural = "" if len(stages) == 1 else "s"
    return (
        f"by the curvature of the loss{'' if subject.labelled else ' to the own answers'}, with "
        f"the others corrected, in {len(stages)} stage{plural} of {used:,} Fisher rows"
        f"{fewer if used < wish.rows else ''}; last ridge {last.ridge:.2g}; loss on held-out "
        f"fitting rows from {before:.4g} to {last.loss:.4g}"
    )
