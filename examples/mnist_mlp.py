"""MLPNet, the small network on MNIST in the papers on pruning, as a plain PyTorch module.

Give jettison the function and a file of weights:

    jettison optimize examples/mnist_mlp.py:mlpnet --weights mlpnet.safetensors ...
"""

from __future__ import annotations

import torch
from torch import nn


class MlpNet(nn.Module):
    """Three matrices without biases, 784-40-20-10, with ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 40, bias=False)
        self.fc2 = nn.Linear(40, 20, bias=False)
        self.fc3 = nn.Linear(20, 10, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Answers normalised images.

        Args:
            image: shape (n, 28, 28) or (n, 1, 28, 28); (pixel / 255 - 0.1307) / 0.3081.

        Returns:
            Scores, shape (n, 10).
        """
        x = torch.relu(self.fc1(image.flatten(1)))
        answer: torch.Tensor = self.fc3(torch.relu(self.fc2(x)))
        return answer


def mlpnet() -> MlpNet:
    """MLPNet with random weights."""
    return MlpNet()
