"""Asking runtimes for their rates: only those that can run here."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest

from jettison import machine, registry
from jettison.domain import accelerators
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import RatesJob
from jettison.domain.rates import Rate
from jettison.worker import rates
from jettison.worker.rates import _products


class OnAnAccelerator:
    """A runtime that can tell its rates, where its accelerator answers."""

    name: ClassVar[str] = "far"
    packages: ClassVar[tuple[str, ...]] = ()
    accelerator: ClassVar[str] = "cuda"

    def product_rates(self, serving: ServingProfile) -> dict[str, Rate]:
        """As it would answer."""
        return {"float32": Rate(1e15, 1e15, 9)}


def test_a_runtime_without_its_accelerator_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no GPU answers, a runtime that needs one tells nothing about this machine."""

    def get(family: str, name: str) -> Any:
        return OnAnAccelerator()

    monkeypatch.setattr(registry, "names", lambda family: ("far",))
    monkeypatch.setattr(registry, "get", get)
    monkeypatch.setitem(accelerators.KINDS, "cuda", tuple)
    assert _products(ServingProfile()) == ({}, [])
    monkeypatch.setitem(accelerators.KINDS, "cuda", lambda: ("a GPU",))
    assert set(_products(ServingProfile())[0]) == {"float32"}


@pytest.mark.parametrize(
    ("caches", "memory", "outside"),
    [
        ({"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 25}, 1 << 33, 1 << 27),
        ({"L2": 1 << 21, "L3": 1 << 28}, 1 << 33, 1 << 30),
        ({"L2": 1 << 21, "L3": 1 << 28}, 1 << 31, 1 << 29),
        ({"L2": 1 << 20}, 1 << 33, 1 << 26),
        ({}, 1 << 33, 1 << 26),
    ],
)
def test_memory_is_read_from_outside_of_every_cache(
    caches: dict[str, int], memory: int, outside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last cache holds 256 MB, as far as the memory allows; a cache is read from half."""
    read: list[int] = []

    def reading(size: int) -> Rate:
        read.append(size)
        return Rate(1.0, 1.0, 1)

    device = dataclasses.replace(machine.describe_device(), memory_bytes=memory)
    monkeypatch.setattr(machine, "describe_device", lambda: device)
    monkeypatch.setattr(machine, "caches", lambda: caches)
    monkeypatch.setattr(rates, "_reading_rate", reading)
    monkeypatch.setattr(rates, "_products", lambda serving: ({}, []))
    found = rates.measure(RatesJob(1))
    assert [level.name for level in found.levels] == [*(c for c in caches if c != "L1"), "memory"]
    assert read == [*(size // 2 for name, size in caches.items() if name != "L1"), outside]
