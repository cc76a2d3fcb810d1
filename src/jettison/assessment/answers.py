"""What one model says about the rows, in the form in which it is assessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.statistics.group_values import Codes, Floats


@dataclass(frozen=True, slots=True, eq=False)
class ModelAnswers:
    """Answers of one model, in the order of the rows.

    Attributes:
        name: `original`, `shipped`, or `predictions`.
        decisions: class index, shape (n,), below 0 for none; `None` for a regression.
        scores: probability of each class, shape (n, classes); `None` where there are none.
        values: predicted value, shape (n,), of a regression.
    """

    name: str
    decisions: Codes | None = None
    scores: Floats | None = None
    values: Floats | None = None

    def top(self, positive: int, binary: bool) -> Floats | None:
        """The probability whose calibration is looked at: of the positive, or of the decision."""
        if self.scores is None or self.decisions is None:
            return None
        if binary:
            chosen: Floats = self.scores[:, positive]
            return chosen
        rows = np.arange(len(self.decisions))
        top: Floats = self.scores[rows, np.maximum(self.decisions, 0)]
        return top


def finite_values(values: Array, name: str) -> Floats:
    """Predicted values as floats, one a row.

    Raises:
        DataError: if one is NaN or infinite (its error would be no number), or there are several a
            row.
    """
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(found) != len(values):
        raise DataError(
            f"{name} answered with {len(found) // len(values)} values a row, and an error is that of "
            "one: take a model that gives the one that you ask about"
        )
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"{name} answered {found[bad[0]]} in {len(bad)} rows (first: row {bad[0]}); an error is "
            "undefined there: mend the model, or leave these rows out"
        )
    return found
