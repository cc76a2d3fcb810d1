"""ResNet-20 made smaller, certified by class, by site (exact pixels or JPEG files) and as JPEG.

    python -m examples.cifar_contexts ../shared/data cifar-run

Two ways to ask «does it hold on JPEG?» stand side by side. A *site*: 9,000 test images that only
exist as JPEG files, a group like any other. A *context*: the 1,000 exact images of the other site,
saved as JPEG by a declared transformation. No image is in both: the JPEG files whose exact pixels
are there too are left out.
"""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import jettison as jt
from examples.cifar_resnet import CLASSES, resnet20_option_a

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FITTING = 300
QUALITY = 75
"""Of the JPEG files of the site, by their own tables."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def exported(data: Path, folder: Path) -> Path:
    """The network with its weights as ONNX, with a free batch."""
    network = resnet20_option_a()
    weights = load_file(data / "models/resnet20-cifar10-akamaster.safetensors")
    network.load_state_dict(weights, strict=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "resnet20.onnx"
    torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        dynamo=False,
    )
    return path


def opened(path: Path) -> tuple[Pixels, Pixels]:
    """Pixels (n, 32, 32, 3) and classes of a file of JPEG images."""
    with np.load(path) as stored:
        joined, ends, classes = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    files = [joined[begin:end] for begin, end in itertools.pairwise(ends)]
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in files]
    ), classes


def without_twins(
    pixels: Pixels, classes: Pixels, exact: Pixels, exact_classes: Pixels
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Marks the JPEG images that are no copy of an exact one: the nearest of its class is."""
    kept = np.ones(len(pixels), dtype=bool)
    for number in range(len(CLASSES)):
        places = np.flatnonzero(classes == number)
        flat = pixels[places].reshape(len(places), -1).astype(np.float32)
        for image in exact[exact_classes == number].reshape(-1, flat.shape[1]).astype(np.float32):
            kept[places[np.square(flat - image).mean(axis=1).argmin()]] = False
    return kept


def rows(data: Path, train_jpeg: int = 1_500) -> dict[str, dict[str, Any]]:
    """Fitting and selection rows from the training images, sealed rows from the test images."""
    with np.load(data / "vision/cifar10-lossless-subset.npz") as stored:
        exact = {name: stored[name] for name in stored.files}
    test, test_classes = opened(data / "vision/cifar10-jpeg-test.npz")
    other = without_twins(test, test_classes, exact["x_test"], exact["y_test"])
    train, train_classes = opened(data / "vision/cifar10-jpeg-train.npz")
    some = np.random.default_rng(0).choice(len(train), train_jpeg, replace=False)
    names = np.array(CLASSES)

    def table(*sites: tuple[str, Pixels, Pixels]) -> dict[str, Any]:
        classes = names[np.concatenate([one[2] for one in sites])]
        return {
            "image": np.concatenate([one[1] for one in sites]),
            "label": classes,
            "site": np.concatenate([np.full(len(one[2]), one[0]) for one in sites]),
        }

    x, y = exact["x_train"], exact["y_train"]
    return {
        "fitting": table(("exact", x[:FITTING], y[:FITTING])),
        "selection": table(
            ("exact", x[FITTING:], y[FITTING:]), ("jpeg", train[some], train_classes[some])
        ),
        "certification": table(
            ("exact", exact["x_test"], exact["y_test"]), ("jpeg", test[other], test_classes[other])
        ),
    }


def main(data: Path, folder: Path) -> int:
    """Makes the model smaller, and says where that hurts."""
    model = exported(data, folder)
    model.with_suffix(".labels.json").write_text(str(list(CLASSES)).replace("'", '"'))
    found = jt.optimize(
        model,
        rows(data),
        target="label",
        groups=["label", "site"],
        max_drop=0.01,
        max_drop_group=0.03,
        contexts=[
            {
                "name": f"jpeg{quality}",
                "transform": "jpeg",
                "settings": {"quality": quality},
                "of": "site=exact",
            }
            for quality in (QUALITY, 20)
        ],
        image={"mean": MEAN, "std": STD},
        search={
            "techniques": ["int8_static", "int8_dynamic"],
            "runtimes": ["onnx_runtime"],
            "minimise": ["size_bytes", "latency_ms"],
            "trials": 8,
        },
        serving={"batch_sizes": [16]},
        data_options={"inputs": ["image"]},
        output=str(folder / "run"),
        ledger=str(folder / "ledger"),
    )
    print(found.answer)
    for claim in found.certificate.claims:
        print(
            f"{claim.group:18s} n={claim.n:6,d} {claim.baseline:.2%} -> {claim.candidate:.2%}, drop at "
            f"most {claim.bound:.2%}: {claim.verdict}"
        )
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
