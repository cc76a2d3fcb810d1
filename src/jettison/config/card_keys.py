"""The keys of `card`: what only the owner of a model can say about it."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen

from jettison.config.key import Key, defaults_of
from jettison.domain.configuration import CardSection

LONGEST = 4000
"""Characters of one text: a card is a page, not a book."""

_CARD = defaults_of(CardSection)
_WORDS = Annotated[str, MaxLen(LONGEST)]
_TEXT = f"a text of at most {LONGEST} characters, or an empty text"


def _key(name: str, meaning: str, allowed: str = _TEXT) -> Key:
    return Key("card", name, _WORDS, allowed, _CARD[name], meaning)


CARD_KEYS = (
    _key("intended_use", "What the model is for, and who uses it."),
    _key("out_of_scope", "What it must not be used for."),
    _key("limits", "Known limits: where it fails, and for whom."),
    _key("training", "How and on what the original was trained."),
    _key("data", "What the rows given here are, and where they come from."),
    _key(
        "licence",
        "Licence of the original, which its cheaper version inherits.",
        "a licence as Hugging Face names it (apache-2.0, mit, ...), another text, or an empty text",
    ),
    _key(
        "base_model",
        "The original on the Hugging Face hub.",
        "a name such as owner/model, or an empty text",
    ),
    _key("contact", "Whom to write to about the model."),
)
