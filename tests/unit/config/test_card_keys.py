"""The table `card`: the owner's words, kept as they are, and nothing made up in their place."""

from __future__ import annotations

import tomllib

import pytest

from jettison import config
from jettison.config.card_keys import LONGEST
from jettison.domain.configuration import CardSection
from jettison.errors import ConfigError

KNOWN = {"techniques": (), "runtimes": (), "metrics": (), "costs": ("latency_ms", "size_bytes")}


def test_what_the_owner_wrote_is_kept() -> None:
    """Each key of the table reaches the configuration word for word."""
    card = {"intended_use": "Sorts reviews.", "licence": "apache-2.0", "contact": "ada@example.org"}
    found = config.configuration_from({"model": {"source": "m.onnx"}, "card": card}, KNOWN)
    assert found.card == CardSection(**card)


def test_absent_words_stay_empty() -> None:
    """Without the table nothing is said, rather than something guessed."""
    found = config.configuration_from({"model": {"source": "m.onnx"}}, KNOWN)
    assert found.card == CardSection()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"intended_use": "x" * (LONGEST + 1)}, "at most 4000 characters"),
        ({"licence": 2}, "licence"),
        ({"license": "mit"}, "licence"),
    ],
)
def test_mistakes_say_what_is_allowed(card: dict[str, object], words: str) -> None:
    """A text that is too long, a number, and a key of another spelling are refused."""
    with pytest.raises(ConfigError, match=words):
        config.configuration_from({"model": {"source": "m.onnx"}, "card": card}, KNOWN)


def test_the_written_file_reads_back() -> None:
    """A card with quotes and line ends survives jettison.toml."""
    card = {"limits": 'Fails on "sarcasm";\nnever tried on German.'}
    found = config.configuration_from({"model": {"source": "m.onnx"}, "card": card}, KNOWN)
    told = tomllib.loads(config.render_configuration(found))["card"]
    assert told["limits"] == card["limits"]
