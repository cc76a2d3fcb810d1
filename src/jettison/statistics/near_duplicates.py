"""How often rows that look alike carry different labels, by group: a floor under label noise.

Rows are alike where every number falls into the same tenth of its column and every text is equal.
If each label of such a pair is wrong with chance e, the pair disagrees with chance 2 e (1 - e); but
rows that look alike may also differ in truth, so it is a question and no rate of wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from jettison.domain.rows import Array
from jettison.statistics.group_values import CONFIDENCE, Codes, Floats, Sums, totals

PARTS = 10


def alike(columns: Sequence[Array]) -> Codes:
    """Numbers the sets of rows that look alike.

    Args:
        columns: each of shape (n,): numbers (cut into tenths by rank), or texts, bytes and arrays
            (as they are).

    Returns:
        Number of the set of each row, shape (n,).

    >>> alike([np.array(["a", "b", "a"]), np.array([1.0, 1.0, 1.0])]).tolist()
    [0, 1, 0]
    """
    cells = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes = _codes(column)
        joined = cells * (int(codes.max(initial=0)) + 1) + codes
        # Numbered anew after each column, so that the product never overflows.
        cells = np.unique(joined, return_inverse=True)[1].astype(np.int64)
    return cells


def _codes(column: Array) -> Codes:
    if column.dtype.kind in "biuf":
        values = np.nan_to_num(column.astype(np.float64), nan=np.inf)
        ends = np.unique(np.quantile(values, np.linspace(0, 1, PARTS + 1)[1:-1], method="lower"))
        found: Codes = np.searchsorted(ends, values, side="left").astype(np.int64)
        return found
    # NumPy would make all texts as wide as the longest, and images are bytes.
    known: dict[object, int] = {}
    numbers = [known.setdefault(_key(value), len(known)) for value in column.tolist()]
    return np.array(numbers, dtype=np.int64)


def _key(value: object) -> object:
    """What two equal values share."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    return value if isinstance(value, str | bytes) else str(value)


def disagreement(
    cells: Codes, labels: Codes, codes: Codes, groups: int, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats, Floats, Sums]:
    """The chance that another row of the same group that looks alike carries another label.

    Args:
        cells: set of each row, of `alike`, shape (n,).
        labels: class index of each row, shape (n,).
        codes: group of each row, shape (n,).
        groups: how many there are.
        confidence: of the interval, which treats sets of rows that look alike as the sample
            (ratio estimator, linearised; W. Cochran, Sampling Techniques, section 6.4).

    Returns:
        Value, low and high, each of shape (groups,), and the rows that have a like one.
    """
    joined, cell = np.unique(cells * groups + codes, return_inverse=True)
    size = np.bincount(cell).astype(np.float64)
    kinds = int(labels.max(initial=0)) + 1
    pairs, inverse = np.unique(cell * kinds + labels, return_inverse=True)
    same = np.bincount(inverse).astype(np.float64)
    squares = np.bincount(pairs // kinds, same**2, minlength=len(joined))
    twins = size > 1
    group = (joined % groups)[twins]
    m = size[twins]
    # A row of a set of m differs from (m - own) of the m - 1 others.
    differing = (m**2 - squares[twins]) / (m - 1.0)
    rows, sets = totals(group, m, groups), np.bincount(group, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = totals(group, differing, groups) / rows
        off = differing - value[group] * m
        variance = totals(group, off**2, groups) / rows**2 * sets / (sets - 1.0)
    half = float(special.ndtri((1.0 + confidence) / 2.0)) * np.sqrt(variance)
    return (
        value,
        np.maximum(value - half, 0.0),
        np.minimum(value + half, 1.0),
        Sums(rows, rows, rows),
    )
