"""Over how many columns a mask of the layer-wise OBS is chosen at once: MLPNet on MNIST.

    python -m benchmarks.obs_spans

The paper on SparseGPT chooses over 128 columns, by the importance that the walk knows. Here that
is compared with narrower spans, and with spans whose number of zeros is settled before the walk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.results_file import Row, write
from jettison.numerics.layerwise_obs import Factor, KeepShare, factorise, walk
from jettison.numerics.masks import largest, pruned_count

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
MODEL = "MLPNet, MNIST"
SPARSITIES = (0.5, 0.8, 0.9)
SPANS = (4, 16, 32, 128)
SEEDS = 5
CALIBRATED = 512


class AsInThePaper(KeepShare):
    """Takes the same share of zeros from every span."""

    def __init__(self, weights: Any, factor: Factor, sparsity: float, span: int) -> None:
        super().__init__(weights, factor, sparsity, span)
        rows, columns = weights.shape
        counts = [pruned_count(rows * n, sparsity) for n in range(1, columns + 1)]
        self._zeros = torch.diff(torch.tensor([0, *counts]))


def main() -> None:
    torch.set_num_threads(1)
    with np.load(DATA / "vision/mnist.npz") as stored:
        train, tests, digits = stored["x_train"], stored["x_test"], stored["y_test"]
    weights = load_file(str(DATA / "models/mlpnet-mnist-chita.safetensors"))
    dense = [weights[f"fc{i}.weight"] for i in (1, 2, 3)]
    images, answers = _images(tests), torch.from_numpy(digits).long()
    rows = [_row("dense", [_accuracy(dense, images, answers)], "exact: nothing is drawn")]
    drawn = [
        np.random.default_rng(seed).permutation(len(train))[:CALIBRATED] for seed in range(SEEDS)
    ]
    for sparsity in SPARSITIES:
        for kind, words in (
            (AsInThePaper, "the same share of each span"),
            (KeepShare, "counted before"),
        ):
            for span in SPANS:
                scores = [
                    _accuracy(
                        _pruned(dense, _images(train[index]), sparsity, (kind, span)),
                        images,
                        answers,
                    )
                    for index in drawn
                ]
                rows.append(_row(f"{sparsity:.0%}, {span} columns, {words}", scores, ""))
        masked = [
            layer * largest(layer.abs(), layer.numel() - pruned_count(layer.numel(), sparsity))
            for layer in dense
        ]
        rows.append(_row(f"{sparsity:.0%}, magnitude", [_accuracy(masked, images, answers)], ""))
    note = (
        f"{SEEDS} draws of {CALIBRATED} training images to calibrate on, 10,000 test images; all "
        "three layers by the same share; intervals: 95 % of the mean over draws. The test images "
        "were read to choose among spans, so the best row is no estimate of what it scores on new "
        "images; the differences between rows are far larger than that bias."
    )
    write("obs_spans", rows, [note])


def _images(pixels: Any) -> Any:
    values = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    return torch.from_numpy((values - 0.1307) / 0.3081)


def _answers(layers: Sequence[Any], images: Any) -> Any:
    for place, layer in enumerate(layers):
        images = images @ layer.T
        if place < len(layers) - 1 or len(layers) < 3:
            images = images.relu()
    return images


def _accuracy(layers: Sequence[Any], images: Any, answers: Any) -> float:
    return float((_answers(layers, images).argmax(1) == answers).float().mean())


def _pruned(dense: Sequence[Any], images: Any, sparsity: float, how: tuple[Any, int]) -> list[Any]:
    kind, span = how
    layers: list[Any] = []
    for layer in dense:
        given = _answers(layers, images).double()
        factor = factorise(2 * given.T @ given / len(given))
        layers.append(walk(layer, factor, kind(layer, factor, sparsity, span)).float())
    return layers


def _row(method: str, scores: Sequence[float], note: str) -> Row:
    mean = float(np.mean(scores))
    low = high = None
    if len(scores) > 1:
        half = 2.776 * float(np.std(scores, ddof=1)) / len(scores) ** 0.5
        low, high = mean - half, mean + half
    return Row(MODEL, method, "accuracy", mean, low, high, "fraction", len(scores), note)


if __name__ == "__main__":
    main()
