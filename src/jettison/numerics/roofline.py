"""The roofline of each layer: what this machine allows, what was reached, and what bounds it.

Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model": a kernel
takes at least its products over the peak rate of products, and at least its bytes over the rate of
reading. Their ratio, products per byte, is the arithmetic intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jettison.domain.profile import LayerCost, Profile
from jettison.domain.rates import FLOAT, INTEGER, Level, Rates

REACHED = 0.25
"""Below this share of the attainable rate, neither products nor bytes explain the time."""

Bound = Literal["memory", "compute", "neither"]


@dataclass(frozen=True, slots=True)
class LayerRoof:
    """One layer under the roof of this machine, at the batch size that most rows are served at.

    Attributes:
        name, operator, time_share: as in `LayerCost`.
        intensity: multiply-accumulates per byte moved.
        achieved: multiply-accumulates per second; of a layer without products, bytes per second.
        attainable: the most that this machine allows, in the same unit.
        reached: achieved / attainable.
        bound: what the attainable rate is bound by; `neither` where the layer stays so far below
            it that something else takes the time (starting kernels, unpacking, one thread).
    """

    name: str
    operator: str
    time_share: float
    intensity: float
    achieved: float
    attainable: float
    reached: float
    bound: Bound


def rooflines(profile: Profile) -> tuple[LayerRoof, ...]:
    """The layers whose products, bytes and time are known, the slowest first.

    Empty where the rates of this machine or the times of the layers are not known. Weights count
    as read once a call from the smallest level that holds all of them; activations likewise.
    """
    rates = profile.rates
    level = _level(profile)
    if rates is None or level is None or profile.layer_ms <= 0 or profile.layer_batch < 1:
        return ()
    found = (_roof(layer, profile, rates, level) for layer in profile.layers)
    return tuple(
        sorted((roof for roof in found if roof is not None), key=lambda roof: -roof.time_share)
    )


def residence(profile: Profile) -> Level | None:
    """Where the weights of the model lie from one call to the next."""
    return _level(profile)


def _level(profile: Profile) -> Level | None:
    if profile.rates is None:
        return None
    weights = sum(layer.bytes for layer in profile.layers)
    busiest = max((layer.activation_bytes or 0 for layer in profile.layers), default=0)
    return profile.rates.level_for(weights + busiest * max(1, profile.layer_batch))


def _roof(layer: LayerCost, profile: Profile, rates: Rates, level: Level) -> LayerRoof | None:
    """One layer; `None` where what it moves, multiplies or takes is not known."""
    peak = rates.products.get(INTEGER if layer.integer else FLOAT)
    if layer.macs is None or layer.activation_bytes is None or not layer.time_share or peak is None:
        return None
    rows = profile.layer_batch
    seconds = layer.time_share * profile.layer_ms * rows / 1e3
    products = layer.macs * rows
    moved = layer.bytes + layer.activation_bytes * rows
    if not moved:
        return None
    reading, computing = moved / level.rate.peak, products / peak.peak
    least = max(reading, computing)
    work = products or moved
    reached = least / seconds
    bound: Bound = "memory" if reading >= computing else "compute"
    return LayerRoof(
        layer.name,
        layer.operator,
        layer.time_share,
        products / moved,
        work / seconds,
        work / least,
        reached,
        bound if reached >= REACHED else "neither",
    )


def shares_by_bound(roofs: Sequence[LayerRoof]) -> dict[Bound, float]:
    """The share of the model's time in layers that are bound by each."""
    shares: dict[Bound, float] = {"memory": 0.0, "compute": 0.0, "neither": 0.0}
    for roof in roofs:
        shares[roof.bound] += roof.time_share
    return shares
