"""Structured pruning of ResNet-20 and ResNet-56 at 2x MACs, with and without fine-tuning.

    PYTHONPATH=src:.bench/structured/site OUT=/tmp/out python -m benchmarks.structured_resnet_h100 \
        --data .bench/structured/data --which trained --seconds 240

Needs PyTorch, NumPy, Pillow, safetensors and Torch-Pruning, and no accelerator to run small
(`--every 50 --epochs 1 --device cpu`). Each row of the table is one job. Jobs run in two
processes: a network of this size leaves half of an accelerator idle, and more processes only
wait for each other. Writes `structured_resnet.json` after every row, and the weights that are
timed on the CPU (`structured_weights.npz`).
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.structured import cifar
from jettison.errors import CandidateFailed
from jettison.graphs.torch_batchnorm import recalibrate
from jettison.graphs.torch_examples import TensorExamples
from jettison.graphs.torch_low_rank import factor, output_weights, replace, thin_layers
from jettison.graphs.torch_macs import layer_macs, total_macs
from jettison.graphs.torch_narrowing import NarrowingPlan, narrow
from jettison.numerics.rank_allocation import RankOptions, ranks_for_cost
from jettison.training.loop import TrainingPlan, train
from jettison.training.objectives import CrossEntropy, Distillation, Objective, Weighted

FITTING = 2048
"""Training rows that importance, refitting and BatchNorm statistics read."""


@dataclass(frozen=True)
class Job:
    """One row of the table.

    `importance` is empty for the original; `opened` replaces padded shortcuts by the 1x1
    convolutions that answer the same, so that the residual stream can become narrower too.
    `svd variance` and `svd loss` factor layers instead of narrowing them.
    """

    network: str
    importance: str = ""
    refit: bool = True
    evenly: bool = False
    rounds: int = 1
    opened: bool = False
    removed: float = 0.5
    round_to: int = 1
    epochs: int = 0
    target: str = "both"
    seed: int = 0
    keep: bool = False

    @property
    def title(self) -> str:
        parts = [self.network, self.importance or "original"]
        if self.importance:
            parts += [f"-{self.removed:.0%}", "refit" if self.refit else "no refit"]
        parts += ["even"] * self.evenly + [f"{self.rounds} rounds"] * (self.rounds > 1)
        parts += ["opened"] * self.opened + [f"round {self.round_to}"] * (self.round_to > 1)
        parts += [f"{self.epochs} epochs, {self.target}"] * (self.epochs > 0)
        return " ".join([*parts, f"seed {self.seed}"])


def untrained() -> list[Job]:
    """Rows without training."""
    found = []
    for network in ("resnet56", "resnet20"):
        found.append(Job(network))
        for importance in ("reconstruction", "fisher", "taylor", "group_l1", "l1"):
            for refit in (True, False):
                found.append(Job(network, importance, refit=refit))
            found.append(Job(network, importance, evenly=True))
        found += [Job(network, "fisher", rounds=4), Job(network, "group_l1", rounds=4)]
        found += [Job(network, "fisher", removed=0.25), Job(network, "fisher", opened=True)]
        found += factored(network)
    return found


def factored(network: str) -> list[Job]:
    """Rows of thin layers."""
    return [
        Job(network, f"svd {how}", removed=r) for r in (0.3, 0.5) for how in ("variance", "loss")
    ]


def trained(epochs: int) -> list[Job]:
    """Rows with training, the most important first, and those that the first run did not have."""
    found = []
    for network in ("resnet56", "resnet20"):
        found.append(Job(network, "fisher", epochs=epochs, keep=True))
        found.append(Job(network, epochs=epochs, keep=True))
    for network in ("resnet56", "resnet20"):
        found.append(Job(network, "reconstruction", epochs=epochs, keep=True))
    for network in ("resnet56", "resnet20"):
        found.append(Job(network, "group_l1", epochs=epochs))
        found.append(Job(network, "reconstruction", epochs=epochs, round_to=8, keep=True))
    for seed in (1, 2):
        for importance in ("fisher", "", "reconstruction"):
            found.append(Job("resnet20", importance, epochs=epochs, seed=seed))
    found += [*factored("resnet20"), *factored("resnet56")]
    found += [
        Job("resnet20", "reconstruction", removed=0.25),
        Job("resnet56", "reconstruction", removed=0.25),
        Job("resnet20", "reconstruction", epochs=epochs, target="labels"),
        Job("resnet20", "reconstruction", epochs=epochs, target="original"),
        Job("resnet56", "reconstruction", epochs=epochs, seed=1),
        Job("resnet56", "fisher", epochs=epochs, seed=1),
        Job("resnet56", epochs=epochs, seed=1),
    ]
    return found


def open_shortcuts(module: nn.Module) -> nn.Module:
    """Replaces option-A shortcuts by 1x1 convolutions with weights 0 and 1."""
    for block in [part for part in module.modules() if hasattr(part, "downsample")]:
        if isinstance(block.downsample, nn.Identity):
            continue
        inputs = block.downsample.channels
        conv = nn.Conv2d(inputs, 2 * inputs, 1, 2, bias=False)
        with torch.no_grad():
            conv.weight.zero_()
            for channel in range(inputs):
                conv.weight[inputs // 2 + channel, channel] = 1
        block.downsample = conv.to(next(block.parameters()).device)
    return module


def carry_out(job: Job, data: Any, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One row: narrow, measure, train, measure."""
    device = options.device
    original = cifar.load_network(job.network, folder, device)
    module = copy.deepcopy(original)
    if job.opened:
        module = open_shortcuts(module)
    one = {"image": data["train"][0][:1]}
    row: dict[str, Any] = {**asdict(job), "title": job.title, "macs_dense": total_macs(module, one)}
    begun = time.monotonic()
    if job.importance.startswith("svd"):
        row["ranks"] = _factored(module, job, data)
    elif job.importance:
        row["widths"] = narrowed(module, job, data)
    row |= {"narrowing_seconds": time.monotonic() - begun, "macs": total_macs(module, one)}
    row["parameters"] = sum(p.numel() for p in module.parameters())
    row |= {f"{name}_before_training": cifar.accuracy(module, *data[name]) for name in TESTED}
    begun = time.monotonic()
    if job.epochs:
        row["losses"] = _trained(module, original, job, data, options)
        row["epochs_done"] = len(row["losses"])
    row["training_seconds"] = time.monotonic() - begun
    row |= {name: cifar.accuracy(module, *data[name]) for name in TESTED}
    if job.keep:
        state = {key: value.float().cpu().numpy() for key, value in module.state_dict().items()}
        np.savez(Path(options.scratch) / f"{job.title.replace(' ', '_')}.npz", **state)
    return row


