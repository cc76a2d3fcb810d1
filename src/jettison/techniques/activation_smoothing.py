"""Activation smoothing (SmoothQuant): outliers move from activations into weights, before int8."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged

WAYS = ("searched", "given")
PLACES = ("all", "norms")


class ActivationSmoothing:
    """Divides activations by a scale for each channel, and multiplies the weights that read them."""

    name: ClassVar[str] = "activation_smoothing"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32", "matmul"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings: `places`, `strength`, and `alpha` where the strength is given."""
        return {
            "places": Choices(PLACES, PLACES[0]),
            "strength": Choices(WAYS, WAYS[0]),
            "alpha": FloatRange(0.2, 0.95, 0.5, when={"strength": WAYS[1]}),
        }

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Nothing by itself: it makes a later step to int8 lose less."""
        return Potential(
            1.0,
            1.0,
            "it makes nothing faster or smaller: the answers stay, and int8 loses less after it "
            "where a few channels of an activation are far larger than the others",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Watches the activations that products read, finds scales, folds them in.

        Raises:
            NothingChanged: if there is no such activation, or no scale that helps.
            CandidateFailed: for a setting that there is not, or a graph that can't be prepared.
        """
        from jettison.graphs.onnx_smooth_piece import smooth_piece
        from jettison.graphs.onnx_workpiece import on_the_bench

        places = _choice(settings, "places", PLACES)
        searched = _choice(settings, "strength", WAYS) == WAYS[0]
        alpha = None if searched else _alpha(settings)
        with on_the_bench(model, fitting, bench) as piece:
            smoothed, done = smooth_piece(piece, places == PLACES[0], alpha)
            if not done.alphas:
                raise NothingChanged(_why_nothing(places, done.sites))
            saved = bench.save(smoothed.graph, "onnx_file", model)
        change = Change(str(done), weights=done.weights)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _choice(settings: Settings, name: str, allowed: tuple[str, ...]) -> str:
    value = str(settings.get(name, allowed[0]))
    if value not in allowed:
        raise CandidateFailed(
            f"`{name}` of `activation_smoothing` must be one of {', '.join(allowed)}; got {value!r}"
        )
    return value


def _alpha(settings: Settings) -> float:
    alpha = float(settings.get("alpha", 0.5))
    if not 0.0 <= alpha <= 1.0:
        raise CandidateFailed(
            f"`alpha` of `activation_smoothing` must be from 0 to 1; got {alpha:g}"
        )
    return alpha


def _why_nothing(places: str, sites: int) -> str:
    if sites:
        return (
            f"no scale makes the products of {sites} activations at least 2 % more exact in 8 bits"
        )
    if places == PLACES[1]:
        return (
            "no norm of this graph is read by products alone, so no scale can be folded into one; "
            "`places = all` puts multiplications in front of products instead"
        )
    return "no product of this graph has constant weights of its own"
