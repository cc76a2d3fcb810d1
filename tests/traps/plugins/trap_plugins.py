"""Techniques that fail as those of other tools did; each makes the file smaller."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied
from jettison.domain.recipe import Change, Potential


class Trap:
    """Stores the large matrix in 16 bits and casts it back, after `spoil` had its way with it."""

    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"float16"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx",)

    def search_space(self, model: Any, profile: Any) -> dict[str, Any]:
        return {}

    def potential(self, model: Any, profile: Any) -> Potential:
        return Potential(1.0, 0.5, "it promises half the bytes")

    def spoil(self, weights: np.ndarray) -> np.ndarray:
        return weights

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        proto = onnx.load(bench.open(model))
        for tensor in proto.graph.initializer:
            values = self.spoil(numpy_helper.to_array(tensor).copy())
            stored = f"{tensor.name}_16"
            cast = helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT)
            proto.graph.node.insert(0, cast)
            with np.errstate(over="ignore"):
                tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        saved = bench.save(proto, "onnx_file", like=model)
        change = Change("stored the weights in 16 bits", operators=2)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


class Collapse(Trap):
    """Loses one class of three: most answers stay, and so does the look of the outputs."""

    name: ClassVar[str] = "collapse"

    def spoil(self, weights: np.ndarray) -> np.ndarray:
        if weights.shape[1] == 3:
            weights[:, 2] *= 0.6
        return weights


class WrongWeights(Trap):
    """Tells of good weights, and saves others."""

    name: ClassVar[str] = "wrong_weights"

    def spoil(self, weights: np.ndarray) -> np.ndarray:
        return np.random.default_rng(7).permuted(weights, axis=0)


class Overflow(Trap):
    """Leaves the range of 16-bit floats, so that infinity meets its negative."""

    name: ClassVar[str] = "overflow"

    def spoil(self, weights: np.ndarray) -> np.ndarray:
        return weights * 1e6


class Exhaust(Trap):
    """Is ended by the system in the middle of its calibration, as when memory runs out."""

    name: ClassVar[str] = "exhaust"

    def spoil(self, weights: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return weights


class Unloadable(Trap):
    """Saves a graph that no runtime loads: an operator that nobody has."""

    name: ClassVar[str] = "unloadable"

    def apply(self, model: Any, settings: Any, fitting: Any, bench: Any) -> Applied:
        import onnx

        proto = onnx.load(Path(bench.open(model)))
        proto.graph.node[0].op_type = "MatMulOfTomorrow"
        proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data
        saved = bench.save(proto, "onnx_file", like=model)
        change = Change("used an operator of tomorrow", operators=1)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
