"""The roofline: what bounds a layer follows from its products, its bytes and its time."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.device import Device, ServingProfile
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.rates import Level, Rate, Rates
from jettison.numerics.roofline import residence, rooflines, shares_by_bound

PEAK, CACHE, MEMORY = 20e9, 40e9, 10e9


def rate(value: float) -> Rate:
    return Rate(value, value, 9)


RATES = Rates(
    1,
    (Level("L2", 2**20, rate(CACHE)), Level("memory", 2**62, rate(MEMORY))),
    {"float32": rate(PEAK), "int8": rate(3 * PEAK)},
)


def layer(macs: int | None, moved: int, share: float, weights: int = 1000) -> LayerCost:
    return LayerCost("a", "MatMul", weights // 4, macs, weights, share, None, moved - weights)


def profile(*layers: LayerCost, rates: Rates | None = RATES, ms: float = 1.0) -> Profile:
    device = Device("a CPU", "x86_64", ("avx2",), 2, 2**33, "Linux")
    return Profile(
        device,
        ServingProfile(),
        (),
        layers,
        1e9,
        0.02,
        1000,
        rates=rates,
        layer_ms=ms,
        layer_batch=1,
    )


def test_many_products_a_byte_are_bound_by_computing() -> None:
    """10 million products in 0.5 ms, at a peak of 20 billion a second: all of it is reached."""
    (roof,) = rooflines(profile(layer(10**7, 20_000, 0.5)))
    assert roof.bound == "compute"
    assert roof.reached == pytest.approx(1.0)
    assert roof.attainable == pytest.approx(PEAK)
    assert roof.intensity == pytest.approx(500)


def test_few_products_a_byte_are_bound_by_reading() -> None:
    """What moves 400 kB at 40 GB/s can take 10 us, whatever it multiplies."""
    (roof,) = rooflines(profile(layer(10_000, 400_000, 0.02)))
    assert roof.bound == "memory"
    assert roof.reached == pytest.approx(0.5)
    assert roof.attainable == pytest.approx(10_000 / 10e-6)


def test_what_neither_explains_is_called_so() -> None:
    """A layer far below its roof is not said to be bound by it: fewer products would not help."""
    (roof,) = rooflines(profile(layer(10_000, 4_000, 0.9)))
    assert roof.bound == "neither"


def test_integers_have_their_own_roof() -> None:
    """A layer that multiplies integers is held against the rate of integers."""
    integer = dataclasses.replace(layer(10**7, 20_000, 0.5), integer=True)
    (roof,) = rooflines(profile(integer))
    assert roof.attainable == pytest.approx(3 * PEAK)


def test_weights_that_no_cache_holds_are_read_from_memory() -> None:
    """The level is the smallest that holds all weights, for they come by once a call."""
    big = layer(10**7, 4 * 2**20, 0.5, weights=2 * 2**20)
    assert residence(profile(big)) == RATES.levels[1]
    small = residence(profile(layer(10**7, 20_000, 0.5)))
    assert small is not None
    assert small.name == "L2"


@pytest.mark.parametrize(
    "unknown",
    [
        profile(layer(None, 20_000, 0.5)),
        profile(layer(10**7, 20_000, 0.5), rates=None),
        profile(layer(10**7, 20_000, 0.5), ms=0.0),
        profile(dataclasses.replace(layer(10**7, 20_000, 0.5), time_share=None)),
    ],
)
def test_what_is_not_known_gets_no_roof(unknown: Profile) -> None:
    """A missing count, rate or time is never made up."""
    assert rooflines(unknown) == ()


@given(
    macs=st.integers(0, 10**9),
    moved=st.integers(1001, 10**8),
    share=st.floats(0.001, 1.0),
)
def test_shares_add_up_and_attainable_obeys_both_roofs(macs: int, moved: int, share: float) -> None:
    """No attainable rate exceeds the peak of products, or what reading feeds."""
    one = profile(layer(macs, moved, share))
    (roof,) = rooflines(one)
    level = residence(one)
    assert level is not None
    if macs:
        assert roof.attainable <= PEAK * (1 + 1e-9)
        assert roof.attainable <= roof.intensity * level.rate.peak * (1 + 1e-9)
    assert sum(shares_by_bound([roof]).values()) == pytest.approx(share)
