"""The context `microphone`: a sound through a device that passes only part of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, IntegerRange, Ranges
from jettison.domain.record import Settings
from jettison.errors import DataError


class Microphone:
    """Keeps the frequencies from `low_hz` to `high_hz`, as a telephone or a cheap microphone does.

    Settings: `sample_rate` of the sound in samples a second, `low_hz`, `high_hz`, and `order` of
    the Butterworth filter. It is for waveforms; a spectrogram has no time axis to filter.
    """

    name: ClassVar[str] = "microphone"
    takes: ClassVar[Taken] = "signal"
    packages: ClassVar[tuple[str, ...]] = ("scipy",)

    def settings(self) -> Ranges:
        """Settings: `sample_rate`, `low_hz`, `high_hz`, `order`."""
        return {
            "sample_rate": IntegerRange(100, 1_000_000, 16_000),
            "low_hz": FloatRange(1.0, 500_000.0, 300.0),
            "high_hz": FloatRange(1.0, 500_000.0, 3_400.0),
            "order": IntegerRange(1, 10, 4),
        }

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Filters forwards (`scipy.signal.sosfilt`). Draws nothing at random.

        Raises:
            DataError: if the value is no waveform, or the band does not lie below half the rate.
        """
        from scipy.signal import butter, sosfilt

        signal = np.asarray(value, dtype=np.float64)
        low, high = float(settings["low_hz"]), float(settings["high_hz"])
        rate = int(settings["sample_rate"])
        if signal.ndim != 1:
            raise DataError(
                f"it filters waveforms of shape (t,); a row here has the shape {signal.shape}"
            )
        if not low < high < rate / 2:
            raise DataError(
                f"`low_hz` ({low:g}) must lie below `high_hz` ({high:g}), and that below half of "
                f"`sample_rate` ({rate / 2:g}); set all three for your sound"
            )
        sections = butter(int(settings["order"]), (low, high), "bandpass", output="sos", fs=rate)
        return sosfilt(sections, signal)
