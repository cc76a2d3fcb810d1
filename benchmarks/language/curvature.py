"""CHITA in block mode on a causal language model: rows of a part at a time, in a stated memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from jettison.graphs.torch_masking import Masking
from jettison.graphs.torch_subject import RowPlan, TorchSubject, n_of_m_budget
from jettison.numerics.chita import LargestPerLayer, Plan, blocks_of, keeps, prune
from jettison.numerics.curvature import Objective, Storage

ROW_TOKENS = 128
HELD_OUT_ROWS = 8
BLOCK = 20_000
RIDGES = (1e6, 1e4, 1e3)
"""In multiples of the mean curvature. Of 32 rows and 1 to 100, all gave a loss above 29 a token."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much may be spent: Fisher rows (each the loss of 128 tokens), and bytes for them."""

    rows: int = 64
    memory_bytes: int = 4 * 10**9


class NextTokens(torch.nn.Module):
    """A causal model that answers each token with scores of the next, but for the last."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Any) -> Any:
        return self.module(input_ids=input_ids)[:, :-1]


@dataclass(frozen=True, slots=True)
class Text:
    """Windows of tokens as examples whose right answers are their next tokens."""

    windows: Any

    @property
    def n(self) -> int:
        return len(self.windows)

    def batch(self, index: Any) -> Mapping[str, Any]:
        return {"input_ids": self.windows[index]}

    def targets(self, index: Any) -> Any:
        return self.windows[index][:, 1:]


def chita(piece: Masking, windows: Any, effort: Effort) -> str:
    """Prunes in place from windows of text, shape (count, length); the last are held out."""
    text = Text(windows.reshape(-1, ROW_TOKENS)[: effort.rows + HELD_OUT_ROWS])
    for parameter in piece.module.parameters():
        parameter.requires_grad_(requires_grad=False)
    for layer in piece.layers:
        layer.module.weight.requires_grad_()
    held_out = torch.arange(text.n - HELD_OUT_ROWS, text.n)
    storage = Storage(limit_bytes=effort.memory_bytes)
    rows = RowPlan(effort.rows, 1, storage=storage, block=BLOCK, evaluated=HELD_OUT_ROWS)
    objective = Objective("classification", labelled=True)
    subject = TorchSubject(NextTokens(piece.module), piece.layers, objective, text, held_out, rows)
    slices = subject.weights.slices

    def budget(sparsity: float) -> Any:
        if piece.pattern is not None:
            return n_of_m_budget(piece.layers, *piece.pattern)
        return LargestPerLayer(slices, keeps([s.stop - s.start for s in slices], sparsity))

    plan = Plan(
        piece.sparsity,
        budget,
        lambda unit: tuple(unit * ridge for ridge in RIDGES),
        schedule="constant",
        blocks=blocks_of(slices, BLOCK),
        saliency=True,
    )
    _, (stage,) = prune(subject, plan)
    for parameter in piece.module.parameters():
        parameter.requires_grad_(requires_grad=False)
    before = stage.loss - stage.actual
    return (
        f"{effort.rows} Fisher rows of {ROW_TOKENS} tokens, block {BLOCK:,}, "
        f"rows of {effort.memory_bytes / 1e9:g} GB at a time; ridge {stage.ridge:.2g}; held-out loss of a token "
        f"from {before:.2f} to {stage.loss:.2f}"
    )
