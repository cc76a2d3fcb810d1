"""Quality of regressions against the right values."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
from jettison.domain.rows import Array
from jettison.errors import DataError


class AbsoluteError:
    """The mean absolute distance to the right value, in units of the target.

    Reported only: without a bound on one row's error no test of the mean holds its error rate
    (CERTIFICATION.md section 2.4), so it can't gate.
    """

    name: ClassVar[str] = "absolute_error"
    unit: ClassVar[str] = "target units"
    better: ClassVar[Better] = "lower"
    kind: ClassVar[MetricKind] = "reported_only"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = math.inf
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})

    def score(self, evidence: Evidence) -> Scores:
        """Takes |value - target| of each row; a value that is not finite is infinitely wrong.

        Raises:
            DataError: without targets or rows, or if the output is not one number a row.
        """
        values, targets = _both(evidence, self.name)
        errors = np.abs(values - targets)
        errors = np.where(np.isfinite(errors), errors, math.inf)
        return Scores(float(errors.mean()), errors)


class Correlation:
    """Pearson's correlation between the values and the right ones.

    Reported only: no test of it was shown to hold its error rate here (grade C). Each row's part
    is the correlation plus the row's influence on it, r + x y - r (x^2 + y^2) / 2 with x and y
    standardised (S. Devlin, R. Gnanadesikan and J. Kettenring, Biometrika 62 (1975)).
    """

    name: ClassVar[str] = "correlation"
    unit: ClassVar[str] = "correlation"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "reported_only"
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})

    def score(self, evidence: Evidence) -> Scores:
        """Correlates all rows.

        Raises:
            DataError: without targets, for values that are not finite, or where all are equal.
        """
        ours, right = (_standardised(v, self.name) for v in _both(evidence, self.name))
        value = float((ours * right).mean())
        return Scores(value, value + ours * right - value * (ours**2 + right**2) / 2.0)


class RSquared:
    """The share of the variance that is explained: 1 - mean squared error / variance.

    Reported only (grade C), as `correlation` is; the variance is that of the rows scored.
    """

    name: ClassVar[str] = "r2"
    unit: ClassVar[str] = "fraction"
    better: ClassVar[Better] = "higher"
    kind: ClassVar[MetricKind] = "reported_only"
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = 1.0
    needs_targets: ClassVar[bool] = True
    against_reference: ClassVar[bool] = False
    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})

    def score(self, evidence: Evidence) -> Scores:
        """Compares squared errors with the variance of the right values.

        Raises:
            DataError: without targets, for values that are not finite, or where all are equal.
        """
        values, targets = _both(evidence, self.name)
        _standardised(targets, self.name)
        if not bool(np.isfinite(values).all()):
            raise DataError("`r2` is undefined: a value of the model is not finite")
        parts = 1.0 - np.square(values - targets) / float(targets.var())
        return Scores(float(parts.mean()), parts)


def _both(evidence: Evidence, name: str) -> tuple[Array, Array]:
    """The values and the right ones, shape (n,) of float64 each."""
    if evidence.targets is None:
        raise DataError(f"`{name}` needs the right values: name their column as `target` in `data`")
    output = np.asarray(evidence.outputs[evidence.prediction])
    if len(output) == 0 or output.size != len(output) or output.dtype.kind not in "iuf":
        raise DataError(
            f"`{name}` needs one number a row; the output has shape {output.shape} of "
            f"{output.dtype}"
        )
    return output.reshape(-1).astype(np.float64), np.asarray(evidence.targets, np.float64)


def _standardised(values: Array, name: str) -> Array:
    """Values less their mean, over their standard deviation."""
    if not bool(np.isfinite(values).all()) or not float(np.ptp(values)) > 0:
        raise DataError(f"`{name}` is undefined: values are not finite, or all equal")
    return np.asarray((values - values.mean()) / values.std())
