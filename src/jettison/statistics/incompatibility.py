"""Which of equal precision, hit rate and false alarms can't be had together, with the numbers.

For any classifier and any group, by arithmetic alone,

    FPR = p / (1 - p) * (1 - PPV) / PPV * TPR

with the base rate p (A. Chouldechova, "Fair prediction with disparate impact", Big Data 5 (2017),
equation 2.6; J. Kleinberg, S. Mullainathan and M. Raghavan, "Inherent trade-offs in the fair
determination of risk scores", 2016). Where two groups differ in p, and the classifier makes
mistakes, equal PPV and equal TPR force unequal FPR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettison.statistics.group_differences import SMALLEST, surest_difference
from jettison.statistics.group_rates import (
    BASE,
    FALSE_POSITIVE,
    PREDICTIVE,
    TRUE_POSITIVE,
)
from jettison.statistics.group_values import Floats, GroupValues


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two groups whose base rates surely differ most, and what equality of two rates makes of the third.

    Attributes:
        high, low: numbers of the groups with the higher and the lower base rate.
        base_rates: of both, in this order.
        shown: whether the difference in base rates is beyond chance (its interval excludes 0).
        level_ppv, level_tpr: of all rows, at which the groups are imagined equal.
        forced_fpr: false positive rate that each group would then have.
        observed_fpr: that each has now.
    """

    high: int
    low: int
    base_rates: tuple[float, float]
    shown: bool
    level_ppv: float
    level_tpr: float
    forced_fpr: tuple[float, float]
    observed_fpr: tuple[float, float]

    @property
    def forced_gap(self) -> float:
        """Difference in false positive rates that equal PPV and TPR would force."""
        return self.forced_fpr[0] - self.forced_fpr[1]


def false_positive_rate(base: float, ppv: float, tpr: float) -> float:
    """The false positive rate that a base rate, a PPV and a TPR leave no choice about.

    A value above 1 means that the three can't occur together at all.

    >>> round(false_positive_rate(0.5, 0.6, 0.6), 3), round(false_positive_rate(0.4, 0.6, 0.6), 3)
    (0.4, 0.267)
    """
    if not (0.0 <= base < 1.0 and 0.0 < ppv <= 1.0 and 0.0 <= tpr <= 1.0):
        raise ValueError(
            f"base rate must lie in [0, 1), PPV in (0, 1], TPR in [0, 1]; got {base}, {ppv}, {tpr}"
        )
    return base / (1.0 - base) * (1.0 - ppv) / ppv * tpr


def conflict(rates: Mapping[str, GroupValues], smallest: int = SMALLEST) -> Conflict | None:
    """Computes the identity for the two groups whose base rates differ most beyond chance.

    Args:
        rates: of `class_rates`, one column of groups.
        smallest: rows below which a group is not compared.

    Returns:
        `None` without two such groups, or where the classifier selects nobody or finds nobody.
    """
    if BASE not in rates:
        return None
    base = rates[BASE]
    gap = surest_difference(base, smallest)
    ppv, tpr = (float(rates[name].whole().value[0]) for name in (PREDICTIVE, TRUE_POSITIVE))
    if gap.highest < 0 or not (ppv > 0.0 and tpr > 0.0) or base.value[gap.highest] >= 1.0:
        return None
    pair = (gap.highest, gap.lowest)
    rows: Floats = rates[FALSE_POSITIVE].value
    high, low = (float(base.value[g]) for g in pair)
    return Conflict(
        *pair,
        (high, low),
        bool(gap.low > 0.0),
        ppv,
        tpr,
        (false_positive_rate(high, ppv, tpr), false_positive_rate(low, ppv, tpr)),
        (float(np.nan_to_num(rows[pair[0]])), float(np.nan_to_num(rows[pair[1]]))),
    )


def least_false_positive_gap(found: Conflict, ppv_gap: float, tpr_gap: float) -> float:
    """The smallest gap in FPR that is possible where PPV and TPR may differ by so much.

    The group with the higher base rate gets half of each gap in its favour, the other the rest;
    the levels in the middle are those observed over all rows.

    Args:
        found: of `conflict`.
        ppv_gap, tpr_gap: largest differences allowed, as fractions.

    Returns:
        0 where the gaps leave room for equal false positive rates.
    """
    (high, low), v, t = found.base_rates, found.level_ppv, found.level_tpr
    best = false_positive_rate(high, min(1.0, v + ppv_gap / 2), max(0.0, t - tpr_gap / 2))
    other = false_positive_rate(low, max(1e-9, v - ppv_gap / 2), min(1.0, t + tpr_gap / 2))
    return max(0.0, best - other)
