"""Glossary cards: what `jettison explain` finds."""

from __future__ import annotations

import pytest

from jettison import registry
from jettison.claims import cards
from jettison.errors import UsageError
from jettison.reporting.glossary import GLOSSARY


@pytest.mark.parametrize("term", ["reduce_range", "Reduce-Range", "VNNI", "7-bit weights"])
def test_a_card_has_several_names(term: str) -> None:
    """Case, dashes and spaces make no difference; aliases lead to the same card."""
    assert cards.find(term).term == "reduce_range"


@pytest.mark.parametrize(
    ("term", "kind"),
    [
        ("sparse", "trait"),
        ("sealed rows", "word of the report"),
        ("data.unit", "key of jettison.toml"),
        ("convert_openvino", "one of the techniques"),
        ("p99", None),
    ],
)
def test_what_has_no_card_is_found_elsewhere(term: str, kind: str | None) -> None:
    """Traits, words of the report, keys and plug-ins explain themselves; nonsense does not."""
    if kind is None:
        with pytest.raises(UsageError, match="nothing is known about `p99`"):
            cards.find(term)
    else:
        assert cards.find(term).kind == kind


def test_near_names_are_told() -> None:
    """A slip of the finger finds its way."""
    with pytest.raises(UsageError, match=r"near names: .*`reduce_range`"):
        cards.find("reduce_rnage")


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_plugin_can_be_explained(family: registry.Family) -> None:
    """The first paragraph of its docstring is its card, where nobody wrote a better one."""
    for name in registry.names(family):
        assert len(cards.find(name).what) > 20


@pytest.mark.parametrize("term", sorted(GLOSSARY))
def test_words_of_the_report_lead_to_cards(term: str) -> None:
    """The report sends its readers to `jettison explain`, which knows each of its words."""
    assert cards.find(term).what
