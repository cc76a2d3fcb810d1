"""`Reading`: one number that a monitor knows now, as a gauge shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """One gauge.

    Attributes:
        name: `jettison_quality_...` or `jettison_drift_...`.
        labels: few, and bounded by the bundle: never something that a caller can invent.
        value: now; NaN where it is not known.
    """

    name: str
    labels: Mapping[str, str]
    value: float
