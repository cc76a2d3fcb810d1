"""Fits `out_of_distribution` to the rows of a run: fitting rows give the score, selection rows the limit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.assessment.attribution_rows import encoded_rows
from jettison.assessment.search_rows import read_record
from jettison.domain.rows import Rows
from jettison.errors import UsageError
from jettison.numerics.novelty import Novelty, certified_threshold, fit_novelty, save_novelty
from jettison.statistics import clopper_pearson_interval

BATCH = 64


@dataclass(frozen=True, slots=True)
class FittedGuardrail:
    """What was fitted, and what is known of it.

    Attributes:
        path: of the file.
        rate, confidence: at most this share of rows like the selection rows is refused, so surely.
        selection, fitting: rows behind the limit and behind the score.
        refused: selection rows above the limit, and the upper end of the exact interval of their
            share (one-sided, at `confidence`).
    """

    path: Path
    rate: float
    confidence: float
    selection: int
    fitting: int
    refused: int
    refused_at_most: float


def fit_guardrail(
    folder: Path, *, rate: float, confidence: float = 0.95, out: Path | None = None, seed: int = 7
) -> FittedGuardrail:
    """Fits the score and its limit, and writes them down.

    Args:
        folder: of a finished run.
        rate: largest share of rows like the data that may be refused.
        confidence: that the share is no larger.
        out: file to write; `novelty.npz` in the run by default.
        seed: of the projections.

    Raises:
        UsageError: for a rate or confidence out of range, a run without data, or one whose rows
            belong to units.
        DataError: if there are too few selection rows for the rate.
    """
    if not 0.0 < rate < 1.0 or not 0.5 < confidence < 1.0:
        raise UsageError(
            f"rate must lie between 0 and 1, and confidence between 0.5 and 1; got {rate:g} and "
            f"{confidence:g}"
        )
    record = read_record(folder)
    if record.data is None:
        raise UsageError(f"the run in {folder} had no data, so nobody knows what is unlike it")
    unit = record.configuration.data.unit
    if unit:
        raise UsageError(
            f"rows of one `{unit}` are not independent, and the limit counts every selection row as "
            "one that is; fit it on a run whose data has one row a unit, and no `unit`"
        )
    model, data = record.model, folder / "work" / "data"
    fitting, selection = (encoded_rows(model, data, use) for use in ("fitting", "selection"))
    fitted = fit_novelty(list(fitting.batches(BATCH)), seed)
    # Rows as they came stand first; copies of them in other contexts are no further rows.
    n = min(selection.n, record.data.rows["selection"])
    scores = _scores(fitted, selection)[:n]
    limit = certified_threshold(scores, rate, confidence)
    fitted = dataclasses.replace(fitted, threshold=limit, rate=rate, confidence=confidence, n=n)
    path = out or folder / "novelty.npz"
    save_novelty(
        fitted,
        path,
        {"encoder": model.encoder.digest, "data": record.data.digest, "fitting": fitting.n},
    )
    refused = int((scores > limit).sum())
    bound = clopper_pearson_interval(refused, n, 2.0 * confidence - 1.0).high
    return FittedGuardrail(path, rate, confidence, n, fitting.n, refused, bound)


def _scores(fitted: Novelty, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.concatenate([fitted.score(batch) for batch in rows.batches(BATCH)])
