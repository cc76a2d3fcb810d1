"""Bytes in a sparse storage and compressed, against counts by hand."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from jettison.numerics.sparse_sizes import compressed_size, others_count, sparse_size


def test_a_bitmap_and_the_values() -> None:
    """Half of 800 floats zero: 100 bytes of bitmap and 400 values of 4 bytes."""
    values = np.zeros(800, np.float32)
    values[::2] = 1.5
    assert sparse_size(values.view("<u4"), 32, floating=True) == 100 + 1600


def test_dense_where_sparse_is_no_smaller() -> None:
    """A tensor without zeros counts as it is."""
    values = np.ones(800, np.float32)
    assert sparse_size(values.view("<u4"), 32, floating=True) == 3200


def test_minus_zero_is_a_zero() -> None:
    """A mask may leave zeros with a sign."""
    values = np.array([-0.0, 0.0, 1.0, -1.0], np.float32)
    assert others_count(values.view("<u4"), 32, floating=True) == 2
    halves = np.array([-0.0, 2.0], np.float16)
    assert others_count(halves.view("<u2"), 16, floating=True) == 1


def test_integers_with_a_zero_point() -> None:
    """Pruned weights that became 128 are as sparse as those that became 0."""
    values = np.full(800, 128, np.uint8)
    values[:100] = np.arange(100)
    assert sparse_size(values, 8, floating=False) == 100 + 100


def test_four_bits() -> None:
    """Two values to a byte; the common one is left out."""
    values = np.full(400, 0x77, np.uint8)
    values[0] = 0x17
    assert others_count(values, 4, floating=False) == 1
    assert sparse_size(values, 4, floating=False) == 100 + 1


def test_no_values() -> None:
    """An empty tensor takes nothing."""
    assert sparse_size(np.zeros(0, "<u4"), 32, floating=True) == 0
    assert sparse_size(np.zeros(0, np.uint8), 8, floating=False) == 0


def test_compression_is_that_of_zlib(tmp_path: Path) -> None:
    """Each file alone, whatever the size of the blocks that are read."""
    content = np.random.default_rng(0).integers(0, 4, 1_200_000, np.uint8).tobytes()
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(b"")
    alone = len(zlib.compress(content, 6))
    assert compressed_size((tmp_path / "a",)) == pytest.approx(alone, rel=1e-3)
    assert compressed_size((tmp_path / "a", tmp_path / "b")) <= alone + 20
