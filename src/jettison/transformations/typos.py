"""The context `typos`: a text typed in a hurry."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from jettison.domain.outer_points import Taken
from jettison.domain.recipe import FloatRange, Ranges
from jettison.domain.record import Settings

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Typos:
    """Swaps, drops, doubles or replaces letters. Setting: `rate`, the share of letters hit.

    Each letter is hit with the chance `rate`; one of four slips follows, all equally likely. Only
    letters are hit: spaces, digits and punctuation stay, so that the number of words stays.
    """

    name: ClassVar[str] = "typos"
    takes: ClassVar[Taken] = "text"
    packages: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> Ranges:
        """Setting: `rate`."""
        return {"rate": FloatRange(0.001, 1.0, 0.05)}

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Gives the text with slips; a text without letters comes back as it is."""
        text = str(value)
        hits = random.random(len(text)) < float(settings["rate"])
        slips = random.integers(0, 4, len(text))
        others = random.integers(0, len(LETTERS), len(text))
        made: list[str] = []
        place = 0
        while place < len(text):
            letter = text[place]
            after = text[place + 1] if place + 1 < len(text) else ""
            if not (hits[place] and letter.isalpha()):
                made.append(letter)
            elif slips[place] == 0 and after.isalpha():
                made.append(after + letter)
                place += 1
            elif slips[place] == 1 and _others_stay(made, text[place + 1 : place + 2]):
                pass
            elif slips[place] == 2:
                made.append(letter * 2)
            else:
                made.append(LETTERS[others[place]])
            place += 1
        return "".join(made)


def _others_stay(made: list[str], after: str) -> bool:
    """The last letter that is left of a word is not dropped: the number of words stays."""
    before = made[-1][-1:] if made else ""
    return before.isalpha() or after.isalpha()
