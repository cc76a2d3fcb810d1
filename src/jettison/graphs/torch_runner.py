"""A PyTorch module as a `Runner`: named NumPy arrays in and out, and what each layer costs.

Importing this file imports no torch; its methods do.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jettison.domain.model import Model
from jettison.domain.profile import LayerCost
from jettison.domain.rows import Array, Batch

__all__ = ["OUTSIDE", "TorchRunner"]

OUTSIDE = "outside of layers"
ROUNDS = 3


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
        costs = [_cost(name, module, watch, whole, rows) for name, module in leaves.items()]
        inside = sum(watch.seconds.values()) / whole
        rest = LayerCost(OUTSIDE, OUTSIDE, 0, None, 0, max(0.0, 1.0 - inside))
        return (*costs, rest)


class _Watch:
    """Adds up the seconds of each module, and the positions that it worked on, over all rounds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.positions: dict[str, int] = defaultdict(int)
        self.moved: dict[str, int] = {}
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
            tensors = [t for t in (*inputs, output) if hasattr(t, "element_size")]
            if len(tensors) == 1 + len(inputs):
                self.moved[name] = self.moved.get(name, 0) + sum(
                    t.numel() * t.element_size() for t in tensors
                )
            weight = getattr(module, "weight", None)
            if weight is not None and hasattr(output, "numel"):
                # Every channel is one weight row; the rest are positions. A transposed convolution
                # has a row for each channel of its input.
                counted = inputs[0] if "Transpose" in type(module).__name__ else output
                self.positions[name] += counted.numel() // max(1, int(weight.shape[0]))

        return hook


def _leaves(module: Any) -> dict[str, Any]:
    return {name: m for name, m in module.named_modules() if not any(True for _ in m.children())}


def _cost(name: str, module: Any, watch: _Watch, whole: float, rows: int) -> LayerCost:
    kind = type(module).__name__
    constants = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    counted = "Linear" in kind or "Conv" in kind
    runs = ROUNDS * rows
    macs = int(module.weight.numel()) * watch.positions[name] // runs if counted else None
    return LayerCost(
        name=name,
        operator=kind,
        parameters=sum(int(p.numel()) for p in module.parameters(recurse=False)),
        macs=macs,
        bytes=sum(int(c.numel() * c.element_size()) for c in constants),
        time_share=watch.seconds[name] / whole,
        activation_bytes=watch.moved[name] // runs if name in watch.moved else None,
    )


def _own(array: Array) -> Array:
    # torch refuses to wrap memory-mapped (read-only) arrays without a warning.
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()
