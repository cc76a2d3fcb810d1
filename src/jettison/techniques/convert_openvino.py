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
        """Another runtime has other kernels: how much faster they are is only found by running."""
        text = [spec.name for spec in (*model.inputs, *model.outputs) if spec.dtype == "str"]
        if text:
            return Refusal(
                self.name, f"`{text[0]}` is text, which OpenVINO's CPU kernels don't take"
            )
        return Potential(
            speedup=profile.bound,
            size_ratio=1.0,
            reason="OpenVINO has kernels of its own; which runtime is faster changes from model "
            "to model and from CPU to CPU, so it is measured",
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
