"""The runtime `torch_eager`: PyTorch as it comes, the home of untouched torch models."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, LayerLosses, Profile
from jettison.domain.recipe import Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.domain.splits import FittingData

OUTSIDE = "outside of layers"
ROUNDS = 3


class TorchEager:
    """Runs an `nn.Module` operator by operator on the CPU."""

    name: ClassVar[str] = "torch_eager"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    home: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: threads belong to the serving profile."""
        return {}

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> TorchRunner:
        """Sets the threads of this process and holds the module ready."""
        import torch

        torch.set_num_threads(serving.threads)
        return TorchRunner(model, native)

    def sensitivity(self, model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
        """What each layer loses by each way of changing its weights, from Fisher rows."""
        from jettison.graphs.torch_sensitivity import model_sensitivity

        return model_sensitivity(model, bench.open(model), fitting)


class TorchRunner:
    """A module in inference mode: named NumPy arrays in, named NumPy arrays out."""

    def __init__(self, model: Model, native: Any) -> None:
        self._inputs = tuple(spec.name for spec in model.inputs)
        self._outputs = tuple(spec.name for spec in model.outputs)
        self._module = native.eval()

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch, rows first."""
        import torch

        with torch.inference_mode():
            named = {name: torch.from_numpy(_own(batch[name])) for name in self._inputs}
            answer = self._module(**named)
        tensors = answer if isinstance(answer, tuple) else (answer,)
        return {
            name: np.asarray(tensor.numpy())
            for name, tensor in zip(self._outputs, tensors, strict=True)
        }

    def providers(self) -> Mapping[str, int]:
        """All leaf modules run in PyTorch on the CPU."""
        return {"torch-cpu": len(_leaves(self._module))}

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Times each leaf module with hooks, in the order of the network.

        What no leaf module accounts for (attention products, additions, Python) is one more
        entry, so that the time shares sum to 1.
        """
        rows = max(1, len(next(iter(batch.values()))))
        watch = _Watch()
        leaves = _leaves(self._module)
        handles = [h for name, module in leaves.items() for h in watch.attach(name, module)]
        try:
            start = time.perf_counter()
            for _ in range(ROUNDS):
                self.run(batch)
            whole = time.perf_counter() - start
        finally:
            for handle in handles:
                handle.remove()
        costs = [
            _cost(name, module, watch.seconds[name] / whole, watch.positions[name], rows)
            for name, module in leaves.items()
        ]
        inside = sum(watch.seconds.values()) / whole
        rest = LayerCost(OUTSIDE, OUTSIDE, 0, None, 0, max(0.0, 1.0 - inside))
        return (*costs, rest)


class _Watch:
    """Adds up the seconds of each module, and counts the positions that it worked on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.positions: dict[str, int] = defaultdict(int)
        self._started: dict[str, float] = {}

    def attach(self, name: str, module: Any) -> tuple[Any, Any]:
        return (
            module.register_forward_pre_hook(self._before(name)),
            module.register_forward_hook(self._after(name)),
        )

    def _before(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any) -> None:
            self._started[name] = time.perf_counter()

        return hook

    def _after(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.seconds[name] += time.perf_counter() - self._started[name]
            weight = getattr(module, "weight", None)
            if weight is not None and hasattr(output, "numel"):
                # Every channel is one weight row; the rest are positions. A transposed convolution
                # has a row for each channel of its input.
                counted = inputs[0] if "Transpose" in type(module).__name__ else output
                self.positions[name] = counted.numel() // max(1, int(weight.shape[0]))

        return hook


def _leaves(module: Any) -> dict[str, Any]:
    return {name: m for name, m in module.named_modules() if not any(True for _ in m.children())}


def _cost(name: str, module: Any, share: float, positions: int, rows: int) -> LayerCost:
    kind = type(module).__name__
    constants = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    counted = "Linear" in kind or "Conv" in kind
    macs = int(module.weight.numel()) * positions // rows if counted else None
    return LayerCost(
        name=name,
        operator=kind,
        parameters=sum(int(p.numel()) for p in module.parameters(recurse=False)),
        macs=macs,
        bytes=sum(int(c.numel() * c.element_size()) for c in constants),
        time_share=share,
    )


def _own(array: Array) -> Array:
    # torch refuses to wrap memory-mapped (read-only) arrays without a warning.
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()
