"""One door to every test: a metric's kind picks the test, the test gives the verdict.

What depends on the rows (none, too few, a missing number, a value beyond its declared bounds)
gives `undecided` with the reason, so that a certification never ends in a crash after the seal
was opened. What depends on the caller's code (shapes, margins, a 0/1 metric that isn't 0/1)
raises `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from jettison.statistics.bounded_means import (
    MINIMUM_UNITS,
    UnitMeans,
    bounded_mean_test,
    unit_means,
)
from jettison.statistics.non_inferiority import (
    agreement_harm_p_value,
    agreement_p_value,
    agreement_upper_bound,
    paired_binary_harm_p_value,
    paired_binary_p_value,
    paired_binary_upper_bound,
)
from jettison.statistics.sample_size import (
    IMPOSSIBLE,
    agreement_rows_needed,
    floor_rows,
    mean_rows_needed,
    rows_needed,
)

if TYPE_CHECKING:
    from jettison.domain.extension_points import QualityMetric

__all__ = ["Grade", "Judgement", "Kind", "Paired", "Verdict", "binary_verdict", "judge"]

Verdict = Literal["held", "broken", "undecided"]
Grade = Literal["A", "B", "C"]
Kind = Literal["binary", "bounded_mean", "ratio_of_sums", "influence", "reported_only"]

BINARY_METHOD = "paired 0/1: Tango score, Berger-Boos p-value"
AGREEMENT_METHOD = "disagreement with the baseline: exact binomial"
MEAN_METHOD = "bounded mean over {}: t with one worst-case {} appended"
REPORTED_METHOD = "reported only: no test certifies this kind of metric"


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Contributions of the same rows under the baseline and under the candidate.

    Attributes:
        baseline: contribution of each row, shape (n,).
        candidate: same rows in the same order, shape (n,).
        kind: of the metric; it alone picks the test.
        units: which rows belong together (author, patient), length n; `None`: each row alone.
        weights: at least 0, shape (n,); `None`: all equal.
        low: smallest contribution possible.
        high: largest contribution possible; infinite where none is declared.
        better: which direction of a contribution is good.
        against_reference: the baseline has the best value on each row by definition, because the
            metric compares the candidate with the baseline itself (agreement, cosine).
    """

    baseline: NDArray[np.float64]
    candidate: NDArray[np.float64]
    kind: Kind
    units: Sequence[Hashable] | NDArray[np.generic] | None = None
    weights: NDArray[np.float64] | None = None
    low: float = 0.0
    high: float = 1.0
    better: Literal["higher", "lower"] = "higher"
    against_reference: bool = False

    @classmethod
    def of(
        cls,
        metric: QualityMetric,
        baseline: NDArray[np.float64],
        candidate: NDArray[np.float64],
    ) -> Paired:
        """Pairs the contributions, each of shape (n,), that a metric gave; rows are units."""
        return cls(
            baseline=baseline,
            candidate=candidate,
            kind=metric.kind,
            low=metric.low,
            high=metric.high,
            better=metric.better,
            against_reference=metric.against_reference,
        )

    def __post_init__(self) -> None:
        rows = np.asarray(self.baseline).shape
        for name in ("baseline", "candidate", "weights"):
            if getattr(self, name) is not None:
                values = np.asarray(getattr(self, name), dtype=np.float64)
                object.__setattr__(self, name, values)
                if values.ndim != 1 or values.shape != rows:
                    raise ValueError(f"{name} must have shape {rows}; got {values.shape}")
        if self.units is not None and len(self.units) != len(self.baseline):
            raise ValueError(f"units must have length {len(self.baseline)}; got {len(self.units)}")
        if self.kind not in _TESTS:
            raise ValueError(f"kind must be one of {', '.join(_TESTS)}; got {self.kind!r}")
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
    def drops(self) -> NDArray[np.float64]:
        """Drop of each row, shape (n,); positive is worse."""
        sign = 1.0 if self.better == "higher" else -1.0
        return np.asarray(sign * (self.baseline - self.candidate), dtype=np.float64)

    @property
    def rows_are_units(self) -> bool:
        """Whether each row counts once and stands alone, so that exact tests apply."""
        return self._one_row_per_unit() and self._equal_weights()

    def unit_means(self) -> UnitMeans:
        """Adds up the rows of each unit."""
        codes = None if self.units is None else _number(self.units)
        return unit_means(self.drops, codes, self.weights)

    def _one_row_per_unit(self) -> bool:
        return self.units is None or len(set(_plain(self.units))) == len(self.baseline)

    def _equal_weights(self) -> bool:
        return self.weights is None or (
            bool((self.weights == self.weights[0]).all()) and bool(self.weights[0] > 0)
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rows say about one margin.

    Attributes:
        verdict: `held` (the drop is below the margin), `broken` (above it) or `undecided`.
        estimate: drop seen, positive is worse; `None` where it can't be computed.
        bound: one-sided upper confidence bound of the drop (the certifiable tolerance).
        p_value: of the test that the drop is at least the margin.
        grade: A finite-sample, B asymptotic, C reported only (never `held`).
        n: rows, or units where rows share one.
        method: the test, in words.
        rows_needed: rows (or units) that would decide it, about; 0 when decided or when no number
            of rows helps.
        reason: why it isn't held; empty when held.
    """

    verdict: Verdict
    estimate: float | None
    bound: float | None
    p_value: float | None
    grade: Grade
    n: int
    method: str
    rows_needed: int = 0
    reason: str = ""


def judge(paired: Paired, margin: float, alpha: float = 0.05) -> Judgement:
    """Tests whether the metric has dropped by less than the margin.

    Args:
        paired: contributions of the baseline and the candidate.
        margin: largest drop allowed, above 0, in the metric's unit (a fraction for 0/1 metrics).
        alpha: error rate of each verdict, above 0 and below 0.5.

    Raises:
        ValueError: if the margin or alpha is out of range.

    >>> right = np.ones(400)
    >>> judge(Paired(right, right, "binary"), 0.01).verdict
    'held'
    >>> judge(Paired(right[:3], right[:3], "binary"), 0.01).reason
    '3 rows are below the floor of 299 for a margin of 0.01'
    """
    if not 0.0 < margin < math.inf or (paired.kind == "binary" and margin >= 1.0):
        raise ValueError(f"margin must be above 0 (and below 1 for a 0/1 metric); got {margin}")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, exclusive; got {alpha}")
    rows = len(paired.baseline)
    missing = int(np.isnan(paired.drops).sum())
    if not rows or missing:
        what = "there are no rows" if not rows else f"{missing} of {rows} rows have no number"
        return _unknown(paired, what)
    return _TESTS[paired.kind](paired, margin, alpha)


def _judge_binary(paired: Paired, margin: float, alpha: float) -> Judgement:
    if not paired.rows_are_units:
        return _judge_mean(paired, margin, alpha)
    drops = paired.drops
    b, c, n = int((drops > 0).sum()), int((drops < 0).sum()), drops.size
    plan = _planned_drop((b - c) / n, margin)
    if paired.against_reference:
        verdict = _agreement_verdict(b, n, margin, alpha)
        p_value = agreement_p_value(b, n, margin)
        bound = agreement_upper_bound(b, n, alpha)
        needed = partial(agreement_rows_needed, margin, plan, alpha)
    else:
        verdict = binary_verdict(b, c, n, margin, alpha)
        p_value = paired_binary_p_value(b, c, n, margin)
        bound = paired_binary_upper_bound(b, c, n, alpha)
        needed = partial(rows_needed, margin, _planned_disagreement(b + c, n), plan, alpha)
    floor = floor_rows(margin, alpha)
    short = f"{n} rows are below the floor of {floor} for a margin of {margin:g}"
    return Judgement(
        verdict=verdict,
        estimate=(b - c) / n,
        bound=_agreeing_bound(bound, margin, verdict),
        p_value=p_value,
        grade="A",
        n=n,
        method=AGREEMENT_METHOD if paired.against_reference else BINARY_METHOD,
        rows_needed=_more(needed, n) if verdict == "undecided" else 0,
        reason=_reason(verdict, bound, margin, plan, short if n < floor else ""),
    )


def _judge_mean(paired: Paired, margin: float, alpha: float) -> Judgement:
    worst = paired.high - paired.low
    if not math.isfinite(worst):
        return _unknown(paired, "the metric declares no finite bounds of a contribution")
    values = np.concatenate([paired.baseline, paired.candidate])
    if float(values.min()) < paired.low or float(values.max()) > paired.high:
        what = f"a contribution is beyond its declared bounds, {paired.low:g} to {paired.high:g}"
        return _unknown(paired, what)
    if paired.weights is not None and not _usable(paired.weights):
        return _unknown(paired, "weights must be finite, at least 0 and not all 0")
    sample = paired.unit_means()
    n, effective = sample.means.size, sample.effective_units
    short = ""
    if effective < MINIMUM_UNITS * (1 - 1e-9):
        short = f"{effective:.0f} units (by weight) are below the minimum of {MINIMUM_UNITS}"
    test = bounded_mean_test(sample, margin, worst, alpha)
    verdict = "undecided" if short else _verdict(test.p_value, test.harm_p_value, alpha)
    plan, deviation = _planned_drop(sample.estimate, margin), float(sample.means.std())
    needed = partial(mean_rows_needed, margin, deviation, plan, worst, alpha)
    noun = "rows" if paired.rows_are_units else "units"
    return Judgement(
        verdict=verdict,
        estimate=sample.estimate,
        bound=_agreeing_bound(test.bound, margin, verdict),
        p_value=test.p_value,
        grade="B",
        n=n,
        method=MEAN_METHOD.format(noun, noun[:-1]),
        rows_needed=_more(needed, n, n / effective) if verdict == "undecided" else 0,
        reason=_reason(verdict, test.bound, margin, plan, short),
    )


def _judge_reported(paired: Paired, margin: float, alpha: float) -> Judgement:
    return _unknown(paired, "no test certifies this kind of metric; its grade is C")


def _unknown(paired: Paired, reason: str) -> Judgement:
    """Gives up on a verdict, but not on what can still be said."""
    drops = paired.drops
    known = bool(drops.size) and bool(np.isfinite(drops).all())
    estimate = None
    if known:
        usable = paired.weights is None or _usable(paired.weights)
        estimate = float(np.average(drops, weights=paired.weights)) if usable else None
    return Judgement("undecided", estimate, None, None, "C", drops.size, REPORTED_METHOD, 0, reason)


def binary_verdict(b: int, c: int, n: int, margin: float, alpha: float = 0.05) -> Verdict:
    """Gives the verdict on a paired 0/1 table alone; `judge` calls it, and adds the rest.

    Args:
        b: rows that only the baseline got right.
        c: rows that only the candidate got right.
        n: all rows.
        margin: largest drop allowed, between 0 and 1.
        alpha: error rate of each verdict.

    >>> [binary_verdict(b, 2, 1000, 0.01) for b in (3, 9, 40)]
    ['held', 'undecided', 'broken']
    """
    if n >= floor_rows(margin, alpha) and paired_binary_p_value(b, c, n, margin) <= alpha:
        return "held"
    # A drop seen below the margin can't be above it with confidence; skip the search.
    harmful = b - c > n * margin and paired_binary_harm_p_value(b, c, n, margin) <= alpha
    return "broken" if harmful else "undecided"


def _agreement_verdict(disagreements: int, n: int, margin: float, alpha: float) -> Verdict:
    p_value = agreement_p_value(disagreements, n, margin)
    return _verdict(p_value, agreement_harm_p_value(disagreements, n, margin), alpha)


def _verdict(p_value: float, harm: float, alpha: float) -> Verdict:
    if p_value <= alpha:
        return "held"
    return "broken" if harm <= alpha else "undecided"


def _planned_drop(estimate: float, margin: float) -> float:
    """Guesses the drop for planning more rows: what was seen, within 0 and half the margin."""
    return min(max(estimate, 0.0), margin / 2.0)


def _planned_disagreement(seen: int, n: int) -> float:
    """Guesses the disagreement for planning: what was seen, and ten rows' worth of a typical 3 %.

    Without the latter a group with no disagreement so far would seem to need the floor only.
    """
    return (seen + 0.3) / (n + 10)


def _more(count: Callable[[], int], n: int, scale: float = 1.0) -> int:
    """Counts the rows that would decide it: more than there are; 0 if no number of rows does."""
    found = count()
    return 0 if found >= IMPOSSIBLE else max(math.ceil(found * scale), n + 1)


def _agreeing_bound(bound: float, margin: float, verdict: Verdict) -> float:
    """Keeps the bound on the verdict's side of the margin where rounding put it across."""
    return min(bound, margin) if verdict == "held" else bound


def _reason(verdict: Verdict, bound: float, margin: float, plan: float, short: str) -> str:
    if verdict == "held":
        return ""
    if verdict == "broken":
        return f"the drop is above the margin of {margin:g}"
    if short:
        return short
    return (
        f"the drop may be up to {bound:.4g}, above the margin of {margin:g}; "
        f"the rows needed assume a true drop of {plan:.4g}"
    )


def _usable(weights: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(weights).all()) and bool((weights >= 0).all()) and weights.sum() > 0


def _plain(units: Sequence[Hashable] | NDArray[np.generic]) -> list[Hashable]:
    return units.tolist() if isinstance(units, np.ndarray) else list(units)


def _number(units: Sequence[Hashable] | NDArray[np.generic]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(unit, len(numbers)) for unit in _plain(units)]
    return np.asarray(codes, dtype=np.int64)


_TESTS: Mapping[Kind, Callable[[Paired, float, float], Judgement]] = {
    "binary": _judge_binary,
    "bounded_mean": _judge_mean,
    "ratio_of_sums": _judge_reported,
    "influence": _judge_reported,
    "reported_only": _judge_reported,
}
