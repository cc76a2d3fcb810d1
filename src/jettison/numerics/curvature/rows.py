"""`FisherRows`: gradients of mini-batches in 16 bits, and products with them.

Importing this file imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

TOP = 15
"""Rows are scaled so that their largest entry lies below 2 ** 15: half precision then reaches from
there down to 2 ** -24, twelve decades, without overflow."""

SMALLEST = 2.0**-100
"""A row whose entries are all smaller than this is stored as zeros or nearly so."""


@dataclass(frozen=True, slots=True)
class FisherRows:
    """A of shape (n, p): row i is the gradient of the mean loss of mini-batch i.

    The empirical Fisher matrix is samples / n * A^T A (Benbaki et al., "Fast as CHITA", ICML
    2023, section 3; samples = 1 is the textbook form). All products are made in float32, a few
    rows or columns at a time.

    Attributes:
        values: shape (n, p) of float16 or float32, on any device.
        scales: shape (n,); row i of A is `scales[i] * values[i]`.
        samples: examples in each mini-batch.
        workspace_bytes: the most that one product may take beside the rows.
    """

    values: Any
    scales: Any
    samples: int = 1
    workspace_bytes: int = 256 * 2**20

    @classmethod
    def of(cls, matrix: Any, samples: int = 1) -> FisherRows:
        """Rows from a float matrix of shape (n, p), kept in 16 bits."""
        values = torch.empty(matrix.shape, dtype=torch.float16, device=matrix.device)
        scales = torch.empty(matrix.shape[0], device=matrix.device)
        put(values, scales, 0, matrix.float())
        return cls(values, scales, samples)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def p(self) -> int:
        """Number of weights."""
        return int(self.values.shape[1])

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored rows."""
        return int(self.values.numel() * self.values.element_size())

    def times(self, vector: Any) -> Any:
        """A v, shape (n,), for v of shape (p,)."""
        found = torch.empty_like(self.scales)
        for rows, part in self._parts():
            found[rows] = part @ vector
        return found * self.scales

    def transposed(self, vector: Any) -> Any:
        """A^T s, shape (p,), for s of shape (n,)."""
        scaled = vector * self.scales
        total = torch.zeros(self.p, device=self.values.device)
        for rows, part in self._parts():
            total.addmv_(part.T, scaled[rows])
        return total

    def columns(self, index: Any) -> Any:
        """Some columns of A, shape (n, k) of float32, for positions of shape (k,)."""
        return self.values[:, index].float() * self.scales[:, None]

    def gram(self, index: Any | None = None) -> Any:
        """A A^T over some columns (all by default), shape (n, n) of float64."""
        total = torch.zeros((self.n, self.n), dtype=torch.float64, device=self.values.device)
        for part in self.column_parts(self.p if index is None else len(index)):
            chosen = self.values[:, part] if index is None else self.values[:, index[part]]
            block = chosen.float() * self.scales[:, None]
            total += (block @ block.T).double()
        return total

    def column_parts(self, count: int) -> list[slice]:
        """Cuts `count` columns so that one part in float32 stays within the workspace."""
        # Half of it: the gathered part exists in 16 and in 32 bits at once.
        width = max(1, self.workspace_bytes // (8 * self.n))
        return [slice(start, min(start + width, count)) for start in range(0, count, width)]

    def dead(self) -> Any:
        """Columns without any gradient (dead inputs, dead units), bool of shape (p,)."""
        largest = torch.zeros(self.p, dtype=torch.bool, device=self.values.device)
        for rows in self._row_parts():
            largest |= (self.values[rows] != 0).any(dim=0)
        return ~largest

    def restricted(self, index: slice) -> FisherRows:
        """The rows over a contiguous part of the weights: a view."""
        return FisherRows(self.values[:, index], self.scales, self.samples, self.workspace_bytes)

    def mean_curvature(self) -> float:
        """The mean of the Fisher matrix's diagonal; a natural unit for a ridge."""
        total = 0.0
        for rows, part in self._parts():
            squares = part.mul_(self.scales[rows, None]).square_()
            total += float(squares.sum(dtype=torch.float64))
        return self.samples * total / (self.n * self.p)

    def _parts(self) -> Iterator[tuple[slice, Any]]:
        """Rows in float32, a few at a time, in one buffer that the next part overwrites.

        With a new tensor for each part many of them stayed with the process after they were freed
        (`benchmarks/pruning_solver.py --memory`: 3.2 times the rows).
        """
        parts = self._row_parts()
        room = torch.empty((parts[0].stop, self.p), device=self.values.device)
        for rows in parts:
            part = room[: rows.stop - rows.start]
            yield rows, part.copy_(self.values[rows])

    def _row_parts(self) -> list[slice]:
        height = max(1, self.workspace_bytes // (4 * self.p))
        return [slice(start, min(start + height, self.n)) for start in range(0, self.n, height)]


def put(values: Any, scales: Any, start: int, rows: Any) -> None:
    """Stores rows of shape (r, p) from `start` on, each with a power of two as its scale."""
    stop = start + len(rows)
    if values.dtype == torch.float32:
        values[start:stop], scales[start:stop] = rows, 1.0
        return
    exponent = torch.ceil(torch.log2(rows.abs().amax(dim=1).clamp_min(SMALLEST))) - TOP
    scale = torch.exp2(exponent)
    values[start:stop] = (rows / scale[:, None]).to(values.dtype)
    scales[start:stop] = scale
