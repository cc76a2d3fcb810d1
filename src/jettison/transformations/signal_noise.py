"""The context `signal_noise`: a signal with noise behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings


class SignalNoise:
    """Adds white normal noise. Setting: `snr_db`, power of signal over noise in decibels."""

    name: ClassVar[str] = "signal_noise"
    takes: ClassVar[Taken] = "signal"
    packages: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> Ranges:
        """Setting: `snr_db`."""
        return {"snr_db": FloatRange(-60.0, 120.0, 20.0)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Adds noise relative to the mean power of this row; silence stays silent."""
        signal = np.asarray(value, dtype=np.float64)
        power = float(np.mean(np.square(signal))) if signal.size else 0.0
        deviation = np.sqrt(power / 10.0 ** (float(settings["snr_db"]) / 10.0))
        return signal + random.normal(0.0, 1.0, signal.shape) * deviation
