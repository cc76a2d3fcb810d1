"""How many bytes weights take when values that repeat are left out, and when files are packed."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from jettison.domain.rows import Array

__all__ = ["COMPRESSION_LEVEL", "compressed_size", "others_count", "sparse_size"]

COMPRESSION_LEVEL = 6
"""Of zlib: what gzip does unless it is told otherwise."""

BLOCK = 1 << 20


def sparse_size(values: Array, bits: int, *, floating: bool) -> int:
    """Bytes of a tensor as a bitmap of n bits and the values that differ from a common one.

    The common value is 0 (of either sign) for floating-point numbers, and the most frequent value
    for integers of 4 and 8 bits, whose zero may lie anywhere. Where that takes no fewer bytes, the
    tensor stays dense.

    Args:
        values: shape (n,), unsigned integers with the bits of the values; of 4 bits, two in each.
        bits: of one value: 4, 8, 16, 32 or 64.
        floating: whether the bits are a floating-point number.
    """
    count = len(values) * (2 if bits == 4 else 1)
    bitmap = -(-count // 8)
    return min(
        int(values.nbytes), bitmap + -(-others_count(values, bits, floating=floating) * bits // 8)
    )


def others_count(values: Array, bits: int, *, floating: bool) -> int:
    """How many values of a tensor differ from the common one; arguments as for `sparse_size`."""
    if bits == 4:
        values = np.concatenate([values & 0x0F, values >> 4])
    if not floating and bits <= 8:
        return len(values) - int(np.bincount(values, minlength=1).max(initial=0))
    if floating:
        # Minus zero is a zero.
        values = values & values.dtype.type((1 << (bits - 1)) - 1)
    return int(np.count_nonzero(values))


def compressed_size(paths: tuple[Path, ...]) -> int:
    """Bytes of files after DEFLATE, each file alone, at level 6."""
    total = 0
    for path in paths:
        packer = zlib.compressobj(COMPRESSION_LEVEL)
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                total += len(packer.compress(block))
        total += len(packer.flush())
    return total
