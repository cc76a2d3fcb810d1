"""Weights and resampling that give each group its share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import CandidateFailed

__all__ = ["equal_shares", "group_cells", "resampled", "reweighed"]


def group_cells(labels: Labels | None, columns: tuple[str, ...] = ()) -> Array:
    """The group of each fitting row, shape (n,) of str; several columns make intersections.

    Args:
        labels: of the fitting rows.
        columns: of groups; empty for all that are declared as single columns. Declared
            intersections may hold the target, so they count only where they are named.

    Raises:
        CandidateFailed: without groups, for an unknown column, or where all rows are of one group.
    """
    groups: Mapping[str, Array] = {} if labels is None else labels.groups
    if not groups:
        raise CandidateFailed(
            "the fitting rows have no groups; name their columns in `data.groups` (a fitting file "
            "of its own needs them too)"
        )
    unknown = [name for name in columns if name not in groups]
    if unknown:
        raise CandidateFailed(
            f"`{unknown[0]}` is not a column of groups of the fitting rows "
            f"(groups: {', '.join(sorted(groups))})"
        )
    single = sorted(name for name in groups if "&" not in name)
    named = [groups[name] for name in columns or single or sorted(groups)]
    cells = np.array([" & ".join(row) for row in zip(*(v.tolist() for v in named), strict=True)])
    if len(np.unique(cells)) < 2:
        raise CandidateFailed(
            f"all {len(cells)} fitting rows are of one group (`{cells[0] if len(cells) else ''}`): "
            "there is nothing to balance; give fitting rows of every group"
        )
    return cells


def equal_shares(cells: Array, weights: Array | None = None) -> Array:
    """Weights that sum to 1 and give every group the same sum, shape (n,).

    Args:
        cells: group of each row, shape (n,).
        weights: of the rows before; `None` for equal ones. They are kept inside each group.

    Raises:
        CandidateFailed: if the weights of a group are all 0.

    >>> equal_shares(np.array(["a", "a", "a", "b"])).tolist()
    [0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.5]
    """
    names, codes = np.unique(cells, return_inverse=True)
    base = _base(weights, len(cells))
    sums = np.bincount(codes, base, len(names))
    _check_sums(names, sums)
    shares: Array = base / sums[codes] / len(names)
    return shares


def reweighed(cells: Array, targets: Array, weights: Array | None = None) -> Array:
    """Weights under which group and target are independent, shape (n,), mean 1.

    W(g, y) = P(g) P(y) / P(g, y), the reweighing of Kamiran and Calders (2012), section 4.2,
    equation (1).

    Args:
        cells: group of each row, shape (n,).
        targets: class of each row, shape (n,).
        weights: of the rows before; `None` for equal ones.

    Raises:
        CandidateFailed: if the weights of all rows of a group and class are 0.

    >>> reweighed(np.array(list("aabb")), np.array([0, 1, 1, 1])).round(3).tolist()
    [0.5, 1.5, 0.75, 0.75]
    """
    base = _base(weights, len(cells))
    base = base / base.sum()
    names, group = np.unique(cells, return_inverse=True)
    values, kind = np.unique(targets, return_inverse=True)
    both = group * len(values) + kind
    joint = np.bincount(both, base, len(names) * len(values))
    present = np.unique(both)
    told = np.array(
        [f"{names[c // len(values)]}, class {values[c % len(values)]}" for c in present]
    )
    _check_sums(told, joint[present])
    product = np.outer(
        np.bincount(group, base, len(names)), np.bincount(kind, base, len(values))
    ).ravel()
    made: Array = base * len(base) * product[both] / joint[both]
    return made


def resampled(shares: Array, n: int, seed: int) -> Array:
    """Draws n rows so that each stands there about n times its share, shape (n,) of int64.

    Systematic resampling: a row of share s comes `floor(n s)` or `ceil(n s)` times, so a balanced
    set keeps as many different rows as it can. The rows come in a mixed order.

    Args:
        shares: of the rows, from 0 up, not all 0; scaled to sum to 1.
        n: rows to draw.
        seed: of the start and the order.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(shares))
    ends = np.cumsum(shares[order]) / np.sum(shares)
    spots = (random.random() + np.arange(n)) / n
    drawn = order[np.minimum(np.searchsorted(ends, spots), len(order) - 1)]
    mixed: Array = random.permutation(drawn).astype(np.int64)
    return mixed


def _base(weights: Array | None, n: int) -> Array:
    return np.ones(n) if weights is None else np.asarray(weights, np.float64)


def _check_sums(names: Array, sums: Array) -> None:
    empty = [str(name) for name, total in zip(names, sums) if not total > 0]
    if empty:
        raise CandidateFailed(
            f"the weights of all fitting rows of `{empty[0]}` are 0, so they can't be given a "
            "share; correct the column of weights, or leave these rows out"
        )
