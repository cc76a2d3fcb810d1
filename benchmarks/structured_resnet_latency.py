"""Latency of narrowed ResNets on this CPU, beside the originals.

    python -m benchmarks.structured_resnet_latency make   # narrows, a minute or two
    python -m benchmarks.structured_resnet_latency        # times, on a quiet machine

Networks are narrowed here, from few images and without training: that settles their widths, and
time does not depend on the values of weights. Other folders with `structured_weights.npz` (what the
accelerator trained) can be named instead. All variants of a network take turns in one process with one thread; each round
gives one ratio, and the interval is over rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import results_file
from benchmarks.load.ratios import ratio
from benchmarks.structured import cifar
from benchmarks.structured_resnet_h100 import Job, narrowed
from jettison.graphs.torch_macs import total_macs

ROUNDS = 15
BATCHES = (1, 32)
SECONDS = 0.05
"""Calls of one variant in a round take about this long."""

DATA = Path(__file__).parents[2] / "shared" / "data"
STORED = Path(__file__).parents[1] / ".bench" / "structured" / "narrowed"
FITTING = 256
"""Training images that importance and refitting read here."""

VARIANTS = (("fisher", 1), ("reconstruction", 1), ("reconstruction", 8), ("l1", 8))
"""Importance, and what widths are multiples of."""


def make(folder: Path) -> None:
    """Narrows each network to half of its multiply-accumulates and stores the weights."""
    data = decode_few()
    found = {}
    for network in ("resnet20", "resnet56"):
        for importance, step in VARIANTS:
            job = Job(network, importance, round_to=step)
            module = cifar.load_network(network, DATA)
            widths = narrowed(module, job, data)
            print(job.title, widths, flush=True)
            title = job.title.replace(" ", "_")
            found |= {f"{title}/{k}": v.numpy() for k, v in module.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "structured_weights.npz", **found)


def decode_few() -> dict[str, Any]:
    """Some training images, as `structured_resnet_h100` holds them."""
    pixels, labels = cifar.jpegs(DATA / "vision/cifar10-jpeg-train.npz", 30_000 // FITTING)
    return {"train": (cifar.normalised(pixels, "cpu"), torch.from_numpy(labels))}


def stored(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The state dict of each network in the file, by title."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    with np.load(path / "structured_weights.npz") as file:
        for key in file.files:
            title, _, name = key.partition("/")
            found.setdefault(title, {})[name] = torch.from_numpy(file[key])
    return found


def variants(network: str, weights: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The original and every narrowed network, by method."""
    made: dict[str, nn.Module] = {"original": cifar.load_network(network, DATA)}
    for title, state in weights.items():
        parts = title.split("_")
        if parts[0] == network and parts[1] != "original":
            method = " ".join(parts[1 : parts.index("refit") + 1])
            rounded = " in steps of 8" if "round" in parts else ""
            rounded += ", trained" if "epochs," in parts else ""
            made[f"{method}{rounded}"] = cifar.narrowed_network(network, state)
    return made


def calls(
    modules: Mapping[str, nn.Module], runtime: str, batch: int
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One call of each variant on a batch of made-up images."""
    image = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for method, module in modules.items():
        if runtime == "torch eager":
            yield method, lambda module=module: _eager(module, image)  # type: ignore[misc]
        else:
            session = _session(module)
            yield method, lambda session=session: session.run(None, {"image": image.numpy()})  # type: ignore[misc]


def _eager(module: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        answer: torch.Tensor = module(image)
    return answer


def _session(module: nn.Module) -> Any:
    import io
    import warnings

    import onnxruntime

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, 32, 32),),
            buffer,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        buffer.getvalue(), options, providers=["CPUExecutionProvider"]
    )


def interleaved(named: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Seconds of one call of each variant in each round; the order changes from round to round."""
    counts = {}
    for method, call in named.items():
        call()
        start = time.perf_counter()
        call()
        counts[method] = max(1, round(SECONDS / (time.perf_counter() - start)))
    seen: dict[str, list[float]] = {method: [] for method in named}
    order = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for method in order.permutation(sorted(named)):
            call = named[method]
            call()
            start = time.perf_counter()
            for _ in range(counts[method]):
                call()
            seen[method].append((time.perf_counter() - start) / counts[method])
    return seen


def rows_of(network: str, modules: Mapping[str, nn.Module]) -> Iterator[results_file.Row]:
    """Every number about the variants of one network."""
    one = {"image": torch.zeros(1, 3, 32, 32)}
    macs = {method: total_macs(module, one) for method, module in modules.items()}
    for method, module in modules.items():
        count = sum(p.numel() for p in module.parameters())
        yield _row(network, method, "multiply-accumulates", macs[method] / 1e6, "million")
        yield _row(network, method, "parameters", count / 1e3, "thousand")
        gain = macs["original"] / macs[method]
        yield _row(network, method, "multiply-accumulates, original / this", gain, "ratio")
    for runtime in ("onnxruntime", "torch eager"):
        for batch in BATCHES:
            seen = interleaved(dict(calls(modules, runtime, batch)))
            base = np.array(seen["original"])
            for method, seconds in seen.items():
                where = f"{runtime}, batch {batch}"
                middle = 1e3 * float(np.median(seconds)) / batch
                yield results_file.Row(
                    network, method, f"latency a row, {where}", middle, None, None, "ms", ROUNDS
                )
                if method != "original":
                    found = ratio(base, seconds)
                    yield results_file.Row(
                        network,
                        method,
                        f"speed, original / this, {where}",
                        found.value,
                        found.low,
                        found.high,
                        "ratio",
                        found.n,
                        f"{macs['original'] / macs[method]:.2f}x fewer multiply-accumulates",
                    )


def _row(network: str, method: str, metric: str, value: float, unit: str) -> results_file.Row:
    return results_file.Row(network, method, metric, value, None, None, unit, 1)


def main() -> None:
    """Times all stored networks and stores the table."""
    torch.set_num_threads(1)
    if sys.argv[1:] == ["make"]:
        make(STORED)
        return
    folders = [Path(word) for word in sys.argv[1:]] or [STORED]
    weights = {title: state for folder in folders for title, state in stored(folder).items()}
    rows = []
    for network in ("resnet20", "resnet56"):
        for row in rows_of(network, variants(network, weights)):
            rows.append(row)
            print(f"{row.model} {row.method} {row.metric}: {row.value:.4g} {row.low} {row.high}")
    results_file.write(
        "structured_resnet_latency",
        rows,
        [
            "One process, one thread; variants take turns, the interval is a bootstrap over rounds.",
            "Narrowed networks have half of the original's multiply-accumulates.",
        ],
    )


if __name__ == "__main__":
    main()