TESTED = ("held_out", "jpeg", "lossless")


def _fitting(job: Job, data: Any) -> tuple[list[dict[str, Any]], Any]:
    """Batches of fitting rows, and the loss of some of them, summed."""
    x, y = data["train"]
    picked = torch.randperm(len(x), generator=torch.Generator().manual_seed(job.seed))[:FITTING]
    x, y = x[picked.to(x.device)], y[picked.to(x.device)]
    size = min(256, len(x))

    def loss(answer: Any, rows: slice) -> Any:
        return nn.functional.cross_entropy(answer, y[rows], reduction="sum")

    return [{"image": x[i : i + size]} for i in range(0, len(x), size)], loss


def _factored(module: nn.Module, job: Job, data: Any) -> dict[str, int | None]:
    batches, loss = _fitting(job, data)
    layers = thin_layers(module)
    weighed = job.importance.endswith("loss")
    weights = output_weights(module, layers, batches, loss) if weighed else {}
    made = factor(module, layers, batches, weights)
    macs = layer_macs(module, {"image": batches[0]["image"][:1]})
    options = []
    for one in made:
        lost, full = one.lost.cpu().numpy(), float(macs[one.layer.name])
        lost = lost if weighed else lost / float(lost[0])
        options.append(RankOptions(lost, full * one.unit_cost / one.full_cost, full))
    ranks = ranks_for_cost(options, (1 - job.removed) * sum(macs.values()))
    for one, rank in zip(made, ranks, strict=True):
        if rank is not None:
            replace(module, one, rank)
    recalibrate(module, batches)
    return {one.layer.name: rank for one, rank in zip(made, ranks, strict=True)}


def narrowed(module: nn.Module, job: Job, data: Any) -> dict[str, tuple[int, int]]:
    """Narrows the module as the job says; gives units before and after, by first layer."""
    batches, loss = _fitting(job, data)
    plan = NarrowingPlan(
        job.removed,
        importance=job.importance,
        evenly=job.evenly,
        rounds=job.rounds,
        round_to=job.round_to,
        refit_readers=job.refit,
    )

    return dict(narrow(module, plan, batches, loss).widths)


