"""`Measurement`: numbers never travel alone; each has its unit, size, interval and machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jettison.domain.device import Device

Better = Literal["higher", "lower"]
OVERALL = "overall"

FasterVerdict = Literal["faster", "slower", "no difference shown", "noisy"]


def cell_group(batch_size: int, length: int = 0) -> str:
    """The name of a batch size, or of a batch size and a length, as a group of an estimate.

    >>> cell_group(8), cell_group(8, 64)
    ('batch=8', 'batch=8,length=64')
    """
    return f"batch={batch_size},length={length}" if length else f"batch={batch_size}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number.

    Attributes:
        metric, group: what and for whom (`overall`, or `column=value`).
        value, low, high: point and 95 % interval; `None` when it could not be found.
        n: rows, launches or files behind it.
        unit: `ms`, `bytes`, `fraction`, `ratio`, ...
        better: which direction is good.
        state: `ok`, or `noisy` where contention forbids any claim.
    """

    metric: str
    group: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    better: Better
    state: Literal["ok", "noisy"] = "ok"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one candidate (or the baseline) was measured to be.

    Attributes:
        recipe: digest of the recipe; empty for the baseline.
        tier: `ranking` figures steer the search and are never quoted; `claim` figures are.
        estimates: costs and quality.
        contributions: per quality metric, the file (`.npy`, shape (n,)) with each row's part.
        device: the machine.
        notes: contention, retries, providers, what was odd.
    """

    recipe: str
    tier: Literal["ranking", "claim"]
    estimates: tuple[Estimate, ...]
    device: Device
    contributions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def get(self, metric: str, group: str = OVERALL) -> Estimate | None:
        """Finds one estimate; `None` if it was not measured (a missing number is never good)."""
        for estimate in self.estimates:
            if estimate.metric == metric and estimate.group == group:
                return estimate
        return None


def faster_verdict(gain: Estimate | None, noise_floor: float) -> FasterVerdict:
    """Says whether a gain is beyond what two copies of one model show on this machine.

    Args:
        gain: a `<cost>:gain` estimate with its interval; above 1 is better.
        noise_floor: of the same `ClaimResult`, as a fraction.
    """
    if gain is not None and gain.state == "noisy":
        return "noisy"
    if gain is None or gain.low is None or gain.high is None:
        return "no difference shown"
    edge = 1.0 + noise_floor
    if gain.low > edge:
        return "faster"
    if gain.high < 1.0 / edge:
        return "slower"
    return "no difference shown"
