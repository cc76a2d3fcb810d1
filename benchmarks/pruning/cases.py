"""Trained networks with their images: MLPNet on MNIST and ResNet-20 on CIFAR-10 as JPEG."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.structured.cifar import Images, jpegs
from examples.cifar_resnet import resnet20
from examples.mnist_mlp import mlpnet
from jettison.graphs.torch_examples import TensorExamples

CIFAR_HALF = 0.5
"""Mean and standard deviation of every channel, as this checkpoint wants them."""


@dataclass(frozen=True)
class Case:
    """A trained network, the rows that it may be fitted on, and the test rows."""

    title: str
    network: Any
    training: TensorExamples
    test: TensorExamples

    def fresh(self) -> Any:
        """A copy of the trained network."""
        return copy.deepcopy(self.network)

    def accuracy(self, module: Any) -> float:
        """Right answers on the test rows, in percent."""
        right = 0
        with torch.no_grad():
            for index in torch.arange(self.test.n).split(2000):
                scores = module(**self.test.batch(index))
                right += int((scores.argmax(1) == self.test.targets(index)).sum())
        return 100.0 * right / self.test.n


def mlpnet_case(folder: Path, device: str) -> Case:
    """MLPNet of the papers on pruning, with 30,000 training and 10,000 test images."""
    with np.load(folder / "vision/mnist.npz") as file:
        arrays = {key: file[key] for key in file.files}

    def examples(part: str) -> TensorExamples:
        pixels = torch.from_numpy(arrays[f"x_{part}"]).to(device).float() / 255
        answers = torch.from_numpy(arrays[f"y_{part}"].astype(np.int64)).to(device)
        return TensorExamples({"image": (pixels - 0.1307) / 0.3081}, answers)

    module = mlpnet()
    module.load_state_dict(load_file(folder / "models/mlpnet-mnist-chita.safetensors"))
    return Case("MLPNet, MNIST", module.to(device).eval(), examples("train"), examples("test"))


def resnet20_case(folder: Path, device: str, every: int = 1) -> Case:
    """ResNet-20 of the same papers, with 30,000 and 10,000 images, both strongly compressed."""

    def examples(part: str) -> TensorExamples:
        pixels, answers = jpegs(folder / f"vision/cifar10-jpeg-{part}.npz", every)
        return TensorExamples(
            {"image": _image(pixels, device)}, torch.from_numpy(answers).to(device)
        )

    module = resnet20()
    module.load_state_dict(load_file(folder / "models/resnet20-cifar10-chita.safetensors"))
    title = "ResNet-20, CIFAR-10 as JPEG"
    return Case(title, module.to(device).eval(), examples("train"), examples("test"))


def _image(pixels: Images, device: str) -> Any:
    x = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    return ((x - CIFAR_HALF) / CIFAR_HALF).contiguous()
