"""The context `gaussian_blur`: an image out of focus."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings


class GaussianBlur:
    """Blurs an image. Setting: `radius`, the standard deviation of the blur in pixels."""

    name: ClassVar[str] = "gaussian_blur"
    takes: ClassVar[Taken] = "image"
    packages: ClassVar[tuple[str, ...]] = ("PIL",)

    def settings(self) -> Ranges:
        """Setting: `radius`."""
        return {"radius": FloatRange(0.1, 100.0, 1.0)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Blurs by Pillow's `GaussianBlur`. Draws nothing at random."""
        from PIL import ImageFilter

        from jettison.numerics.pixels import on_pixels

        blur = ImageFilter.GaussianBlur(float(settings["radius"]))
        return on_pixels(value, lambda image: image.filter(blur))
