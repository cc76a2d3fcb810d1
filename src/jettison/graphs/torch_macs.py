"""Multiply-accumulates and shapes of the layers of a PyTorch module, seen while it runs.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["COUNTED", "frozen", "layer_macs", "rows_of", "total_macs"]

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose products are counted: the ones that take nearly all of the time."""


def rows_of(inputs: Mapping[str, Any]) -> int:
    """The number of rows of a batch of named tensors."""
    return int(next(iter(inputs.values())).shape[0])


def layer_macs(module: Any, inputs: Mapping[str, Any]) -> dict[str, int]:
    """Counts multiply-accumulates for one row; a layer that runs twice counts twice.

    Args:
        module: called with `inputs` by name.
        inputs: input name -> tensor of shape (n, ...).

    Returns:
        Layer name -> multiply-accumulates of one row, in the order of `named_modules`. Products
        without weights (attention scores) and additions are not counted.
    """
    counts: dict[str, int] = {}
    rows = rows_of(inputs)

    def watch(name: str) -> Any:
        def hook(layer: Any, _: Any, output: Any) -> None:
            positions = output.numel() // output.shape[_channel_axis(layer, output)]
            counts[name] = counts.get(name, 0) + int(layer.weight.numel()) * positions // rows

        return hook

    named = [(name, part) for name, part in module.named_modules() if isinstance(part, COUNTED)]
    handles = [part.register_forward_hook(watch(name)) for name, part in named]
    try:
        with frozen(module):
            module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: counts[name] for name, _ in named if name in counts}


def total_macs(module: Any, inputs: Mapping[str, Any]) -> int:
    """Multiply-accumulates of one row in all layers with weights."""
    return sum(layer_macs(module, inputs).values())


@contextlib.contextmanager
def frozen(module: Any) -> Iterator[None]:
    """Eval mode without gradients inside; the mode of every part is put back after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def _channel_axis(layer: Any, output: Any) -> int:
    if isinstance(layer, nn.Linear):
        return -1
    spatial = len(layer.kernel_size)
    return int(output.dim()) - spatial - 1
