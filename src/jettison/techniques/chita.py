"""CHITA: sets weights to zero by the curvature of the loss, and corrects those that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import (
    Change,
    Choices,
    FloatRange,
    IntegerRange,
    Potential,
    Ranges,
    Refusal,
)
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged

if TYPE_CHECKING:
    from jettison.graphs.torch_layers import PrunableLayer
    from jettison.graphs.torch_subject import RowPlan, TorchSubject
    from jettison.numerics.chita import Budget, Plan, Stage

PATTERNS = ("unstructured", "2:4", "4:8")
BUDGETS = ("global", "per_layer")
SCHEDULES = ("exponential", "polynomial", "linear", "geometric", "constant")
RELATIVE_RIDGES = (1e2, 1e1, 1.0, 1e-1)
"""Ridges that are tried when none is given, in multiples of the mean curvature."""

HELD_OUT = 0.2
"""Share of the fitting rows that only the held-out loss reads."""

MOST_ROWS = 1000
MOST_SAMPLES = 16
RADIUS = 3.0
OUTER_SHARE = 0.1
"""First and last layers with less than this share of the weights stay dense under n:m."""


class Chita:
    """Prunes an `nn.Module` in stages, from Fisher rows of the fitting data.

    Settings: `sparsity` (share of zeros; n:m patterns bring their own), `pattern`, `stages`,
    `budget` (`global` or `per_layer`), `schedule`, `ridge` (0: chosen on held-out fitting rows),
    `first_order` (uses the gradient of the loss, so that each stage is a training step too),
    `layers` (patterns of names), `rows` (Fisher rows; 0: as many as the data allow), `block`
    (weights in a block that is solved apart; 0: all at once) and `memory_mb` (for the rows).
    """

    name: ClassVar[str] = "chita"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset({"sparse"})
    removes: ClassVar[frozenset[str]] = frozenset({"dense"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `sparsity`, `pattern` and `stages`; the others are there to be fixed."""
        return {
            "sparsity": FloatRange(0.3, 0.95, 0.5),
            "pattern": Choices(PATTERNS, PATTERNS[0], others=True),
            "stages": IntegerRange(1, 20, 8),
            "budget": Choices((BUDGETS[0],), BUDGETS[0], others=True),
            "schedule": Choices((SCHEDULES[0],), SCHEDULES[0], others=True),
            "ridge": Choices((0.0,), 0.0, others=True),
            "first_order": Choices((True,), default=True, others=True),
            "layers": Choices(("",), "", others=True),
            "rows": Choices((0,), 0, others=True),
            "block": Choices((0,), 0, others=True),
            "memory_mb": Choices((2048,), 2048, others=True),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """None by itself: zeros are stored and multiplied like any other number."""
        return Potential(
            1.0,
            1.0,
            "a mask of zeros makes nothing faster or smaller on a runtime with dense kernels: "
            "zeros are stored and multiplied like other numbers. It pays where the runtime skips "
            "zeros, or where the file is compressed",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Prunes a copy of the module and saves it in the format that it came in.

        Raises:
            NothingChanged: if there is no weight to prune, or none was set to zero.
            CandidateFailed: for settings out of range, gradients that are zero or not finite,
                too few rows, or rows that don't fit; says what to do.
        """
        from jettison.graphs.torch_layers import prunable_layers
        from jettison.numerics.chita import prune

        wish = _Wish.of(settings)
        module = bench.open(model).eval()
        layers = prunable_layers(module, wish.layers)
        layers = _without_outer(layers) if wish.leaves_outer else layers
        for parameter in module.parameters():
            parameter.requires_grad_(requires_grad=False)
        for layer in layers:
            layer.module.weight.requires_grad_()
        subject, rows = _subject(module, layers, wish, (model, fitting))
        before = int((subject.read() == 0).sum())
        with running():
            mask, stages = prune(subject, _plan(wish, layers, subject))
        zeros = int((~mask).sum())
        if zeros <= before:
            raise NothingChanged(
                f"no further weight of {len(mask):,} was set to zero: {before:,} were zero before, "
                f"and `sparsity` {wish.sparsity:g} asks for {zeros:,}"
            )
        saved = bench.save(module, model.artifact.format, model)
        told = _told(wish, (zeros, len(mask), len(layers)), (subject.rows_possible, rows), stages)
        change = Change(told, operators=len(layers), weights=zeros)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


@dataclass(frozen=True, slots=True)
class _Wish:
    """The settings, checked."""

    sparsity: float
    pattern: tuple[int, int] | None
    stages: int
    budget: str
    schedule: str
    ridge: float
    first_order: bool
    layers: str
    rows: int
    block: int
    memory_bytes: int

    @property
    def leaves_outer(self) -> bool:
        return self.pattern is not None and not self.layers

    @classmethod
    def of(cls, settings: Settings) -> _Wish:
        from jettison.numerics.masks import check_sparsity, pattern_of

        pattern = pattern_of(str(settings.get("pattern", PATTERNS[0])))
        budget = str(settings.get("budget", BUDGETS[0]))
        if budget not in BUDGETS:
            raise CandidateFailed(f"`budget` must be one of {', '.join(BUDGETS)}; got {budget!r}")
        sparsity = float(settings.get("sparsity", 0.5))
        wish = cls(
            sparsity=check_sparsity(1.0 - pattern[0] / pattern[1] if pattern else sparsity),
            pattern=pattern,
            stages=int(settings.get("stages", 8)),
            budget=budget,
            schedule=str(settings.get("schedule", SCHEDULES[0])),
            ridge=float(settings.get("ridge", 0.0)),
            first_order=bool(settings.get("first_order", True)),
            layers=str(settings.get("layers", "")),
            rows=int(settings.get("rows", 0)),
            block=int(settings.get("block", 0)),
            memory_bytes=int(settings.get("memory_mb", 2048)) * 2**20,
        )
        for name in ("ridge", "rows", "block"):
            if getattr(wish, name) < 0:
                raise CandidateFailed(
                    f"`{name}` must be 0 (chosen here) or above; got {getattr(wish, name)}"
                )
        return wish


def _without_outer(layers: Sequence[PrunableLayer]) -> tuple[PrunableLayer, ...]:
    """Leaves the small first and last layers out, which lose most and gain least."""
    from jettison.graphs.torch_layers import outer_layers

    outer, whole = outer_layers(layers), sum(layer.count for layer in layers)
    kept = tuple(
        layer for layer in layers if layer.name not in outer or layer.count >= OUTER_SHARE * whole
    )
    return kept or tuple(layers)


def _subject(
    module: Any, layers: Sequence[PrunableLayer], wish: _Wish, given: tuple[Model, FittingData]
) -> tuple[TorchSubject, int]:
    """The subject, and how many rows it was asked for."""
    import torch

    from jettison.graphs.torch_examples import FittingExamples
    from jettison.graphs.torch_subject import TorchSubject
    from jettison.numerics.curvature import Objective

    model, fitting = given
    examples = FittingExamples(fitting, classes=model.task == "classification")
    order = torch.Generator().manual_seed(fitting.seed)
    shuffled = torch.randperm(examples.n, generator=order)
    held_out = shuffled[: round(HELD_OUT * examples.n)]
    labels = fitting.labels
    labelled = labels is not None and labels.targets is not None and model.task != "embedding"
    plan = _rows(wish, examples.n - len(held_out), fitting.seed)
    subject = TorchSubject(
        module, layers, Objective(model.task, labelled), examples, held_out, plan
    )
    return subject, wish.rows or subject.rows_possible


def _rows(wish: _Wish, examples: int, seed: int) -> RowPlan:
    from jettison.graphs.torch_subject import RowPlan
    from jettison.numerics.curvature import Storage

    count = wish.rows or min(MOST_ROWS, examples)
    samples = max(1, min(MOST_SAMPLES, examples // count))
    return RowPlan(
        count,
        samples,
        first_order=1.0 if wish.first_order else 0.0,
        storage=Storage(limit_bytes=wish.memory_bytes),
        in_blocks=wish.block > 0,
        seed=seed,
    )


def _plan(wish: _Wish, layers: Sequence[PrunableLayer], subject: TorchSubject) -> Plan:
    from jettison.graphs.torch_subject import n_of_m_budget
    from jettison.numerics.chita import (
        LargestOverall,
        LargestPerLayer,
        Plan,
        blocks_of,
        keeps,
    )

    vector = subject.weights

    def budget(sparsity: float) -> Budget:
        if wish.pattern is not None:
            return n_of_m_budget(layers, *wish.pattern)
        if wish.budget == "global":
            return LargestOverall(keeps((vector.size,), sparsity)[0])
        sizes = [part.stop - part.start for part in vector.slices]
        return LargestPerLayer(vector.slices, keeps(sizes, sparsity))

    def ridges(unit: float) -> tuple[float, ...]:
        if wish.ridge:
            return (wish.ridge,)
        return tuple(unit * factor for factor in RELATIVE_RIDGES)

    return Plan(
        sparsity=wish.sparsity,
        budget=budget,
        ridges=ridges,
        stages=wish.stages,
        schedule="constant" if wish.pattern is not None else wish.schedule,
        blocks=blocks_of(vector.slices, wish.block) if wish.block else (),
        radius=1.0 if wish.ridge else RADIUS,
    )


def _told(
    wish: _Wish, counts: tuple[int, int, int], rows: tuple[int, int], stages: Sequence[Stage]
) -> str:
    zeros, whole, layers = counts
    used, asked = rows
    pattern = "unstructured" if wish.pattern is None else "{}:{}".format(*wish.pattern)
    fewer = f" ({asked:,} were asked for)" if used < asked else ""
    last = stages[-1]
    return (
        f"{zeros:,} of {whole:,} weights in {layers} layers set to zero ({zeros / whole:.2%}, "
        f"{pattern}) in {len(stages)} stages from {used:,} Fisher rows each{fewer}; last ridge "
        f"{last.ridge:.2g}, held-out loss {last.loss - sum(s.actual for s in stages):.4g} to "
        f"{last.loss:.4g}"
    )
