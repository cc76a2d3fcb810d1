"""The prunable weights of a module as one long vector. Importing this file imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class WeightEntry:
    """One weight.

    Attributes:
        name: qualified name of the parameter.
        parameter: the parameter itself.
        transposed: stored as (in, out) instead of (out, in, ...).
    """

    name: str
    parameter: Any
    transposed: bool = False

    def matrix(self, tensor: Any) -> Any:
        """A tensor of the parameter's shape (with leading dimensions) as (..., out, in * window)."""
        if self.transposed:
            return tensor.transpose(-1, -2)
        leading = tensor.dim() - self.parameter.dim()
        return tensor.flatten(leading + 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs of the matrix."""
        rows, columns = self.matrix(self.parameter).shape
        return int(rows), int(columns)


class WeightVector:
    """Several weights, each a matrix (out, in * window) in row-major order, one after another.

    Args:
        entries: each weight once; p is the sum of their sizes.
        part: what `read` and `flat` give of the vector; all by default.
    """

    def __init__(self, entries: Sequence[WeightEntry], part: slice = slice(None)) -> None:
        self.entries = tuple(entries)
        self._part = part
        self.shapes = tuple(entry.shape for entry in self.entries)
        sizes = [rows * columns for rows, columns in self.shapes]
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self.slices = tuple(
            slice(start, start + size) for start, size in zip(starts, sizes, strict=True)
        )
        self.size = len(range(sum(sizes))[part])

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters, in order."""
        return tuple(entry.parameter for entry in self.entries)

    def read(self) -> Any:
        """The weights of the part, shape (p,) of float32, a copy."""
        with torch.no_grad():
            return self.flat([entry.parameter for entry in self.entries]).clone()

    def write(self, values: Any) -> None:
        """Puts weights into the module, all of them whatever the part: shape (p,)."""
        with torch.no_grad():
            for entry, part, shape in zip(self.entries, self.slices, self.shapes, strict=True):
                new = values[part].reshape(shape)
                new = new.t() if entry.transposed else new.reshape(entry.parameter.shape)
                entry.parameter.copy_(new)

    def flat(self, tensors: Sequence[Any]) -> Any:
        """The part of tensors shaped like the parameters, with equal leading dimensions: (..., p)."""
        parts = [
            entry.matrix(tensor).flatten(-2)
            for entry, tensor in zip(self.entries, tensors, strict=True)
        ]
        return torch.cat(parts, dim=-1)[..., self._part].float()

    def named(self) -> Mapping[str, Any]:
        """Parameter name -> parameter."""
        return {entry.name: entry.parameter for entry in self.entries}

    def where(self, flags: Any) -> str:
        """The name of the first weight where a mask of shape (p,) is set; empty if nowhere."""
        first = int(flags.nonzero()[0]) + (self._part.start or 0) if bool(flags.any()) else -1
        return next(
            (
                e.name
                for e, s in zip(self.entries, self.slices, strict=True)
                if first in range(*s.indices(s.stop))
            ),
            "",
        )

    def within(self, part: slice) -> WeightVector:
        """A vector over a contiguous part of this one, with only the entries that it meets."""
        met = [
            number
            for number, own in enumerate(self.slices)
            if own.start < part.stop and part.start < own.stop
        ]
        offset = self.slices[met[0]].start
        inside = slice(part.start - offset, part.stop - offset)
        return WeightVector(self.entries[met[0] : met[-1] + 1], inside)
