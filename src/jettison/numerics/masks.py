"""Which weights to keep: exact projections of scores onto masks, the same for the same scores.

Everything runs on the device of its tensors. Importing this file imports torch; plug-ins import
it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from jettison.errors import CandidateFailed

__all__ = [
    "PATTERNS",
    "check_sparsity",
    "largest",
    "largest_of_all",
    "largest_per_row",
    "n_of_m",
    "pattern_of",
    "pruned_count",
]

PATTERNS = ("unstructured", "2:4", "4:8")
"""The patterns that techniques offer."""


def check_sparsity(sparsity: float) -> float:
    """Gives the share of weights to set to zero, once it is known to lie between 0 and 1.

    Raises:
        CandidateFailed: for 0 and below, 1 and above, and values that are no number.
    """
    if not 0.0 < sparsity < 1.0:
        raise CandidateFailed(
            f"`sparsity` is {sparsity:g}: give the share of the weights to set to zero, above 0 "
            "and below 1 (0.5 sets half of them to zero)"
        )
    return float(sparsity)


def pruned_count(count: int, sparsity: float) -> int:
    """How many of `count` weights a sparsity sets to zero: the nearest whole number."""
    return round(check_sparsity(sparsity) * count)


def pattern_of(text: str) -> tuple[int, int] | None:
    """Reads `n:m` (n of m weights are kept); `None` for `unstructured`.

    Raises:
        CandidateFailed: for anything else, and unless 0 < n < m.
    """
    if text == PATTERNS[0]:
        return None
    n, _, m = text.partition(":")
    if n.isdecimal() and m.isdecimal() and 0 < int(n) < int(m):
        return int(n), int(m)
    raise CandidateFailed(
        f"`pattern` is `{text}`: give `unstructured`, or `n:m` with 0 < n < m, such as `2:4` (2 of "
        "every 4 weights are kept)"
    )


def largest(scores: Any, keep: int) -> Any:
    """Keeps exactly `keep` of the largest scores; of equal scores the first ones.

    Args:
        scores: any shape, not NaN.
        keep: 0 to the number of scores.

    Returns:
        A mask of the same shape, true where the weight is kept.
    """
    return largest_of_all([scores], keep)[0]


def largest_of_all(scores: Sequence[Any], keep: int) -> list[Any]:
    """Keeps exactly `keep` of the largest scores over several tensors, on one scale.

    Equal scores go to the earlier tensor, and within it to the earlier place.

    Returns:
        One mask per tensor, of its shape.
    """
    flat = torch.cat([part.detach().reshape(-1) for part in scores])
    _check(flat, keep, flat.numel())
    if keep == flat.numel():
        mask = torch.ones_like(flat, dtype=torch.bool)
    elif keep == 0:
        mask = torch.zeros_like(flat, dtype=torch.bool)
    else:
        threshold = flat.kthvalue(flat.numel() - keep + 1).values
        mask = flat > threshold
        # kthvalue alone would keep every score that equals the threshold.
        equal = (flat == threshold).nonzero()[:, 0]
        mask[equal[: keep - int(mask.sum())]] = True
    parts = mask.split([part.numel() for part in scores])
    return [part.view(whole.shape) for part, whole in zip(parts, scores, strict=True)]


def largest_per_row(scores: Any, keep: int) -> Any:
    """Keeps exactly `keep` of the largest scores in each row; of equal scores the first ones.

    Args:
        scores: shape (..., columns), not NaN.
        keep: 0 to the number of columns.

    Returns:
        A mask of the same shape.
    """
    _check(scores, keep, scores.shape[-1])
    order = scores.detach().sort(dim=-1, descending=True, stable=True).indices
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter_(-1, order[..., :keep], value=True)


def n_of_m(scores: Any, n: int, m: int) -> Any:
    """Keeps the n largest of every m neighbours along the last dimension; of equal the first.

    Where the columns don't divide by m, the last r < m of them form a group that is padded with
    zeros, as kernels pad it: min(n, r) of them are kept.

    Args:
        scores: shape (..., columns), not NaN.
        n: 1 to m - 1.
        m: 2 or more.

    Returns:
        A mask of the same shape.
    """
    if not 0 < n < m:
        raise CandidateFailed(f"{n}:{m} is no pattern: give n of m with 0 < n < m")
    columns = scores.shape[-1]
    _check(scores, 0, 0)
    # The padding ranks below every score, so that it never takes a place.
    padded = pad(scores.detach(), (0, -columns % m), value=-torch.inf)
    groups = padded.reshape(*padded.shape[:-1], -1, m)
    mask = largest_per_row(groups, n).reshape(padded.shape)
    return mask[..., :columns]


def _check(scores: Any, keep: int, most: int) -> None:
    if bool(torch.isnan(scores).any()):
        raise CandidateFailed(
            f"{int(torch.isnan(scores).sum())} of {scores.numel()} scores of weights are NaN, so "
            "they have no order: look for NaN in the weights and in what the layer was given"
        )
    if not 0 <= keep <= most:
        raise CandidateFailed(f"{keep} weights can't be kept of {most}")
