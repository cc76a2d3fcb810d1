"""Rows as tensors by position, for techniques that learn from a PyTorch module.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from jettison.domain.splits import FittingData


class Examples(Protocol):
    """Examples that can be read by position."""

    @property
    def n(self) -> int:
        """How many there are."""
        ...

    def batch(self, index: Any) -> Mapping[str, Any]:
        """Input name -> tensor of shape (len(index), ...), on the module's device."""
        ...

    def targets(self, index: Any) -> Any | None:
        """Right answers, shape (len(index),), or `None` where there are none."""
        ...


@dataclass(frozen=True, slots=True)
class TensorExamples:
    """Examples that lie in memory, on any device.

    Attributes:
        inputs: input name -> tensor of shape (n, ...).
        answers: shape (n,), or `None`.
    """

    inputs: Mapping[str, Any]
    answers: Any | None = None

    @property
    def n(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))

    def batch(self, index: Any) -> Mapping[str, Any]:
        """As `Examples.batch`."""
        place = index.to(next(iter(self.inputs.values())).device)
        return {name: tensor[place] for name, tensor in self.inputs.items()}

    def targets(self, index: Any) -> Any | None:
        """As `Examples.targets`."""
        return None if self.answers is None else self.answers[index.to(self.answers.device)]


class FittingExamples:
    """Fitting rows from their files; ragged rows are cut to the longest of a batch.

    Args:
        fitting: rows with or without right answers.
        classes: whether the answers are class numbers.
    """

    def __init__(self, fitting: FittingData, *, classes: bool) -> None:
        self._rows = fitting.rows
        labels = fitting.labels
        found = None if labels is None else labels.targets
        kind = np.int64 if classes else np.float32
        self._targets = None if found is None else torch.from_numpy(found.astype(kind))

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self._rows.n

    def batch(self, index: Any) -> Mapping[str, Any]:
        """As `Examples.batch`."""
        arrays = self._rows.batch(index.numpy())
        # A copy: torch refuses to wrap memory-mapped arrays without a warning.
        return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}

    def targets(self, index: Any) -> Any | None:
        """As `Examples.targets`."""
        return None if self._targets is None else self._targets[index]
