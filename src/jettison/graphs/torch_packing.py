"""Weights of PyTorch layers as integers with scales, and two integers of 4 bits in one byte.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["LEAST_SCALE", "Packed", "stored", "unstored"]

LEAST_SCALE = torch.finfo(torch.float32).eps
"""The least scale that PyTorch's own observers give, so that weights of 0 get no scale of 0."""

TOP = 127
"""Largest integer of 8 bits that is used; with -127 on the other side, rounding twice is rounding
once, and what is stored is what runs."""

SUFFIXES = (":integers", ":scale")


@dataclass(frozen=True, slots=True)
class Packed:
    """One weight.

    Attributes:
        integers: int8, the shape of the weight; within -8 and 7 where `bits` is 4.
        scale: float32, shape (out, groups): each row of the flattened weight has equal groups.
        bits: 8 or 4.
    """

    integers: Any
    scale: Any
    bits: int = 8

    @classmethod
    def of(cls, weight: Any) -> Packed:
        """Rounds to 8 bits, symmetric, with one scale for each output.

        Args:
            weight: shape (out, ...).
        """
        rows = weight.detach().reshape(len(weight), -1)
        scale = (rows.abs().amax(1, keepdim=True) / TOP).clamp_min(LEAST_SCALE)
        rounded = (rows / scale).round().clamp(-TOP, TOP)
        return cls(rounded.to(torch.int8).reshape(weight.shape), scale.float())

    def weight(self) -> Any:
        """The floats that these integers stand for."""
        out, groups = self.scale.shape
        rows = self.integers.reshape(out, groups, -1).float() * self.scale.unsqueeze(-1)
        return rows.reshape(self.integers.shape)


def stored(name: str, packed: Packed) -> dict[str, Any]:
    """Gives the tensors of a weight as they are written to a file."""
    integers = packed.integers
    if packed.bits == 4:
        flat = (integers.reshape(-1) + 8).to(torch.uint8)
        flat = torch.nn.functional.pad(flat, (0, flat.numel() % 2))
        integers = flat[0::2] | (flat[1::2] << 4)
    held = (integers.contiguous(), packed.scale.contiguous())
    return dict(zip((name + suffix for suffix in SUFFIXES), held, strict=True))


def unstored(name: str, tensors: Mapping[str, Any], bits: int, shape: tuple[int, ...]) -> Packed:
    """Reads a weight that `stored` gave.

    Raises:
        KeyError: if a tensor is missing.
        ValueError: if they don't fit each other.
    """
    integers, scale = (tensors[name + suffix] for suffix in SUFFIXES)
    count = int(torch.Size(shape).numel())
    if bits == 4:
        integers = torch.stack((integers & 15, integers >> 4), 1).reshape(-1)[:count]
        integers = (integers.to(torch.int8) - 8).contiguous()
    rows = shape[0] if shape else 0
    fits = integers.numel() == count and integers.dtype is torch.int8 and scale.dim() == 2
    if not fits or len(scale) != rows or not scale.shape[1] or (count // rows) % scale.shape[1]:
        raise ValueError(f"the stored integers and scales of `{name}` don't fit its shape {shape}")
    return Packed(integers.reshape(shape), scale, bits)
