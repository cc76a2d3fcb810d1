"""Are two sets of answers the same? A conversion must not change any."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.extension_points import Runner
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.errors import CandidateFailed
from jettison.worker.ragged import OwnLengths, filled, widest
from jettison.worker.workbench import Bench

TOLERANCE = 1e-3
"""Largest difference that a conversion may make, as a fraction of the output's largest magnitude.

A faithful float32 conversion adds the same numbers in another order: 1e-7 to 1e-5 of the scale
(export and fusion of MiniLM: 2e-7). A wrong attribute, axis or epsilon moves outputs by percents.
"""

TIE = 1e-5
"""Two best scores closer than this, as a fraction of the output's scale, may change places."""

TREE_DRIFT = 0.01
"""Share of rows of a tree ensemble that may differ: float32 features move a row that lies on a
threshold to the other leaf. Certification judges them like every other change of an answer."""

ROWS_ALONE = 8
ROWS_TOGETHER = 128
ROWS_OF_TREES = 512


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two sets of rows are apart.

    Attributes:
        largest: largest difference as a fraction of the largest magnitude of the first.
        differing: rows whose difference is above the tolerance, or whose label differs.
        rows: rows compared.
    """

    largest: float
    differing: int
    rows: int


def difference(before: Array, after: Array, tolerance: float, labels: bool) -> Difference:
    """Compares two outputs, rows first; text and whole numbers must be equal.

    Args:
        before: shape (n, ...).
        after: the same shape.
        tolerance: fraction of the largest magnitude of `before`.
        labels: whether the position of the largest value must agree too, ties apart (`TIE`).
    """
    rows = len(before)
    if before.shape != after.shape:
        return Difference(float("inf"), rows, rows)
    if not (_is_float(before) and _is_float(after)):
        unequal = (before != after).reshape(rows, -1).any(axis=1)
        return Difference(float(unequal.any()), int(unequal.sum()), rows)
    first = before.reshape(rows, -1).astype(np.float64)
    second = after.reshape(rows, -1).astype(np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        wrong = ~same & ~(np.isfinite(first) & np.isfinite(second))
        if wrong.any():
            return Difference(float("inf"), int(wrong.any(axis=1).sum()), rows)
        first, second = np.where(same, 0.0, first), np.where(same, 0.0, second)
    scale = float(np.abs(first).max(initial=0.0)) or 1.0
    apart = np.abs(first - second).max(axis=1, initial=0.0) / scale
    wrong_rows = apart > tolerance
    if labels and first.shape[1] > 1:
        chosen = second.argmax(axis=1)
        short = first.max(axis=1) - first[np.arange(rows), chosen]
        wrong_rows |= short > TIE * scale
    return Difference(float(apart.max(initial=0.0)), int(wrong_rows.sum()), rows)


def check_same_answers(before: Model, after: Model, rows: Rows, bench: Bench) -> None:
    """Runs a model before and after a conversion on fitting rows, at several batch sizes.

    Raises:
        CandidateFailed: with the figures, if the answers differ beyond `TOLERANCE`.
    """
    trees = "trees" in before.traits
    at_most = min(rows.n, ROWS_OF_TREES if trees else ROWS_TOGETHER)
    largest = min(max(bench.serving.batch_sizes), at_most)
    plan = {size: min(ROWS_ALONE, at_most) for size in (1, min(2, at_most))}
    plan[largest] = at_most
    # One after the other, so that the worker never holds both models.
    first = _all_answers(bench, before, rows, plan)
    second = _all_answers(bench, after, rows, plan)
    for size in sorted(plan):
        pairs = {name: name for name in first[size] if name in second[size]}
        pairs[before.prediction] = after.prediction
        for name, other in sorted(pairs.items()):
            if other not in second[size] or name not in first[size]:
                raise CandidateFailed(
                    f"the output `{other}` of the converted model can't be compared with "
                    f"`{name}` of the original: they have {sorted(second[size])} and "
                    f"{sorted(first[size])}"
                )
            judged = name == before.prediction and before.task == "classification"
            found = difference(first[size][name], second[size][other], TOLERANCE, judged)
            allowed = int(TREE_DRIFT * found.rows) if trees else 0
            if found.differing > allowed:
                raise CandidateFailed(
                    f"the converted model answers differently: {found.differing} of {found.rows} "
                    f"rows at batch size {size} differ in output `{name}`, by up to "
                    f"{found.largest:.2g} of its scale (allowed: {TOLERANCE:g}, {allowed} rows)"
                )


def _all_answers(
    bench: Bench, model: Model, rows: Rows, plan: Mapping[int, int]
) -> dict[int, dict[str, Array]]:
    runner = bench.runner(model)
    own = OwnLengths.of(model, rows)
    return {size: answers(runner, rows, size, n, own) for size, n in plan.items()}


def answers(runner: Runner, rows: Rows, size: int, n: int, own: OwnLengths) -> dict[str, Array]:
    """Runs the first `n` rows, `size` at a time; outputs are cut back to the length of their row.

    An output of text whose shape varies is left out.
    """
    size = own.batch_size(size)
    pieces = []
    for place, batch in enumerate(rows.batches(size, n)):
        pieces.append(own.cut_all(runner.run(batch), place * size))
    return joined(pieces, fill=own.lengths is not None)


def joined(pieces: Sequence[Mapping[str, Array]], *, fill: bool) -> dict[str, Array]:
    """Joins the outputs of batches.

    Where rows are ragged (`fill`), numbers of shorter ones are filled with zeros; other outputs
    whose trailing shape varies are left out.
    """
    result: dict[str, Array] = {}
    for name in pieces[0]:
        arrays = [np.asarray(piece[name]) for piece in pieces]
        if fill and len({array.ndim for array in arrays}) == 1 and arrays[0].dtype.kind in "biuf":
            shape = functools.reduce(widest, [array.shape[1:] for array in arrays])
            arrays = [filled(array, shape) for array in arrays]
        if len({array.shape[1:] for array in arrays}) == 1:
            result[name] = np.concatenate(arrays)
    return result


def _is_float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
