"""ResNet-20 and ResNet-56 for CIFAR-10 as plain PyTorch modules.

Give jettison a function of this file and a file of weights:

    jettison optimize examples/cifar_resnet.py:resnet20 --weights resnet20.safetensors ...

The layers are those of section 4.2 of He et al., "Deep Residual Learning for Image Recognition"
(2015): three stages of 16, 32 and 64 channels. Two kinds of shortcut are in use where a stage
halves the image: a 1x1 convolution with BatchNorm (option B), and option A without weights, which
takes every second pixel and pads the missing channels with zeros.
"""

from __future__ import annotations

import torch
from torch import nn

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, and zeros for the channels that are new."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gives shape (n, 2 * channels, h / 2, w / 2) for (n, channels, h, w)."""
        half = self.channels // 2
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    The option-B shortcut is named `downsample`, so that its weights have the names that
    checkpoints give them; option A has no weights.
    """

    def __init__(self, inputs: int, outputs: int, *, padded: bool) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride == 2 and padded:
            self.downsample = PaddedShortcut(inputs)
        elif stride == 2:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gives shape (n, outputs, h', w') for (n, inputs, h, w)."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class CifarResNet(nn.Module):
    """A residual network for images of 32 x 32 pixels.

    Args:
        blocks: residual blocks in each of the three stages; the depth is 6 * blocks + 2.
        padded: option-A shortcuts instead of 1x1 convolutions.
        head: attribute name of the last layer, as in the checkpoint (`fc` or `linear`).
    """

    def __init__(self, blocks: int, *, padded: bool = False, head: str = "fc") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for number, (inputs, outputs) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            stage = [
                Block(inputs if i == 0 else outputs, outputs, padded=padded) for i in range(blocks)
            ]
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.head = head
        setattr(self, head, nn.Linear(64, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Answers normalised images.

        Args:
            image: shape (n, 3, 32, 32), RGB; (pixel / 255 - mean) / std of the checkpoint.

        Returns:
            Scores, shape (n, 10), in the order of `CLASSES`.
        """
        x = torch.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(self.layer1(x)))
        answer: torch.Tensor = getattr(self, self.head)(x.mean((2, 3)))
        return answer


def resnet20() -> CifarResNet:
    """ResNet-20 with 1x1-convolution shortcuts and the last layer `fc` (mean 0.5, std 0.5)."""
    return CifarResNet(3)


def resnet20_option_a() -> CifarResNet:
    """ResNet-20 with padded shortcuts and the last layer `linear` (ImageNet mean and std)."""
    return CifarResNet(3, padded=True, head="linear")


def resnet56_option_a() -> CifarResNet:
    """ResNet-56 with padded shortcuts and the last layer `linear` (ImageNet mean and std)."""
    return CifarResNet(9, padded=True, head="linear")