def _trained(
    module: nn.Module, original: nn.Module, job: Job, data: Any, options: argparse.Namespace
) -> list[float]:
    x, y = data["train"]
    objective: Objective = CrossEntropy()
    distil = Distillation(original, temperature=2.0)
    if job.target != "labels":
        objective = Weighted(((0.5, objective), (0.5, distil))) if job.target == "both" else distil
    plan = TrainingPlan(
        job.epochs,
        learning_rate=options.learning_rate,
        schedule="cosine",
        batch_size=min(512, len(x)),
        weight_decay=1e-4,
        seed=job.seed,
        clip=0.0,
        bfloat16=options.device == "cuda",
        seconds=max(0.1, options.stop - time.time()),
    )
    torch.backends.cudnn.benchmark = True
    # The kernels of 16-bit convolutions want the channels last.
    for net in (module, original):
        net.to(memory_format=torch.channels_last)
    rows = TensorExamples({"image": x}, y)
    done = train(module, rows, objective, plan, augment=cifar.crop_and_flip)
    torch.backends.cudnn.benchmark = False
    module.to(memory_format=torch.contiguous_format)
    # With images as they are served. The rows are sorted by class, so they must be mixed: batches
    # of one class each give BatchNorm statistics that no mixed batch has.
    mixed = torch.randperm(len(x), generator=torch.Generator().manual_seed(job.seed))[:8192]
    parts = mixed.to(x.device).split(min(256, len(x)))
    recalibrate(module, [{"image": x[part]} for part in parts if len(part) >= min(128, len(x))])
    return list(done.losses)


def _work(queue: Any, answers: Any, options: argparse.Namespace) -> None:
    try:
        _work_off(queue, answers, options)
    finally:
        # A worker that fails shows its traceback, and nobody waits for it.
        answers.put(None)


def _work_off(queue: Any, answers: Any, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    # Groups of channels are told by comparing answers, for which 10 bits are too few.
    torch.backends.cudnn.allow_tf32 = False
    images = cifar.Cifar.load(Path(options.scratch) / "images.npz")
    data = {
        name: (
            cifar.normalised(images.pixels[name], options.device),
            torch.from_numpy(images.labels[name]).to(options.device),
        )
        for name in images.pixels
    }
    for job in iter(queue.get, None):
        if time.time() > options.stop - options.shortest:
            answers.put({**asdict(job), "title": job.title, "failed": "no time was left"})
            continue
        try:
            answers.put(carry_out(job, data, Path(options.data), options))
        except CandidateFailed as error:
            answers.put({**asdict(job), "title": job.title, "failed": str(error)})


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs all jobs, some at a time; gives their rows as they were done."""
    context = multiprocessing.get_context("spawn")
    queue, answers = context.Queue(), context.Queue()
    every = trained(options.epochs) if options.which == "trained" else untrained()
    chosen = [job for job in every if options.only in job.title]
    for job in [*chosen, *[None] * options.workers]:
        queue.put(job)
    workers = [
        context.Process(target=_work, args=(queue, answers, options), daemon=True)
        for _ in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    rows = []
    for row in _until_done(answers, workers):
        rows.append(row)
        shown = row.get("failed") or (
            f"{row['macs'] / row['macs_dense']:.2f} of MACs, {row['parameters']:,} weights; "
            f"jpeg {row['jpeg_before_training']:.2f} -> {row['jpeg']:.2f}, lossless "
            f"{row['lossless_before_training']:.1f} -> {row['lossless']:.1f}"
        )
        print(f"{row['title']}: {shown}", flush=True)
        _write(rows, options)
        if row["keep"]:
            _gather_weights(options)
    return rows


def _until_done(answers: Any, workers: list[Any]) -> Iterator[dict[str, Any]]:
    left = len(workers)
    while left:
        row = answers.get()
        if row is None:
            left -= 1
        else:
            yield row


def _write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    cuda = options.device == "cuda"
    content = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "rows": rows,
    }
    (Path(options.out) / "structured_resnet.json").write_text(json.dumps(content, indent=1))


def _gather_weights(options: argparse.Namespace) -> None:
    kept = {}
    for path in sorted(Path(options.scratch).glob("*seed*.npz")):
        with np.load(path) as file:
            kept |= {f"{path.stem}/{key}": file[key] for key in file.files}
    np.savez(Path(options.out) / "structured_weights.npz", **kept)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=".bench/structured/data")
    parser.add_argument("--out", default=os.environ.get("OUT", "."))
    parser.add_argument("--scratch", default="/tmp/structured")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--which", choices=("untrained", "trained"), default="trained")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--every", type=int, default=1, help="take every k-th row of each set")
    parser.add_argument("--only", default="", help="jobs whose title holds this")
    parser.add_argument("--seconds", type=float, default=240, help="training stops then")
    parser.add_argument("--shortest", type=float, default=15, help="no job starts with less left")
    options = parser.parse_args()
    begun = time.time()
    options.stop = begun + options.seconds
    Path(options.scratch).mkdir(parents=True, exist_ok=True)
    cifar.decode(Path(options.data), options.every).save(Path(options.scratch) / "images.npz")
    print(f"decoded after {time.time() - begun:.0f} s", flush=True)
    rows = run(options)
    print(f"{len(rows)} rows in {time.time() - begun:.0f} s on {options.device}", flush=True)


if __name__ == "__main__":
    main()
