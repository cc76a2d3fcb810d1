"""CIFAR-10 images and the ResNets of the shared data, whole or narrowed, for PyTorch alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from examples import cifar_resnet

NETWORKS = {"resnet20": cifar_resnet.resnet20_option_a, "resnet56": cifar_resnet.resnet56_option_a}
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HELD_OUT = 100
"""Training rows of each class that no training reads: settings are chosen on them."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cifar:
    """Pixels of shape (n, 32, 32, 3) with labels (n,), by name of the set."""

    pixels: Mapping[str, Images]
    labels: Mapping[str, npt.NDArray[np.int64]]

    def save(self, path: Path) -> None:
        np.savez(
            path,
            **{f"x_{k}": v for k, v in self.pixels.items()},
            **{f"y_{k}": v for k, v in self.labels.items()},
        )

    @classmethod
    def load(cls, path: Path) -> Cifar:
        with np.load(path) as kept:
            sets = [name[2:] for name in kept.files if name.startswith("x_")]
            return cls({s: kept[f"x_{s}"] for s in sets}, {s: kept[f"y_{s}"] for s in sets})


def decode(folder: Path, every: int = 1) -> Cifar:
    """Reads the sets of the shared data: `train`, `held_out`, `jpeg` and `lossless`.

    `train` is 29,000 JPEG images and the 1,000 lossless training images; `held_out` 1,000 JPEG
    training images; `jpeg` the 10,000 and `lossless` the first 1,000 test images.
    """
    pixels, labels = {}, {}
    with np.load(folder / "vision/cifar10-lossless-subset.npz") as file:
        clean = {key: file[key] for key in file.files}
    x, y = jpegs(folder / "vision/cifar10-jpeg-train.npz", every)
    place = np.concatenate([np.arange(int((y == c).sum())) for c in range(10)])
    held = place < max(1, HELD_OUT // every)
    pixels["held_out"], labels["held_out"] = x[held], y[held]
    pixels["train"] = np.concatenate([x[~held], clean["x_train"][::every]])
    labels["train"] = np.concatenate([y[~held], clean["y_train"][::every].astype(np.int64)])
    pixels["jpeg"], labels["jpeg"] = jpegs(folder / "vision/cifar10-jpeg-test.npz", every)
    pixels["lossless"] = clean["x_test"][::every]
    labels["lossless"] = clean["y_test"][::every].astype(np.int64)
    return Cifar(pixels, labels)


def jpegs(path: Path, every: int) -> tuple[Images, npt.NDArray[np.int64]]:
    """Every k-th image of a stored set with its label."""
    from PIL import Image

    with np.load(path) as file:
        data, offsets, y = file["jpeg"], file["offsets"], file["y"].astype(np.int64)

    def one(i: int) -> Images:
        raw = data[offsets[i] : offsets[i + 1]].tobytes()
        return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))

    chosen = np.arange(0, len(y), every)
    with ThreadPoolExecutor(4) as pool:
        return np.stack(list(pool.map(one, chosen))), y[chosen]


def normalised(pixels: Images, device: str) -> torch.Tensor:
    """Gives shape (n, 3, 32, 32), float32, as the checkpoints want it."""
    x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((x - mean) / std).contiguous()


def load_network(name: str, folder: Path, device: str = "cpu") -> nn.Module:
    """The trained network as it was published, in eval mode."""
    from safetensors.torch import load_file

    module = NETWORKS[name]()
    module.load_state_dict(load_file(folder / f"models/{name}-cifar10-akamaster.safetensors"))
    return module.to(device).eval()


def narrowed_network(name: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """A network with the widths that a state dict of a narrowed one has."""
    module = NETWORKS[name]()
    for path, part in module.named_modules():
        weight = state.get(f"{path}.weight")
        if isinstance(part, nn.Conv2d) and weight is not None:
            part.out_channels, part.in_channels = weight.shape[:2]
            part.weight = nn.Parameter(torch.empty_like(weight))
        elif isinstance(part, nn.BatchNorm2d) and weight is not None:
            part.num_features = len(weight)
            part.weight, part.bias = (nn.Parameter(torch.empty_like(weight)) for _ in range(2))
            part.running_mean, part.running_var = (torch.empty_like(weight) for _ in range(2))
    module.load_state_dict(state)
    return module.eval()


def accuracy(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of right answers, in percent."""
    with torch.no_grad():
        right = sum(
            int((module(x[i : i + 2000]).argmax(1) == y[i : i + 2000]).sum())
            for i in range(0, len(x), 2000)
        )
    return 100.0 * right / len(x)


def crop_and_flip(
    inputs: Mapping[str, torch.Tensor], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """A random shift by up to 4 pixels and a mirror image in half of the cases, row by row."""
    x = inputs["image"]
    n = len(x)
    shift = torch.randint(0, 9, (2, n), generator=generator).to(x.device)
    mirror = (torch.rand(n, generator=generator) < 0.5).to(x.device)
    windows = nn.functional.pad(x, (4, 4, 4, 4)).unfold(2, 32, 1).unfold(3, 32, 1)
    cut = windows[torch.arange(n, device=x.device), :, shift[0], shift[1]]
    return {"image": torch.where(mirror[:, None, None, None], cut.flip(3), cut)}
