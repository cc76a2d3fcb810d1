"""A whole technique in one file: rounds weights, so that the file compresses better."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, IntegerRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged


class RoundWeights:
    """Keeps only the first bits of each weight's mantissa."""

    name: ClassVar[str] = "round_weights"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """How many of the 23 bits stay."""
        return {"bits": IntegerRange(4, 16, default=10)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """No speed and no size: only a compressor sees the difference."""
        return Potential(1.0, 1.0, "rounded weights are as many and as wide; they only zip better")

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Clears the low bits of every float32 initializer."""
        import numpy as np
        import onnx
        from onnx import numpy_helper

        proto = onnx.load(bench.open(model))
        mask = np.uint32(0xFFFFFFFF << (23 - int(settings["bits"])) & 0xFFFFFFFF)
        changed = 0
        for tensor in proto.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size:
                rounded = (values.view(np.uint32) & mask).view(np.float32)
                changed += int((rounded != values).sum())
                tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
        if not changed:
            raise NothingChanged("round_weights: every weight was round already")
        saved = bench.save(proto, "onnx_file", like=model)
        return Applied(saved, (Change(f"rounded {changed} weights", weights=changed),))
