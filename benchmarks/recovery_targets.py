"""What should a masked model learn from: labels, the original's answers, or both? MLPNet on MNIST.

    python -m benchmarks.recovery_targets

A magnitude mask, then `recover` for five epochs on a few fitting rows, as a step of a search would.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.results_file import Row, write
from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.loaders.pytorch import PytorchLoader
from jettison.techniques.magnitude_pruning import MagnitudePruning
from jettison.techniques.recover import Recover
from jettison.worker.workbench import Bench, open_model

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
NETWORK = Path(__file__).parents[1] / "examples" / "mnist_mlp.py"
SIZES, SPARSITIES, SEEDS = (512, 2000), (0.9, 0.95), 3
TARGETS = ("labels", "original", "both")


def main() -> None:
    """Measures all cases and stores them."""
    torch.set_num_threads(1)
    with np.load(DATA / "vision" / "mnist.npz") as stored:
        mnist = {name: stored[name] for name in stored.files}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        model = _network(Path(folder) / "model")
        for size in SIZES:
            for sparsity in SPARSITIES:
                rows += _case(model, mnist, size, sparsity, Path(folder))
    notes = (
        f"MLPNet of the CHITA paper; mean of {SEEDS} draws of training images, lowest and highest "
        "as low and high; five epochs, learning rate 3e-3, AdamW, temperature 2.",
    )
    write("recovery_targets", rows, notes)


def _network(folder: Path) -> Model:
    options = {
        "weights": str(DATA / "models" / "mlpnet-mnist-chita.safetensors"),
        "inputs": "image: float32[batch, 28, 28]",
    }
    return PytorchLoader().load(Source(f"{NETWORK}:mlpnet", "classification", options), folder)


def _case(
    model: Model, mnist: dict[str, Array], size: int, sparsity: float, folder: Path
) -> list[Row]:
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        place = folder / f"{size}-{sparsity}-{seed}"
        fitting = _fitting(mnist, size, seed, place)
        masked = MagnitudePruning().apply(
            model, {"sparsity": sparsity}, fitting, _bench(place / "mask", model)
        )
        found.setdefault("not trained", []).append(_accuracy(masked.model, mnist))
        for target in TARGETS:
            wish = {"fine_tune_target": target, "fine_tune_epochs": 5}
            bench = _bench(place / target, model)
            trained = Recover().apply(masked.model, wish, fitting, bench)
            found.setdefault(target, []).append(_accuracy(trained.model, mnist))
    name = f"MLPNet, {sparsity:.0%} zeros by magnitude, {size:,} fitting rows"
    return [
        Row(
            name,
            f"recover from {target}",
            "accuracy",
            float(np.mean(values)),
            min(values),
            max(values),
            "fraction",
            len(mnist["y_test"]),
            f"{SEEDS} draws",
        )
        for target, values in found.items()
    ]


def _fitting(mnist: dict[str, Array], size: int, seed: int, folder: Path) -> FittingData:
    folder.mkdir(parents=True)
    index = np.random.default_rng(seed).permutation(len(mnist["x_train"]))[:size]
    np.save(folder / "image.npy", _normalised(mnist["x_train"][index]))
    rows = Rows(str(folder), ("image",), size, {}, f"{size}-{seed}")
    return FittingData.of(rows, seed, mnist["y_train"][index].astype(np.int64))


def _normalised(images: Array) -> Array:
    return ((images.astype(np.float32) / 255) - 0.1307) / 0.3081


def _bench(folder: Path, original: Model) -> Bench:
    folder.mkdir()
    return Bench(folder, folder, machine.describe_device(), ServingProfile(), original)


def _accuracy(model: Model, mnist: dict[str, Array]) -> float:
    with torch.no_grad():
        scores = open_model(model)(image=torch.from_numpy(_normalised(mnist["x_test"])))
    return float((scores.argmax(1).numpy() == mnist["y_test"]).mean())


if __name__ == "__main__":
    main()
