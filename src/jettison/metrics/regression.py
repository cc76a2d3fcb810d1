"""Quality of regressions against the right values."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Evidence, MetricKind, Scores
from jettison.domain.measurement import Better
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
        if evidence.targets is None:
            raise DataError(
                "`absolute_error` needs the right values: name their column as `target` in `data`"
            )
        output = np.asarray(evidence.outputs[evidence.prediction])
        if len(output) == 0 or output.size != len(output) or output.dtype.kind not in "iuf":
            raise DataError(
                f"`absolute_error` needs one number a row; the output has shape {output.shape} "
                f"of {output.dtype}"
            )
        values = output.reshape(-1).astype(np.float64)
        errors = np.abs(values - evidence.targets)
        errors = np.where(np.isfinite(errors), errors, math.inf)
        return Scores(float(errors.mean()), errors)
