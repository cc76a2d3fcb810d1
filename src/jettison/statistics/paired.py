"""`Paired`: each row's part in a metric under the original and under the candidate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from jettison.statistics.bounded_means import UnitMeans, unit_means
from jettison.statistics.skewed_means import UnitTotals, unit_totals

if TYPE_CHECKING:
    from jettison.domain.extension_points import QualityMetric

__all__ = ["Kind", "Paired", "columns_of", "linear_drops", "usable_weights", "value_of"]

Floats = NDArray[np.float64]
Kind = Literal["binary", "bounded_mean", "ratio_of_sums", "influence", "reported_only"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Contributions of the same rows under the baseline and under the candidate.

    Attributes:
        baseline: contribution of each row, shape (n,).
        candidate: same rows in the same order, shape (n,).
        kind: of the metric; it alone picks the test.
        units: which rows belong together (author, patient), length n; `None`: each row alone.
        weights: at least 0, shape (n,); `None`: all equal.
        low: smallest contribution possible (of `ratio_of_sums`: as a multiple of the base).
        high: largest contribution possible; infinite where none is declared.
        better: which direction of a contribution is good.
        against_reference: the baseline has the best value on each row by definition, because the
            metric compares the candidate with the baseline itself (agreement, cosine).
        bases: what a ratio of sums is divided by (words), at least 0, shape (n,), the same for
            both models; `None` for other kinds.
        strata: whole numbers, shape (n,): kinds of rows that must each be plenty (positives,
            negatives); `None` where the metric has none.
    """

    baseline: Floats
    candidate: Floats
    kind: Kind
    units: Sequence[Hashable] | NDArray[np.generic] | None = None
    weights: Floats | None = None
    low: float = 0.0
    high: float = 1.0
    better: Literal["higher", "lower"] = "higher"
    against_reference: bool = False
    bases: Floats | None = None
    strata: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        metric: QualityMetric,
        baseline: Floats,
        candidate: Floats,
        strata: NDArray[np.int64] | None = None,
    ) -> Paired:
        """Pairs the contributions that a metric gave for all rows; rows are units.

        Args:
            metric: its kind says what the columns mean.
            baseline: shape (n,), or (n, k) for kinds of several columns (see `Scores`).
            candidate: the same shape.
            strata: shape (n,), where the metric tells any.
        """
        before, after, bases = columns_of(metric.kind, baseline, candidate)
        return cls(
            baseline=before,
            candidate=after,
            kind=metric.kind,
            low=metric.low,
            high=metric.high,
            better=metric.better,
            against_reference=metric.against_reference,
            bases=bases,
            strata=strata,
        )

    def __post_init__(self) -> None:
        rows = np.asarray(self.baseline).shape
        for name in ("baseline", "candidate", "weights", "bases", "strata"):
            if getattr(self, name) is not None:
                kept = np.int64 if name == "strata" else np.float64
                values = np.asarray(getattr(self, name), dtype=kept)
                object.__setattr__(self, name, values)
                if values.ndim != 1 or values.shape != rows:
                    raise ValueError(f"{name} must have shape {rows}; got {values.shape}")
        if self.units is not None and len(self.units) != len(self.baseline):
            raise ValueError(f"units must have length {len(self.baseline)}; got {len(self.units)}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}")
        if self.better not in ("higher", "lower"):
            raise ValueError(f"better must be 'higher' or 'lower'; got {self.better!r}")
        if not self.low < self.high:
            raise ValueError(f"low must be less than high; got {self.low} and {self.high}")
        if self.kind == "binary":
            self._check_binary()

    def _check_binary(self) -> None:
        for values in (self.baseline, self.candidate):
            known = values[~np.isnan(values)]
            if not np.isin(known, (0.0, 1.0)).all():
                raise ValueError("contributions of a binary metric must be 0 or 1")
        best = 1.0 if self.better == "higher" else 0.0
        if self.against_reference and bool((self.baseline != best).any()):
            raise ValueError("against_reference needs the best value on each row of the baseline")

    @property
    def drops(self) -> Floats:
        """Drop of each row, shape (n,); positive is worse."""
        sign = 1.0 if self.better == "higher" else -1.0
        return np.asarray(sign * (self.baseline - self.candidate), dtype=np.float64)

    @property
    def rows_are_units(self) -> bool:
        """Whether each row counts once and stands alone, so that exact tests apply."""
        return self._one_row_per_unit() and self._equal_weights()

    def unit_means(self) -> UnitMeans:
        """Adds up the rows of each unit to means."""
        return unit_means(self.drops, self.unit_codes(), self.weights)

    def unit_totals(self) -> UnitTotals:
        """Adds up the drops and the bases of each unit."""
        bases = np.ones(len(self.baseline)) if self.bases is None else self.bases
        return unit_totals(self.drops, bases, self.unit_codes(), self.weights)

    def unit_codes(self) -> NDArray[np.int64] | None:
        """Number of the unit of each row, from 0, shape (n,); `None` where each stands alone."""
        return None if self.units is None else _number(self.units)

    def _one_row_per_unit(self) -> bool:
        return self.units is None or len(set(_plain(self.units))) == len(self.baseline)

    def _equal_weights(self) -> bool:
        return self.weights is None or (
            bool((self.weights == self.weights[0]).all()) and bool(self.weights[0] > 0)
        )


