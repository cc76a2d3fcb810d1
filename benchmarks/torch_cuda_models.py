"""A network of wide linear layers for digits: large enough that 2:4 weights could pay on a GPU."""

from __future__ import annotations

import torch
from torch import nn

PIXELS, PADDED, WIDTH = 784, 1024, 4096


class WideDigits(nn.Module):
    """Two layers of 4,096 neurons; the pixels are filled up to a multiple of 64 with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(PADDED, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Gives scores of shape (n, 10) for pixels of shape (n, 784), from 0 to 1."""
        inner = torch.relu(self.first(nn.functional.pad(image, (0, PADDED - PIXELS))))
        return self.last(torch.relu(self.second(inner)))


def make() -> WideDigits:
    """The network without its weights."""
    return WideDigits()
