"""Which weights may stay: projections onto sets of masks. Importing this file imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from jettison.numerics.masks import largest


class Budget(Protocol):
    """A set of allowed masks."""

    def mask(self, scores: Any) -> Any:
        """The allowed mask that keeps most of the scores, bool of shape (p,).

        Args:
            scores: shape (p,), not negative; -1 marks weights to drop first.
        """
        ...

    def groups(self) -> tuple[slice, ...] | None:
        """Parts within each of which the largest scores stay, however many; `None` if not so."""
        ...


@dataclass(frozen=True, slots=True)
class LargestOverall:
    """The `keep` largest scores of all."""

    keep: int

    def mask(self, scores: Any) -> Any:
        """As `Budget.mask`."""
        return largest(scores, self.keep)

    def groups(self) -> tuple[slice, ...] | None:
        """All weights are one group."""
        return (slice(None),)


@dataclass(frozen=True, slots=True)
class LargestPerLayer:
    """In each layer its own number of largest scores.

    Attributes:
        layers: the layers' parts of the vector.
        keeps: how many stay in each.
    """

    layers: tuple[slice, ...]
    keeps: tuple[int, ...]

    def mask(self, scores: Any) -> Any:
        """As `Budget.mask`."""
        parts = [
            largest(scores[part], keep) for part, keep in zip(self.layers, self.keeps, strict=True)
        ]
        return torch.cat(parts)

    def groups(self) -> tuple[slice, ...] | None:
        """Each layer is a group."""
        return self.layers


@dataclass(frozen=True, slots=True)
class PerGroup:
    """N of every M neighbours in each weight matrix (2:4, 4:8, ...).

    Attributes:
        shapes: (out, in * window) of each matrix.
        projections: for each matrix, scores of its shape to the allowed mask of its shape.
    """

    shapes: tuple[tuple[int, int], ...]
    projections: tuple[Callable[[Any], Any], ...]

    def mask(self, scores: Any) -> Any:
        """As `Budget.mask`."""
        parts = torch.split(scores, [rows * columns for rows, columns in self.shapes])
        masks = [
            project(part.reshape(shape)).flatten()
            for part, shape, project in zip(parts, self.shapes, self.projections, strict=True)
        ]
        return torch.cat(masks)

    def groups(self) -> tuple[slice, ...] | None:
        """Groups are too many to look at one by one."""
        return None


def keeps(sizes: Sequence[int], sparsity: float) -> tuple[int, ...]:
    """How many weights of each size stay at a sparsity from 0 to 1; exact to the nearest."""
    return tuple(size - round(sparsity * size) for size in sizes)
