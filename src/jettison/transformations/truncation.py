"""The context `truncation`: a text of which only the beginning arrived."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings


class Truncation:
    """Keeps the first words. Setting: `keep`, the share of the words, rounded up."""

    name: ClassVar[str] = "truncation"
    takes: ClassVar[Taken] = "text"
    packages: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> Ranges:
        """Setting: `keep`."""
        return {"keep": FloatRange(0.01, 0.99, 0.5)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Cuts after a word; a text of one word comes back whole. Draws nothing at random."""
        words = list(re.finditer(r"\S+", str(value)))
        kept = math.ceil(len(words) * float(settings["keep"]))
        return str(value)[: words[kept - 1].end()] if words else value
