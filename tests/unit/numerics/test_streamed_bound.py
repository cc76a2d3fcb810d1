"""What smaller weights can gain: always bytes, time only where reading them is what takes long."""

from __future__ import annotations

import dataclasses

import pytest

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.profile import LayerCost, Profile
from jettison.numerics.speed_bounds import streamed_bound

MILLION = 1_000_000


def profile(*layers: LayerCost) -> Profile:
    device = dataclasses.replace(machine.describe_device(), features=("avx2",))
    return Profile(device, ServingProfile(), (), layers, 1e9, 0.02, 1)


def test_products_that_reuse_their_weights_gain_bytes_only() -> None:
    """A matrix that is multiplied with 64 rows is read once for 64 products."""
    layer = LayerCost("m", "MatMul", 20 * MILLION, 1280 * MILLION, 80 * MILLION, 0.9)
    bound = streamed_bound(profile(layer), ("MatMul",), 0.25)
    assert (bound.speedup, bound.size_ratio) == (1.0, 0.25)


def test_weights_that_are_read_for_one_product_gain_time() -> None:
    """Amdahl's law over the share of the time that reads them."""
    layer = LayerCost("m", "MatMul", 20 * MILLION, 20 * MILLION, 80 * MILLION, 0.8)
    rest = LayerCost("r", "Softmax", 0, None, 0, 0.2)
    bound = streamed_bound(profile(layer, rest), ("MatMul",), 0.25)
    assert bound.speedup == pytest.approx(1.0 / (0.2 + 0.8 * 0.25))
    assert "1.0 products" in bound.reason


def test_small_weights_stay_in_a_cache() -> None:
    """Nothing is gained by reading a few kilobytes faster."""
    layer = LayerCost("m", "MatMul", 1000, 1000, 4000, 0.9)
    assert streamed_bound(profile(layer), ("MatMul",), 0.25).speedup == 1.0
