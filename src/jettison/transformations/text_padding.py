"""The context `text_padding`: a text with something neutral before or after it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import Choices, IntegerRange, Ranges
from jettison.domain.record import Settings


class TextPadding:
    """Puts a filler beside the text, several times.

    Settings: `filler`, `times`, and `side` (`after` or `before`). A long text that an encoder cuts
    off loses its end by padding before it.
    """

    name: ClassVar[str] = "text_padding"
    takes: ClassVar[Taken] = "text"
    packages: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> Ranges:
        """Settings: `filler`, `times`, `side`."""
        return {
            "filler": Choices((" .",), " .", others=True),
            "times": IntegerRange(1, 10_000, 20),
            "side": Choices(("after", "before"), "after"),
        }

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Gives the longer text. Draws nothing at random."""
        filler = str(settings["filler"]) * int(settings["times"])
        return filler + str(value) if settings["side"] == "before" else str(value) + filler
