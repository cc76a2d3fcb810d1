"""Settings that both ways to int8 share: what the search tries where, by what was measured.

What lost (docs/int8.md) is left out of the search, and still taken when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection

from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, IntegerRange, Ranges


def reduced_range(profile: Profile, *, early: bool = False) -> Choices:
    """7 bits instead of 8: tried only where the CPU can't add u8s8 products without saturating.

    Two of them can exceed 16 bits where they are added in pairs.

    Args:
        profile: of the CPU.
        early: whether 8 bits are among the first tries all the same: sums that saturate are rare in
            some models, and those lose more by the missing bit.
    """
    if profile.device.has_int8_dot_products:
        return Choices((False,), default=False, others=True)
    return Choices((True, False), default=True, early=early)


def smoothing_tried(model: Model, *, at_first: bool) -> Choices:
    """Smoothing: tried where there is attention, whose activations have outliers.

    Args:
        at_first: whether the first try smooths: where ranges are fixed beforehand, little is left of
            a transformer without it; where they follow each input, it costs more time than it
            saves unless quality asks for it.
    """
    if "attention" in model.traits:
        return Choices((at_first, not at_first), default=at_first)
    return Choices((False,), default=False, others=True)


def layers_in_float(profile: Profile, operators: Collection[str]) -> Ranges:
    """How many of the most sensitive layers stay in float: up to a quarter of them, at most 8.

    Args:
        profile: whose layers are counted; up to 4 where it knows none.
        operators: types that are rounded.
    """
    layers = [layer for layer in profile.layers if layer.operator in operators]
    most = min(8, len(layers) // 4) if layers else 4
    return {"exclude_layers": IntegerRange(0, most, 0)} if most > 0 else {}
