"""The runtime `bench_torch_peer`: what PyTorch's own tools made, rebuilt or opened in a worker.

It is a plug-in of this benchmark only: the benchmark writes an entry point for it beside its
files and puts both on the path of the workers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.cpu.records import TORCH
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, LayerLosses, Profile
from jettison.domain.recipe import Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed


class TorchPeer:
    """Runs a `.json` recipe of `benchmarks.cpu.peers_torch`, or the TorchScript file it names."""

    name: ClassVar[str] = TORCH
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "torch"})
    home: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose."""
        return {}

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> Runner:
        """Builds the module with the threads that are served."""
        import torch

        from benchmarks.cpu.peers_torch import rebuild

        torch.set_num_threads(serving.threads)
        path = Path(model.artifact.folder) / "peer.json"
        module = rebuild(json.loads(path.read_text(encoding="utf-8")), path.parent)
        return Runner(module, model)

    def sensitivity(self, model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
        """Nobody asks for it here."""
        raise CandidateFailed("a peer's model is only run")


class Runner:
    """Named arrays in, the prediction out."""

    def __init__(self, module: Any, model: Model) -> None:
        self._module = module
        self._inputs = [spec.name for spec in model.inputs]
        self._output = model.prediction

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch."""
        import torch

        with torch.inference_mode():
            given = [torch.from_numpy(np.array(batch[name])) for name in self._inputs]
            answer = self._module(*given)
        return {self._output: np.asarray(answer)}

    def providers(self) -> Mapping[str, int]:
        """One module on the CPU."""
        return {"torch-cpu": 1}

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Not told."""
        return ()