def linear_drops(
    metric: QualityMetric, baseline: Floats, candidate: Floats, column: int = 0
) -> Floats:
    """Gives each row's drop so that their mean is the drop of the metric on these rows.

    Args:
        metric: its kind says what the columns mean.
        baseline: contributions, shape (n,) or (n, k) (see `Scores`).
        candidate: the same shape.
        column: which one, for kinds that have one for all rows and one for each column of groups.

    Returns:
        Shape (n,); positive is worse. It is exact for all rows together (of a ratio of sums: up
        to the scale of the base when only some rows are averaged).
    """
    sign = 1.0 if metric.better == "higher" else -1.0
    before, after, bases = columns_of(metric.kind, baseline, candidate, column)
    drops = np.asarray(sign * (before - after), dtype=np.float64)
    if bases is not None and bases.size and bases.mean() > 0:
        drops = drops / bases.mean()
    return drops


def value_of(
    kind: Kind, contributions: Floats, weights: Floats | None = None, column: int = 0
) -> float | None:
    """Gives the metric on some rows from their contributions; `None` where it is undefined.

    Args:
        kind: of the metric.
        contributions: of these rows, shape (n,) or (n, k).
        weights: of these rows, shape (n,), or `None`.
        column: which one, for kinds that have one for all rows and one for each column of groups.

    >>> value_of("ratio_of_sums", np.array([[1.0, 4.0], [0.0, 6.0]]))
    0.1
    """
    values, _, bases = columns_of(kind, contributions, contributions, column)
    if not values.size:
        return None
    share = np.ones(values.size) if weights is None else weights
    share = share if bases is None else share * bases
    if not share.sum() > 0:
        return None
    parts = values if bases is None else values / np.where(bases > 0, bases, 1.0)
    value = float(np.average(parts, weights=share))
    return value if np.isfinite(value) else None


def usable_weights(weights: Floats) -> bool:
    """Whether weights are finite, at least 0 and not all 0."""
    return bool(np.isfinite(weights).all()) and bool((weights >= 0).all()) and weights.sum() > 0


def columns_of(
    kind: Kind, baseline: Floats, candidate: Floats, column: int = 0
) -> tuple[Floats, Floats, Floats | None]:
    """Takes what a test reads of contributions: baseline, candidate, and the base of a ratio.

    Args:
        kind: of the metric.
        baseline: contributions of some rows, shape (n,) or (n, k).
        candidate: the same shape.
        column: which one, for kinds that have one for all rows and one for each column of groups.

    Raises:
        ValueError: if a ratio has no base, or another one in each model.
    """
    before, after = np.asarray(baseline, np.float64), np.asarray(candidate, np.float64)
    if kind == "ratio_of_sums":
        if before.ndim != 2 or before.shape[1] != 2 or before.shape != after.shape:
            raise ValueError(f"a ratio of sums needs the shape (n, 2); got {before.shape}")
        if not np.array_equal(before[:, 1], after[:, 1]):
            raise ValueError("the base of a ratio of sums must be the same for both models")
        return before[:, 0], after[:, 0], before[:, 1]
    if before.ndim == 2:
        return before[:, column], after[:, column], None
    return before, after, None


def _plain(units: Sequence[Hashable] | NDArray[np.generic]) -> list[Hashable]:
    return units.tolist() if isinstance(units, np.ndarray) else list(units)


def _number(units: Sequence[Hashable] | NDArray[np.generic]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(unit, len(numbers)) for unit in _plain(units)]
    return np.asarray(codes, dtype=np.int64)
