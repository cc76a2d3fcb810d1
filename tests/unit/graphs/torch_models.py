"""Small PyTorch models with what is hard to export, and the shared checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from jettison.graphs.torch_source import call_function, load_weights

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
IMAGE = ("image: float32[batch, 3, 32, 32]",)
TOKENS = ("ids: int64[batch, length]",)


def example(function: str, checkpoint: Path | None = None) -> Any:
    """A network of examples/, with the weights of a checkpoint where one is given."""
    file, name = function.split(":")
    before = list(sys.path)
    module = call_function(str(EXAMPLES / file), name)
    assert sys.path == before
    if checkpoint is not None:
        load_weights(module, load_file(str(checkpoint)), checkpoint.name)
    return module.eval()


class Conv(nn.Module):
    """Convolution, BatchNorm with statistics of its own, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean.uniform_(-1, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, image: Any) -> Any:
        return self.head(torch.relu(self.norm(self.conv(image))).mean((2, 3)))


class Tied(nn.Module):
    """An embedding that is also the head, dropout, a region without gradients, two answers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 8, padding_idx=0)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.LayerNorm(8)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.full((8,), 2.0))
        self.register_buffer("places", torch.linspace(0, 1, 64))
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        hidden = self.drop(self.embed(ids)) * self.scale
        hidden = self.act(self.norm(hidden + self.places[: ids.shape[1], None]))
        with torch.no_grad():
            middle = hidden.mean(1, keepdim=True)
        pooled = (hidden - 0.5 * middle).reshape(ids.shape[0], -1, 8).sum(1)
        return {"scores": self.head(pooled), "pooled": pooled}


class Recurrent(nn.Module):
    """An LSTM, whose length torch.export fixes."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 8, batch_first=True)

    def forward(self, frames: Any) -> Any:
        return self.cell(frames)[0][:, -1]


class Branching(nn.Module):
    """Goes another way for other data."""

    def forward(self, image: Any) -> Any:
        return image.sum((1, 2, 3)) if image.sum() > 0 else image.mean((1, 2, 3))


class Random(nn.Module):
    """Gives another answer each time."""

    def forward(self, image: Any) -> Any:
        return image.mean((2, 3)) + torch.rand(image.shape[0], 3)


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(3))

    def forward(self, image: Any) -> Any:
        self.calls.add_(1)
        return image.mean((2, 3)) + self.calls


class FixedBatch(nn.Module):
    """Reshapes to two rows, whatever comes."""

    def forward(self, image: Any) -> Any:
        return image.reshape(2, -1)[:, :5]


class Texts(nn.Module):
    """Answers with something that is no tensor."""

    def forward(self, image: Any) -> Any:
        return [str(image.shape)]
