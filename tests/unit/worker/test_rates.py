"""Asking runtimes for their rates: only those that can run here."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from jettison import registry
from jettison.domain import accelerators
from jettison.domain.device import ServingProfile
from jettison.domain.rates import Rate
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
