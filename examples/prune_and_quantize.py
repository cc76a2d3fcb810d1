"""Channel pruning, masks and int8 in one search: ResNet-20 on the JPEG images of CIFAR-10.

    python examples/prune_and_quantize.py [folder of the run] [--joint]

The network is given as a function and a file of weights, the images as JPEG bytes in a parquet
file. Fitting rows come from the training images: 2,000, because pruned layers are trained
again for a few epochs; selection and certification rows from the test images. Read the answer: on
a network as small as this one, fewer channels often lose more accuracy than they save time, and
int8 alone wins.

With `--joint` every setting is fixed, so that eight recipes are left, among them channels, a mask and
int8 together; the search tries all of them, if the minutes are enough.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import jettison as jt

SHARED = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Scale:
    """Rows, recipes, stages and costs: these end in a certified bundle after some minutes."""

    fitting: int = 2000
    selection: int = 1500
    certification: int = 8500
    trials: int = 10
    max_minutes: float = 8.0
    stages: int = 4
    epochs: int = 3
    costs: tuple[str, ...] = ("size_bytes", "latency_ms", "sparse_size_bytes")
    joint: bool = False


JOINT: dict[str, dict[str, bool | int | float | str]] = {
    "channel_pruning": {"removed": 0.1, "importance": "reconstruction", "ranking": "global"},
    "chita": {"sparsity": 0.5, "pattern": "unstructured", "keep_outer": True, "rows": 200},
    "int8_static": {
        "per_channel": True,
        "reduce_range": False,
        "operators": "conv+matmul",
        "calibrator": "minmax",
        "bias_correction": False,
        "smoothing": False,
        "fallback": 0.0,
        "exclude_layers": 0,
    },
}
"""A value for each setting that a search would vary: each technique is then tried in one way."""


def images(name: str, rows: slice) -> pd.DataFrame:
    """Some images of a split as JPEG bytes, in an order that mixes the classes."""
    with np.load(SHARED / "vision" / name) as held:
        joined, offsets, labels = held["jpeg"], held["offsets"], held["y"]
    order = np.random.default_rng(0).permutation(len(labels))[rows]
    jpeg = [joined[offsets[i] : offsets[i + 1]].tobytes() for i in order]
    return pd.DataFrame({"image": jpeg, "label": labels[order].astype("int64")})


def settings_of(scale: Scale) -> dict[str, dict[str, bool | int | float | str]]:
    """What is fixed: little, or everything."""
    fixed: dict[str, dict[str, bool | int | float | str]] = {
        "channel_pruning": {"fine_tune_epochs": scale.epochs},
        "chita": {"stages": scale.stages},
    }
    for name, values in JOINT.items() if scale.joint else ():
        fixed[name] = {**values, **fixed.get(name, {})}
    return fixed


def main(folder: Path, scale: Scale | None = None, ledger: str = "") -> jt.Result:
    """Writes the data, runs the search, prints the answer."""
    scale = scale or Scale()
    folder.mkdir(parents=True, exist_ok=True)
    test = slice(scale.selection, scale.selection + scale.certification)
    parts = {
        "fitting": images("cifar10-jpeg-train.npz", slice(scale.fitting)),
        "selection": images("cifar10-jpeg-test.npz", slice(scale.selection)),
        "certification": images("cifar10-jpeg-test.npz", test),
    }
    for use, table in parts.items():
        table.to_parquet(folder / f"{use}.parquet")
    result = jt.optimize(
        f"{HERE / 'cifar_resnet.py'}:resnet20",
        target="label",
        max_drop=0.01,
        model_options={
            "weights": str(SHARED / "models" / "resnet20-cifar10-chita.safetensors"),
            "inputs": ["image: float32[batch, 3, 32, 32]"],
        },
        image={"mean": [0.5], "std": [0.5]},
        data_options={
            **{use: str(folder / f"{use}.parquet") for use in parts},
            "fitting_rows": scale.fitting,
        },
        search={
            "techniques": ["channel_pruning", "chita", "export_onnx", "int8_static"],
            "runtimes": ["onnx_runtime"] if scale.joint else [],
            "minimise": list(scale.costs),
            "trials": scale.trials,
            "max_minutes": scale.max_minutes,
            "shortlist": 3,
        },
        settings=settings_of(scale),
        output=str(folder / "run"),
        ledger=ledger,
    )
    print(result.answer)
    for trial in result.record.trials:
        print(f"{trial.state:9} {trial.recipe}  {trial.reason}")
    return result


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--joint"]
    sizes = ("size_bytes", "sparse_size_bytes")
    all_of_them = Scale(1000, 1000, 8500, 8, 12.0, stages=1, epochs=1, costs=sizes, joint=True)
    wanted = all_of_them if "--joint" in sys.argv else Scale()
    main(Path(given[0] if given else "pruned-resnet"), wanted)
