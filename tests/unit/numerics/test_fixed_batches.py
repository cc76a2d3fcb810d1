"""Pieces of exactly the size that a graph takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jettison.domain.model import Model
from jettison.numerics.fixed_batches import fixed_batch, pieces


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_every_piece_is_whole_and_no_row_is_lost(rows: int) -> None:
    """The last row fills up the last piece; cutting the joined pieces gives the batch again."""
    batch = {"x": np.arange(rows * 2).reshape(rows, 2), "y": np.arange(rows)}
    found = list(pieces(batch, 4))
    assert {len(piece["x"]) for piece in found} == {4}
    for name, values in batch.items():
        joined = np.concatenate([piece[name] for piece in found])
        np.testing.assert_array_equal(joined[:rows], values)
        np.testing.assert_array_equal(joined[rows:], np.repeat(values[-1:], -rows % 4, axis=0))


def test_the_size_is_told_by_the_model(make_network: Callable[..., Model]) -> None:
    """A free batch is 0; a fixed one is the first axis of the inputs."""
    assert fixed_batch(make_network()) == 0
    assert fixed_batch(make_network(batch=4)) == 4
