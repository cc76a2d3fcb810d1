"""The context `jpeg`: an image that was saved as JPEG and lost detail by it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import IntegerRange, Ranges
from jettison.domain.record import Settings


class Jpeg:
    """Saves and opens the image as JPEG. Setting: `quality`, as Pillow counts it (1 to 95)."""

    name: ClassVar[str] = "jpeg"
    takes: ClassVar[Taken] = "image"
    packages: ClassVar[tuple[str, ...]] = ("PIL",)

    def settings(self) -> Ranges:
        """Setting: `quality`."""
        return {"quality": IntegerRange(1, 95, 40)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Gives the JPEG file, or the pixels that it holds. Draws nothing at random."""
        from jettison.numerics.pixels import decoded, encoded, on_pixels

        quality = int(settings["quality"])
        if isinstance(value, bytes):
            return encoded(decoded(value), "JPEG", quality=quality)
        return on_pixels(value, lambda image: decoded(encoded(image, "JPEG", quality=quality)))
