"""The context `gaussian_noise`: an image from a sensor in poor light."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings


class GaussianNoise:
    """Adds normal noise to every pixel. Setting: `deviation`, of pixel values 0 to 255."""

    name: ClassVar[str] = "gaussian_noise"
    takes: ClassVar[Taken] = "image"
    packages: ClassVar[tuple[str, ...]] = ("PIL",)

    def settings(self) -> Ranges:
        """Setting: `deviation`."""
        return {"deviation": FloatRange(0.1, 255.0, 10.0)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Adds noise, rounds, and cuts to 0 to 255; each channel has its own noise."""
        from PIL import Image

        from jettison.numerics.pixels import on_pixels

        def noisy(image: Any) -> Any:
            pixels = np.asarray(image, dtype=np.float64)
            shifted = pixels + random.normal(0.0, float(settings["deviation"]), pixels.shape)
            return Image.fromarray(np.clip(np.rint(shifted), 0, 255).astype(np.uint8))

        return on_pixels(value, noisy)
