"""Where Fisher rows are kept: memory, or a mapped file past a limit. Importing this imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jettison.errors import CandidateFailed

HALF = 2
"""Bytes of one stored number."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How rows may be kept.

    Attributes:
        limit_bytes: the most that may lie in memory.
        folder: where a mapped file may be made when the limit is passed; `None` refuses instead.
        workspace_bytes: the most that one product may take beside the rows.
        full_precision: keeps float32 (for comparisons; twice the memory).
    """

    limit_bytes: int = 8 * 2**30
    folder: Path | None = None
    workspace_bytes: int = 256 * 2**20
    full_precision: bool = False

    def empty(self, n: int, p: int, device: Any) -> Any:
        """Room for n rows of p numbers, shape (n, p).

        Raises:
            CandidateFailed: if it passes the limit and no folder was given; says how much is
                needed and what to do.
        """
        kind = torch.float32 if self.full_precision else torch.float16
        needed = bytes_needed(n, p) * (2 if self.full_precision else 1)
        if needed <= self.limit_bytes:
            return torch.empty((n, p), dtype=kind, device=device)
        if self.folder is None:
            fits = self.limit_bytes // max(1, bytes_needed(1, p))
            raise CandidateFailed(
                f"{n:,} Fisher rows over {p:,} weights need {needed:,} bytes; the limit is "
                f"{self.limit_bytes:,}. Raise the limit, ask for at most {fits:,} rows, give a "
                "folder for a memory-mapped file, or set `block` (block mode keeps the rows of a "
                "few layers at a time)"
            )
        path = self.folder / f"fisher-{n}x{p}.bin"
        mapped = torch.from_file(str(path), shared=True, size=n * p, dtype=kind)
        return mapped.view(n, p)


def bytes_needed(n: int, p: int) -> int:
    """Bytes of n stored rows over p weights."""
    return HALF * n * p
