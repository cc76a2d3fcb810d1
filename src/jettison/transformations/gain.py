"""The context `gain`: a signal that is louder or quieter."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings


class Gain:
    """Multiplies a signal. Setting: `decibels` (20 of them are a factor of 10)."""

    name: ClassVar[str] = "gain"
    takes: ClassVar[Taken] = "signal"
    packages: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> Ranges:
        """Setting: `decibels`."""
        return {"decibels": FloatRange(-120.0, 120.0, -12.0)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Scales; whole numbers are cut at the ends of their type. Draws nothing at random."""
        return np.asarray(value) * 10.0 ** (float(settings["decibels"]) / 20.0)
