"""How much faster 8-bit arithmetic can make a model at most, on this device, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jettison.domain.device import Device
from jettison.domain.profile import Profile
from jettison.domain.rates import INTEGER

PLAIN_RATIO = 2.0
"""Without 8-bit dot products. Measured on AVX2: ResNet-50 1.9x, Magika 1.6x, MiniLM 1.6x."""

DOT_RATIO = 4.0
"""With them, four 8-bit products take the place of one float product; so do four weights of memory."""

SPREAD = 1.15
"""The ratio of another shape may be so much higher than that of the large matrices measured."""

STREAMED_BYTES = 32 * 2**20
"""Weights beyond this many bytes don't stay in a cache from one answer to the next."""

REUSE = 8
"""Fewer multiplications than this for each weight, and reading the weight takes longer."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that can be gained, with the reason as half a sentence."""

    speedup: float
    size_ratio: float
    reason: str


def int8_bound(profile: Profile, faster: Collection[str], smaller: Collection[str]) -> Bound:
    """Bounds the gain from 8 bits by Amdahl's law over the profile's layers.

    Args:
        profile: of the baseline.
        faster: operator types that compute in 8 bits afterwards.
        smaller: operator types whose weights are stored in 8 bits afterwards.
    """
    ratio, why = _ratio(profile, faster)
    stored = sum(layer.bytes for layer in profile.layers)
    share_of_bytes = profile.bytes_share_of(*smaller) if stored else 1.0
    size = 1.0 - 0.75 * share_of_bytes
    timed = any(layer.time_share is not None for layer in profile.layers)
    if not timed:
        return Bound(ratio, size, f"{why}; how the time divides over layers is not known here")
    share = min(1.0, profile.time_share_of(*faster))
    speedup = 1.0 / (1.0 - share + share / ratio)
    weights = f"{share_of_bytes:.0%} of the weights" if stored else "the weights"
    return Bound(
        speedup,
        size,
        f"{why}, and {share:.0%} of the model's time can be computed so; {weights} can be stored "
        "in 1 byte instead of 4",
    )


def streamed_bound(profile: Profile, operators: Collection[str], stored: float) -> Bound:
    """Bounds the gain from weights that are stored smaller and unpacked to floats for the sums.

    Args:
        profile: of the baseline.
        operators: types whose weights are stored smaller.
        stored: bytes of a weight afterwards, as a fraction of those before.
    """
    total = sum(layer.bytes for layer in profile.layers)
    share_of_bytes = profile.bytes_share_of(*operators) if total else 1.0
    size = 1.0 - (1.0 - stored) * share_of_bytes
    smaller = f"{share_of_bytes:.0%} of the weights can take {stored:.3g} of their bytes"
    if not _streams(profile, operators):
        return Bound(
            1.0, size, f"{smaller}; products are still computed in float, so nothing gets faster"
        )
    share = min(1.0, profile.time_share_of(*operators))
    return Bound(
        1.0 / (1.0 - share + share * stored),
        size,
        f"{smaller}, and each is read for only {_reuse(profile, operators):.1f} products, so "
        "reading fewer bytes can be faster",
    )


def _ratio(profile: Profile, faster: Collection[str]) -> tuple[float, str]:
    measured = profile.rates.ratio(INTEGER) if profile.rates is not None else None
    if measured is not None and not _streams(profile, faster):
        return max(1.0, measured) * SPREAD, (
            f"8-bit products run {measured:.1f}x as fast as 32-bit ones on this CPU, as measured "
            "on large matrices"
        )
    if profile.device.has_int8_dot_products:
        return DOT_RATIO, (
            f"8-bit products run at most about {DOT_RATIO:.0f}x faster on this CPU (it adds them "
            "without saturating)"
        )
    if _streams(profile, faster):
        return DOT_RATIO, (
            f"each weight is read for only {_reuse(profile, faster):.1f} products, so reading a "
            f"quarter of the bytes can be up to {DOT_RATIO:.0f}x faster"
        )
    return PLAIN_RATIO, (
        f"8-bit products run at most about {PLAIN_RATIO:.0f}x faster on this CPU "
        f"({_lacks(profile.device)})"
    )


def _reuse(profile: Profile, operators: Collection[str]) -> float:
    """Multiplications for each weight of these operators."""
    layers = [layer for layer in profile.layers if layer.operator in operators]
    weights = sum(layer.parameters for layer in layers)
    return sum(layer.macs or 0 for layer in layers) / weights if weights else 0.0


def _streams(profile: Profile, operators: Collection[str]) -> bool:
    """Whether reading the weights of these operators takes longer than multiplying by them."""
    layers = [layer for layer in profile.layers if layer.operator in operators]
    beyond = sum(layer.bytes for layer in layers) > STREAMED_BYTES
    return beyond and 0 < _reuse(profile, operators) < REUSE


def _lacks(device: Device) -> str:
    return "no VNNI" if device.architecture in {"x86_64", "AMD64"} else "no 8-bit dot products"
