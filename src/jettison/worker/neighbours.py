"""Does a row's answer change with the rows that share its batch? Found by running, not by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettison.domain.extension_points import Runner
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.worker.equality import answers, difference
from jettison.worker.ragged import OwnLengths

RELATIVE = 1e-6
ABSOLUTE = 1e-8
NOISE_FACTOR = 10.0
"""A batch of the same shape runs the same kernels, so a row that does not depend on its neighbours
gets the same bits beside others. What is allowed is a millionth of each value, a hundred-millionth
of the output's scale, and ten times what the same batch shows when it is run twice. Measured
relative to each value, because scores after a softmax hide what the layers before it do."""

COARSE = 1e-2
"""Allowed between a row alone and the row in a padded batch, as a fraction of the output's scale.

Other shapes run other kernels: 1e-7 in float32, 2e-5 in static int8 (a rounding that tips over),
1e-3 in float16. A model that reads its padding moves by more than 1e-2."""

ROWS = 8


@dataclass(frozen=True, slots=True)
class Dependence:
    """How much a row's answer changes when it is batched.

    Attributes:
        dependent: whether it changes with its neighbours, or with the padding they bring.
        largest: largest difference between rows alone and together, as a fraction of the
            output's scale.
    """

    dependent: bool
    largest: float


def batch_dependence(runner: Runner, rows: Rows, model: Model, largest: int) -> Dependence:
    """Runs rows beside other rows, and alone.

    Args:
        runner: the prepared model.
        rows: some that it will meet.
        model: what it is; a `fixed-batch` graph is served row by row, so nothing is looked at.
        largest: the largest batch size that is served; 1 means that rows never meet.
    """
    n = min(ROWS, largest, rows.n // 2)
    if n < 2 or "fixed-batch" in model.traits:
        return Dependence(dependent=False, largest=0.0)
    apart, dependent = _alone_or_together(runner, rows, n, OwnLengths.of(model, rows))
    return Dependence(dependent or _heeds_neighbours(runner, rows, n), apart)


def _alone_or_together(runner: Runner, rows: Rows, n: int, own: OwnLengths) -> tuple[float, bool]:
    together, alone = answers(runner, rows, n, n, own), answers(runner, rows, 1, n, own)
    found = [
        difference(alone[name], together[name], COARSE, labels=False)
        for name in together.keys() & alone.keys()
    ]
    apart = max((min(one.largest, 1e9) for one in found), default=0.0)
    return apart, any(one.differing for one in found)


def _heeds_neighbours(runner: Runner, rows: Rows, n: int) -> bool:
    """Exchanges every other row of two batches of one shape; the rows that stay must not change."""
    both = rows.batch(np.arange(2 * n))
    first = {name: values[:n] for name, values in both.items()}
    second = {name: values[n:] for name, values in both.items()}
    stays = np.arange(n) % 2 == 0
    mixed = {
        name: np.where(_along(stays, values), first[name], second[name])
        for name, values in first.items()
    }
    before, again = runner.run(first), runner.run(first)
    other, between = runner.run(second), runner.run(mixed)
    for name, values in before.items():
        if not np.issubdtype(values.dtype, np.floating):
            continue
        noise = _largest(values - again[name])
        if _moved(values[stays], between[name][stays], noise):
            return True
        if _moved(other[name][~stays], between[name][~stays], noise):
            return True
    return _texts_moved(before, between, stays)


def _texts_moved(before: Mapping[str, Array], between: Mapping[str, Array], stays: Array) -> bool:
    return any(
        bool((values[stays] != between[name][stays]).any())
        for name, values in before.items()
        if not np.issubdtype(values.dtype, np.floating)
    )


def _moved(before: Array, after: Array, noise: float) -> bool:
    first, second = before.astype(np.float64), after.astype(np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(np.isfinite(first), np.isfinite(second)):
        return True
    first, second = first[known], second[known]
    allowed = RELATIVE * np.abs(first) + ABSOLUTE * _largest(first) + NOISE_FACTOR * noise
    return bool((np.abs(first - second) > allowed).any())


def _largest(values: Array) -> float:
    """The largest magnitude; NaN, which is compared apart, counts as nothing."""
    return float(np.nan_to_num(np.abs(values.astype(np.float64))).max(initial=0.0))


def _along(mask: Array, values: Array) -> Array:
    """A row mask in the number of dimensions of the values."""
    return mask.reshape(-1, *([1] * (values.ndim - 1)))
