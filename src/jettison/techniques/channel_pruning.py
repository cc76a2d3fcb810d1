"""Channel pruning: fewer channels, attention heads and hidden neurons, so fewer products."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

if TYPE_CHECKING:
    from jettison.graphs.torch_narrowing import Narrowed, NarrowingPlan

NARROWED = ("Conv1d", "Conv2d", "Conv3d", "Linear")
FOLLOWING = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
"""They work on as many channels as the layer before them."""

RANKINGS = ("global", "even")
UNITS = ("channels", "blocks")

SEARCHED = 2
"""Batches of fitting rows by which blocks are compared."""

MOST = 0.8
"""The largest share of the products that is removed."""

FIRST = 0.2
"""The share that is removed first."""


class ChannelPruning:
    """Removes the channels that the loss feels least, with everything that belongs to them.

    Settings: `unit` (`channels`: also heads and hidden neurons; `blocks`: whole blocks of a
    transformer), `removed` (share of the multiply-accumulates, or of the channels with `of`),
    `importance` (`reconstruction`, `fisher`, `taylor`, `group_l1`, `l1`), `ranking` (`global`, or `even`: the same
    share everywhere), `round_to` (multiple of channels; 0: what this machine's kernels like, as
    measured), `rounds` (of finding importance anew), `refit` (fit the layers that read removed
    channels by least squares), `layers` (patterns of names), and a short training run:
    `fine_tune_epochs` (0: none), `fine_tune_target`, `learning_rate`, `optimizer`, `batch_size`,
    `temperature`.
    """

    name: ClassVar[str] = "channel_pruning"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "torch_pruning")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `removed`, `importance`, `ranking` and `fine_tune_epochs`."""
        from jettison.training.settings import recovery_ranges

        return {
            "removed": FloatRange(0.05, MOST, FIRST),
            "importance": Choices(("reconstruction", "fisher"), "reconstruction", others=True),
            "ranking": Choices(RANKINGS, RANKINGS[0]),
            "unit": Choices((UNITS[0],), UNITS[0], others=True),
            "of": Choices(("macs",), "macs", others=True),
            "round_to": Choices((0,), 0, others=True),
            "rounds": Choices((1,), 1, others=True),
            "refit": Choices((True,), default=True, others=True),
            "layers": Choices(("",), "", others=True),
            **recovery_ranges(),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's law over the layers that can become narrower."""
        from jettison.training.settings import fixed_batch_refusal

        if refusal := fixed_batch_refusal(self.name, model):
            return refusal
        layers = [layer for layer in profile.layers if layer.operator in NARROWED]
        if profile.layers and len(layers) < 2:
            found = f"only `{layers[0].name}` has" if layers else "no layer has"
            return Refusal(
                self.name,
                f"{found} weights of the kinds that can be narrowed ({', '.join(NARROWED)}); "
                "channels can go only between two of them",
            )
        timed = any(layer.time_share is not None for layer in profile.layers)
        share = min(1.0, profile.time_share_of(*NARROWED, *FOLLOWING)) if timed else 1.0
        stored = profile.bytes_share_of(*NARROWED) if profile.layers else 1.0
        told = (
            f"{share:.0%} of the model's time lies in layers that can become narrower"
            if timed
            else "how the time divides over layers is not known here"
        )
        # Half the channels on both sides of a layer are a quarter of its weights.
        smallest = (1.0 - MOST) ** 2
        return Potential(
            1.0 / (1.0 - MOST * share),
            max(1.0 - stored * (1.0 - smallest), 1e-3),
            f"{told}, and at most {MOST:.0%} of their products go; kernels are measured to lose "
            "part of that, since narrow layers are computed less well",
            first_try=1.0 / (1.0 - FIRST * share),
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Narrows a copy of the module, trains it if asked to, and saves it as a program.

        Raises:
            NothingChanged: if no channel can be removed, or none was with these settings.
            CandidateFailed: for settings out of range, gradients that are zero or not finite, or
                a model whose layers can't be traced; says what to do.
        """
        from jettison.graphs.torch_examples import FittingExamples
        from jettison.training.recovery import mixed_batches, recover
        from jettison.training.settings import RecoverySettings

        plan, wish = _plan(settings), RecoverySettings.of(settings)
        module, original = bench.open(model).eval(), bench.open(model).eval()
        examples = FittingExamples(fitting, classes=model.task == "classification")
        batches = mixed_batches(examples, fitting, 64)
        with running():
            if str(settings.get("unit", UNITS[0])) == UNITS[1]:
                told, operators = _shortened(module, plan, model, batches)
            else:
                if not settings.get("round_to", 0):
                    plan = dataclasses.replace(plan, round_to=_step(module, bench))
                told, operators = _narrowed(module, plan, (model, fitting), batches)
            trained = recover(module, original, model, fitting, wish) if wish.epochs else None
        saved = bench.save(module, "torch_program", model)
        change = Change(
            told + (f"; {trained.told}" if trained else ""),
            operators=operators,
            weights=_parameters(original) - _parameters(module),
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _narrowed(
    module: Any, plan: NarrowingPlan, given: tuple[Model, FittingData], batches: list[Any]
) -> tuple[str, int]:
    """Removes channels; gives the log and the number of groups that are narrower now."""
    from jettison.graphs.torch_narrowing import narrow
    from jettison.graphs.torch_row_loss import row_loss_of

    done = narrow(module, plan, batches, row_loss_of(*given))
    return _told(done, plan), sum(was != now for was, now in done.widths.values())


def _shortened(
    module: Any, plan: NarrowingPlan, model: Model, batches: list[Any]
) -> tuple[str, int]:
    """Leaves blocks out; gives the log and their number."""
    from jettison.graphs.torch_depth import shorten
    from jettison.graphs.torch_row_loss import objective_of
    from jettison.training.recovery import prediction_place

    objective = objective_of(model, labelled=False)
    done = shorten(
        module,
        plan.removed,
        batches[:SEARCHED],
        lambda answer, wanted: objective.real_loss(answer, None, wanted),
        prediction_place(model),
    )
    names = ", ".join(f"`{name}`" for name in done.names)
    return (
        f"{len(done.names)} of {done.blocks} blocks left out ({names}); {done.macs_before:,} to "
        f"{done.macs_after:,} multiply-accumulates a row"
    ), len(done.names)


def _plan(settings: Settings) -> NarrowingPlan:
    from jettison.graphs.torch_narrowing import NarrowingPlan

    unit = str(settings.get("unit", UNITS[0]))
    if unit not in UNITS:
        raise CandidateFailed(f"`unit` must be one of {', '.join(UNITS)}; got {unit!r}")
    ranking = str(settings.get("ranking", "global"))
    if ranking not in RANKINGS:
        raise CandidateFailed(f"`ranking` must be one of {', '.join(RANKINGS)}; got {ranking!r}")
    return NarrowingPlan(
        removed=float(settings.get("removed", 0.2)),
        of=str(settings.get("of", "macs")),
        importance=str(settings.get("importance", "reconstruction")),
        evenly=ranking == "even",
        round_to=int(settings.get("round_to", 0)) or 1,
        rounds=int(settings.get("rounds", 1)),
        refit_readers=bool(settings.get("refit", True)),
        layers=str(settings.get("layers", "")),
    )


def _step(module: Any, bench: Workbench) -> int:
    from torch import nn

    from jettison.graphs.width_probe import measured_step

    convolves = any(isinstance(part, nn.Conv2d) for part in module.modules())
    return measured_step("convolution" if convolves else "matmul", bench.cache, bench.device)


def _parameters(module: Any) -> int:
    return sum(int(parameter.numel()) for parameter in module.parameters())


def _told(done: Narrowed, plan: NarrowingPlan) -> str:
    before = sum(was for was, _ in done.widths.values())
    after = sum(now for _, now in done.widths.values())
    refitted = f", {done.refitted} layers fitted again" if done.refitted else ""
    norms = f", {done.recalibrated} BatchNorm layers recalibrated" if done.recalibrated else ""
    return (
        f"{before - after:,} of {before:,} channels and heads in {len(done.widths)} groups removed "
        f"by `{plan.importance}`, in steps of {plan.round_to}; {done.macs_before:,} to "
        f"{done.macs_after:,} multiply-accumulates a row{refitted}{norms}; "
        f"{len(done.spared)} groups can't become narrower"
    )
