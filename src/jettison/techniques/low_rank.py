"""Low rank: two thin layers in place of one, chosen by what the layer is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jettison.graphs.torch_low_rank import Factored

FACTORED = ("Conv2d", "Linear")
MOST = 0.8
"""The largest share of the products that is removed."""

FIRST = 0.2
"""The share that is removed first."""


class LowRank:
    """Factors linear layers and convolutions by a singular value decomposition of their answers.

    Settings: `removed` (share of all multiply-accumulates), or `energy` (above 0: each layer
    keeps this share of its answer's variance instead); `weighed` (errors count by the gradient
    of the loss instead of as shares of each layer's own variance), `round_to` (ranks are multiples of it; 0: what
    this machine's kernels like, as measured), `layers` (patterns of names), and a short training
    run: `fine_tune_epochs` (0: none), `fine_tune_target`, `learning_rate`, `optimizer`,
    `batch_size`, `temperature`. A layer is replaced only where that saves products.
    """

    name: ClassVar[str] = "low_rank"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Searched: `removed` and `fine_tune_epochs`."""
        from jettison.training.settings import recovery_ranges

        return {
            "removed": FloatRange(0.05, MOST, FIRST),
            "energy": Choices((0.0,), 0.0, others=True),
            "weighed": Choices((False,), default=False, others=True),
            "round_to": Choices((0,), 0, others=True),
            "layers": Choices(("",), "", others=True),
            **recovery_ranges(),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's law over the layers that can be factored."""
        from jettison.training.settings import fixed_batch_refusal

        if refusal := fixed_batch_refusal(self.name, model):
            return refusal
        layers = [layer for layer in profile.layers if layer.operator in FACTORED]
        if profile.layers and not layers:
            return Refusal(
                self.name, f"no layer can be made of two thin ones ({', '.join(FACTORED)})"
            )
        timed = any(layer.time_share is not None for layer in profile.layers)
        share = min(1.0, profile.time_share_of(*FACTORED)) if timed else 1.0
        stored = profile.bytes_share_of(*FACTORED) if profile.layers else 1.0
        told = (
            f"{share:.0%} of the model's time lies in layers that can be factored"
            if timed
            else "how the time divides over layers is not known here"
        )
        return Potential(
            1.0 / (1.0 - MOST * share),
            max(1.0 - stored * MOST, 1e-3),
            f"{told}, and at most {MOST:.0%} of their products go; each layer that is replaced "
            "becomes two, which costs a part of that",
            first_try=1.0 / (1.0 - FIRST * share),
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Factors layers of a copy, trains it if asked to, and saves it as a program.

        Raises:
            NothingChanged: if no layer can be replaced with fewer products.
            CandidateFailed: for settings out of range, or gradients that are zero or not finite.
        """
        from jettison.graphs.torch_examples import FittingExamples
        from jettison.graphs.torch_macs import total_macs
        from jettison.training.recovery import mixed_batches, recover
        from jettison.training.settings import RecoverySettings

        _check(settings)
        wish = RecoverySettings.of(settings)
        module, original = bench.open(model).eval(), bench.open(model).eval()
        examples = FittingExamples(fitting, classes=model.task == "classification")
        batches = mixed_batches(examples, fitting, 64)
        step = _step(settings, bench, module)
        with running():
            ranks, layers = _replaced(module, settings, (model, fitting, batches), step)
            trained = recover(module, original, model, fitting, wish) if wish.epochs else None
        saved = bench.save(module, "torch_program", model)
        first = {name: tensor[:4] for name, tensor in batches[0].items()}
        before, after = total_macs(original, first), total_macs(module, first)
        told = (
            f"{len(ranks)} of {layers} layers replaced by two of rank {min(ranks)} to "
            f"{max(ranks)}; {before:,} to {after:,} multiply-accumulates a row"
        )
        change = Change(
            told + (f"; {trained.told}" if trained else ""),
            operators=len(ranks),
            weights=_parameters(original) - _parameters(module),
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _replaced(
    module: Any, settings: Settings, given: tuple[Model, FittingData, list[Any]], step: int
) -> tuple[list[int], int]:
    """Replaces layers; gives the ranks, and how many layers could have been replaced."""
    from jettison.graphs.torch_batchnorm import recalibrate
    from jettison.graphs.torch_low_rank import replace
    from jettison.graphs.torch_macs import layer_macs

    batches = given[2]
    first = {name: tensor[:4] for name, tensor in batches[0].items()}
    made = _factored(module, settings, given)
    ranks = _ranks(made, layer_macs(module, first), settings, step)
    chosen = [(one, rank) for one, rank in zip(made, ranks, strict=True) if rank is not None]
    if not chosen:
        raise NothingChanged(
            f"none of {len(made)} layers can be made of two thin ones with fewer products at these "
            "settings; remove more, or keep less energy"
        )
    for one, rank in chosen:
        replace(module, one, rank)
    recalibrate(module, batches)
    return [rank for _, rank in chosen], len(made)


def _parameters(module: Any) -> int:
    return sum(int(parameter.numel()) for parameter in module.parameters())


def _check(settings: Settings) -> None:
    removed, energy = float(settings.get("removed", 0.2)), float(settings.get("energy", 0.0))
    if not 0.0 < removed < 1.0:
        raise CandidateFailed(f"`removed` must be above 0 and below 1; got {removed}")
    if not 0.0 <= energy < 1.0:
        raise CandidateFailed(
            f"`energy` must be 0 (then `removed` counts) or a share below 1; got {energy}"
        )
    if int(settings.get("round_to", 0)) < 0:
        raise CandidateFailed(f"`round_to` must be 0 or above; got {settings['round_to']}")


def _step(settings: Settings, bench: Workbench, module: Any) -> int:
    from torch import nn

    from jettison.graphs.width_probe import measured_step

    if step := int(settings.get("round_to", 0)):
        return step
    convolves = any(isinstance(part, nn.Conv2d) for part in module.modules())
    return measured_step("convolution" if convolves else "matmul", bench.cache, bench.device)


def _factored(
    module: Any, settings: Settings, given: tuple[Model, FittingData, list[Any]]
) -> list[Factored]:
    from jettison.graphs.torch_low_rank import factor, output_weights, thin_layers
    from jettison.graphs.torch_row_loss import row_loss_of

    model, fitting, batches = given
    layers = thin_layers(module, str(settings.get("layers", "")))
    weights: dict[str, Any] = {}
    if bool(settings.get("weighed", False)):
        weights = output_weights(module, layers, batches, row_loss_of(model, fitting))
    return factor(module, layers, batches, weights)


def _ranks(
    made: Sequence[Factored], macs: Mapping[str, int], settings: Settings, step: int
) -> tuple[int | None, ...]:
    from jettison.numerics.rank_allocation import RankOptions, ranks_by_energy, ranks_for_cost

    energy, weighed = float(settings.get("energy", 0.0)), bool(settings.get("weighed", False))
    options = []
    for one in made:
        full = float(macs.get(one.layer.name, 0))
        lost = one.lost.cpu().numpy()
        options.append(
            RankOptions(
                # Without gradients, a layer's error counts as a share of its own variance.
                lost if weighed else lost / max(float(lost[0]), 1e-30),
                full * one.unit_cost / one.full_cost,
                full,
                step,
            )
        )
    if energy:
        return ranks_by_energy(options, energy)
    whole = sum(macs.values())
    fixed = whole - sum(option.full_cost for option in options)
    return ranks_for_cost(options, (1.0 - float(settings.get("removed", 0.2))) * whole - fixed)
