"""Inputs for a model when there are no data: good for speed and size, never for quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array

FREE_SIZE = 16
"""Size of a free dimension besides the batch."""


def made_up_inputs(
    specs: Sequence[TensorSpec],
    n: int,
    seed: int,
    free_size: int = FREE_SIZE,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Array]:
    """Makes up rows for every input.

    Floats are standard normal. Integers are 0 or 1, which is legal for token ids, masks and
    token types alike. Text is drawn from the categories, or empty where there are none.

    Args:
        specs: the inputs; the first dimension of each is the batch.
        n: rows.
        seed: same seed, same rows.
        free_size: size of every free dimension besides the batch.
        categories: input name -> texts to draw from.

    Returns:
        Input name -> array of shape (n, ...).
    """
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for spec in specs:
        shape = (n, *(size if isinstance(size, int) else free_size for size in spec.shape[1:]))
        if spec.dtype == "str":
            known = (categories or {}).get(spec.name) or [""]
            arrays[spec.name] = random.choice(np.array(known, dtype=str), shape)
        elif np.dtype(spec.dtype).kind in "iub":
            arrays[spec.name] = random.integers(0, 2, shape).astype(spec.dtype)
        else:
            arrays[spec.name] = random.standard_normal(shape).astype(spec.dtype)
    return arrays
