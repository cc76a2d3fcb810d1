"""Finds what a term means: a card, a word of the report, a trait, a plug-in, a key of the file."""

from __future__ import annotations

import difflib
import inspect
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from jettison import registry
from jettison.config.keys import KEYS
from jettison.domain.traits import TRAITS
from jettison.errors import UsageError
from jettison.reporting.glossary import FAIRNESS, GLOSSARY, WORDS


@dataclass(frozen=True, slots=True)
class Stored:
    """A value of a stored result, and how the card writes it."""

    name: str
    file: str
    model: str
    method: str
    metric: str
    format: str
    shown: str


@dataclass(frozen=True, slots=True)
class Card:
    """What is to be known about one term.

    Attributes:
        term: as it is written.
        kind: `term`, `trait`, `technique`, `setting`, ...
        what: one or two sentences.
        helps, not_when: when it pays and when it does not; may be empty.
        figure: one measured figure, or empty.
        values: the stored values in it.
        aliases: other names.
    """

    term: str
    kind: str
    what: str
    helps: str = ""
    not_when: str = ""
    figure: str = ""
    values: tuple[Stored, ...] = ()
    aliases: tuple[str, ...] = ()


def cards() -> tuple[Card, ...]:
    """The cards of the data file that ships with the package."""
    text = resources.files("jettison.claims").joinpath("cards.toml").read_text("utf-8")
    return tuple(_card(term, table) for term, table in tomllib.loads(text).items())


def find(term: str) -> Card:
    """The card of a term; upper case, `-`, `_` and spaces make no difference.

    Raises:
        UsageError: if nothing is known under this name; lists near names.
    """
    known = dict(_known())
    found = known.get(_plain(term))
    if found is not None:
        return found
    near = difflib.get_close_matches(_plain(term), known, n=5, cutoff=0.5)
    names = ", ".join(dict.fromkeys(f"`{known[name].term}`" for name in near))
    hint = f"near names: {names}" if names else "`jettison list` names what is installed"
    raise UsageError(f"nothing is known about `{term}`; {hint}")


def panel(card: Card) -> RenderableType:
    """A card for the terminal."""
    parts = [Text(card.what)]
    for label, text in (("helps", card.helps), ("not when", card.not_when)):
        if text:
            parts.append(Text.assemble((f"{label}: ", "bold"), text))
    if card.figure:
        parts.append(Text.assemble(("measured: ", "bold"), card.figure))
        files = sorted({f"{value.file}.json" for value in card.values})
        if files:
            parts.append(Text(f"from {', '.join(files)} in benchmarks/results", style="dim"))
    return Panel(Group(*parts), title=f"{card.term} ({card.kind})", title_align="left")


def _known() -> Iterator[tuple[str, Card]]:
    """Every name with its card; a later one wins, so the hand-written ones come last."""
    for key in KEYS:
        where = f"{key.section}.{key.name}" if key.section else key.name
        card = Card(where, "key of jettison.toml", f"{key.meaning} Allowed: {key.allowed}.")
        yield _plain(key.name), card
        yield _plain(where), card
    for family in registry.FAMILIES:
        for name in registry.names(family):
            yield _plain(name), _plugin(family, name)
    lists = {"word": WORDS, "word of an assessment": FAIRNESS, "word of the report": GLOSSARY}
    for kind, words in lists.items():
        for term, meaning in words.items():
            yield _plain(term), Card(term, kind, meaning)
    for trait, meaning in TRAITS.items():
        yield _plain(trait), Card(trait, "trait", meaning)
    for card in cards():
        for name in (card.term, *card.aliases):
            yield _plain(name), card


def _plugin(family: registry.Family, name: str) -> Card:
    plugin = registry.get(family, name)
    text = inspect.getdoc(type(plugin)) or ""
    facts = [
        f"{word} {', '.join(sorted(getattr(plugin, word)))}"
        for word in ("requires", "adds", "removes")
        if getattr(plugin, word, None)
    ]
    ending = f" It {'; '.join(facts)}." if facts else ""
    return Card(name, f"one of the {family}", text.split("\n\n")[0].replace("\n", " ") + ending)


def _card(term: str, table: Mapping[str, Any]) -> Card:
    values = tuple(Stored(**value) for value in table.get("values", ()))
    return Card(
        term,
        "term",
        table["what"],
        table["helps"],
        table["not_when"],
        table["figure"].format(**{value.name: value.shown for value in values}),
        values,
        tuple(table.get("aliases", ())),
    )


def _plain(term: str) -> str:
    return "".join(letter for letter in term.lower() if letter.isalnum() or letter == ".")
