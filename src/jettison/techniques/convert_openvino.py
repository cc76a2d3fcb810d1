"""The conversion `convert_openvino`: an ONNX graph becomes OpenVINO IR."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.openvino_ir import names_of, read_onnx, settle_weights

PRODUCTS = (
    "Attention",
    "Conv",
    "ConvTranspose",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gemm",
    "MatMul",
    "NhwcFusedConv",
)
"""What any runtime has to multiply, by the names that ONNX Runtime gives it."""


class ConvertOpenvino:
    """Reads the graph with OpenVINO's own ONNX reader; weights keep their precision.

    The worker runs both on the fitting rows, alone and together, and refuses a conversion that
    answers differently. Models with 8-bit numbers often fail there: a sum between two steps is
    rounded up by one runtime and down by the other.
    """

    name: ClassVar[str] = "convert_openvino"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "standard-operators", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"openvino"})
    removes: ClassVar[frozenset[str]] = frozenset({"onnx"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: the answers must stay what they are."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No bound on kernels that are not ours; but what is left if products take as long as now.

        Both runtimes multiply in 32-bit floats on the same CPU. `speedup` is the bound of any change
        to the model, because nothing tighter is certain; `first_try` is what goes if everything
        but the products cost nothing.
        """
        text = [spec.name for spec in (*model.inputs, *model.outputs) if spec.dtype == "str"]
        if text:
            return Refusal(
                self.name, f"`{text[0]}` is text, which OpenVINO's CPU kernels don't take"
            )
        share = min(1.0, profile.time_share_of(*PRODUCTS))
        if not share:
            return Potential(
                profile.bound,
                1.0,
                "OpenVINO has kernels of its own, and how this model's time divides over products "
                "and the rest is not known here: only measuring tells which runtime is faster",
                first_try=1.0,
            )
        rest = min(profile.bound, 1.0 / share)
        return Potential(
            profile.bound,
            1.0,
            f"{share:.0%} of the model's time lies in products, which OpenVINO computes in the same "
            f"floats: unless its kernels for them are faster here, merging all else gains at most "
            f"{rest:.2f}x; which kernels are faster differs from CPU to CPU, so it is measured",
            first_try=rest,
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Converts the graph, and checks that all inputs and outputs are still there.

        Raises:
            CandidateFailed: if OpenVINO can't read the graph, or merged an input away.
        """
        graph = read_onnx(Path(bench.open(model)))
        for what, specs, ports in (
            ("input", model.inputs, graph.inputs),
            ("output", model.outputs, graph.outputs),
        ):
            lost = sorted({spec.name for spec in specs} - names_of(ports))
            if lost:
                raise CandidateFailed(
                    f"OpenVINO's graph has no {what} `{lost[0]}`; it has {sorted(names_of(ports))}"
                )
        if "float32" in model.traits:
            settle_weights(graph)
        saved = bench.save(graph, "openvino_ir", model)
        operators = len(graph.get_ordered_ops())
        change = Change(f"ONNX graph to OpenVINO IR of {operators} operators", operators=operators)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
