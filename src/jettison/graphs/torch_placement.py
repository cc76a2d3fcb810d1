"""Moves a PyTorch module to another device and precision, with what its graph says of both.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

__all__ = ["place"]


def place(module: nn.Module, device: str, dtype: Any) -> nn.Module:
    """Moves a module in place: weights and buffers, and the devices and dtypes in traced graphs.

    A traced graph names the device and the dtype of each tensor that it makes («zeros on the CPU in
    float32»), which `Module.to` leaves as they are.

    Args:
        module: any module; the graphs inside it may be traced ones.
        device: as PyTorch names it.
        dtype: of floating-point weights and of what the graph makes in float32.
    """
    moved = module.to(device=device, dtype=dtype)
    for part in moved.modules():
        if isinstance(part, fx.GraphModule):
            _rewrite(part, torch.device(device), dtype)
    return moved


def _rewrite(part: fx.GraphModule, device: Any, dtype: Any) -> None:
    def other(value: Any) -> Any:
        if isinstance(value, torch.device):
            return device
        return dtype if value is torch.float32 else value

    for node in part.graph.nodes:
        node.args = fx.node.map_aggregate(node.args, other)
        node.kwargs = fx.node.map_aggregate(node.kwargs, other)
    part.recompile()
