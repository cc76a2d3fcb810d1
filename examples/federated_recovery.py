"""Ten sites recover a pruned network together by federated averaging; no row leaves its site.

    python -m examples.federated_recovery shared/data/vision/mnist.npz

Each round, every site trains the network that it was sent on its own rows (`jettison.training.loop`, the
loop of the technique `recover`: weights that are zero stay zero), and the server averages the weights
(McMahan et al. 2017, algorithm 1). Sites hold the digits unevenly. The weights of a site travel in the
open, and tell of its rows: this is no private training.
"""

from __future__ import annotations

import copy
import sys

import numpy as np
import torch

from examples.mnist_mlp import MlpNet
from jettison.graphs.torch_examples import TensorExamples
from jettison.training.loop import TrainingPlan, train, zero_masks
from jettison.training.objectives import CrossEntropy

SITES, ROUNDS, KEPT = 10, 8, 0.1


def rows_of(images: np.ndarray, labels: np.ndarray) -> TensorExamples:
    """Normalised images with their digits."""
    pixels = (images.astype(np.float32) / 255 - 0.1307) / 0.3081
    return TensorExamples(
        {"image": torch.from_numpy(pixels)}, torch.from_numpy(labels.astype(np.int64))
    )


def prune(module: torch.nn.Module) -> None:
    """Sets all but the largest weights of each matrix to zero."""
    for weight in module.parameters():
        threshold = weight.detach().abs().flatten().quantile(1 - KEPT)
        weight.data.mul_(weight.detach().abs() >= threshold)


def accuracy(module: torch.nn.Module, rows: TensorExamples) -> float:
    """Share of right answers."""
    with torch.no_grad():
        answers = module(**rows.inputs).argmax(1)
    return float((answers == rows.answers).float().mean())


def averaged(modules: list[torch.nn.Module], sizes: list[int]) -> dict[str, torch.Tensor]:
    """The weights of all sites, each counted by its rows."""
    total = sum(sizes)
    states = [module.state_dict() for module in modules]
    return {
        name: sum(state[name] * (n / total) for state, n in zip(states, sizes, strict=True))
        for name in states[0]
    }


def main(path: str) -> int:
    """Gives 0 if the sites together brought back at least half of what pruning took."""
    torch.manual_seed(0)
    with np.load(path) as data:
        train_rows = (data["x_train"][:12_000], data["y_train"][:12_000])
        test = rows_of(data["x_test"], data["y_test"])
    central, sites = (slice(0, 6_000), slice(6_000, 12_000))
    module = MlpNet()
    plan = TrainingPlan(epochs=5, learning_rate=0.05)
    train(module, rows_of(*(part[central] for part in train_rows)), CrossEntropy(), plan)
    before = accuracy(module, test)
    prune(module)
    pruned, masks = accuracy(module, test), zero_masks(module)
    images, labels = (part[sites] for part in train_rows)
    # Sorted by digit and dealt in runs: a site sees two or three digits and a few of the others.
    order = np.argsort(labels + np.random.default_rng(0).normal(0, 1.5, len(labels)), kind="stable")
    held = [rows_of(images[part], labels[part]) for part in np.array_split(order, SITES)]
    for turn in range(ROUNDS):
        copies = [copy.deepcopy(module) for _ in held]
        for number, (mine, rows) in enumerate(zip(copies, held, strict=True)):
            local = TrainingPlan(epochs=3, learning_rate=0.05, seed=turn * SITES + number)
            train(mine, rows, CrossEntropy(), local, masks)
        module.load_state_dict(averaged(list(copies), [rows.n for rows in held]))
        print(f"round {turn + 1}: accuracy {accuracy(module, test):.4f}")
    after = accuracy(module, test)
    zeros = sum(int((w == 0).sum()) for w in module.parameters())
    print(f"original {before:.4f}; pruned {pruned:.4f}; recovered by {SITES} sites {after:.4f}")
    print(
        f"{zeros} zeros, as many as the masks left: {zeros >= sum(int((~m).sum()) for m in masks.values())}"
    )
    return 0 if after - pruned >= 0.5 * (before - pruned) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
