"""What Presidio finds in texts: counts by recogniser, no text given away, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from jettison.cli.privacy import privacy
from jettison.errors import CheckFailed, DataError, MissingDependency, UsageError
from jettison.trust.privacy.text_entities import TextSettings, text_entities

TEXTS = (
    "write to bob@example.com or call +44 20 7946 0958",
    "card 4111 1111 1111 1111, again 4111 1111 1111 1111",
    "Alice met nobody",
    None,
)


@pytest.fixture(autouse=True)
def _presidio() -> None:
    pytest.importorskip("presidio_analyzer", reason="presidio-analyzer is not installed")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A spaCy pipeline in a folder, which knows one name."""
    import spacy

    made, folder = spacy.blank("en"), tmp_path_factory.mktemp("pipeline")
    made.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Alice"}])
    made.to_disk(folder)
    return str(folder)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the worker's program in this process: a start of its own takes ten seconds."""

    def ask(program: Any, lines: Iterable[object], python: str = "") -> Any:
        return json.loads(json.dumps(program.count(map(json.dumps, lines))))

    monkeypatch.setattr("jettison.trust.privacy.text_entities.ask", ask)


@pytest.mark.usefixtures("near")
def test_patterns_count_rows_and_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two card numbers in one text are two places in one row; names need a pipeline, and that is said."""
    table = tmp_path / "rows.csv"
    table.write_text("body\n" + "\n".join(f'"{text or ""}"' for text in TEXTS) + "\n")
    privacy(table, text="body")
    told = capsys.readouterr().out
    assert "2 of 4 texts in `body`" in told
    assert "CREDIT_CARD (CreditCardRecognizer): 2 in 1 rows" in told
    assert "EMAIL_ADDRESS (EmailRecognizer): 1 in 1 rows" in told
    assert "PHONE_NUMBER (PhoneRecognizer): 1 in 1 rows" in told
    assert "names of people and places were not looked for" in told
    assert "bob" not in told
    with pytest.raises(CheckFailed, match="CREDIT_CARD, EMAIL_ADDRESS"):
        privacy(table, text="body", forbid=["EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE"])
    with pytest.raises(UsageError, match="EMAIL, which nothing here looks for"):
        privacy(table, text="body", forbid=["EMAIL"])


def test_a_pipeline_finds_names(pipeline: str) -> None:
    """A spaCy pipeline on disk adds the recogniser of names, and is not looked for anywhere else."""
    found = text_entities(TEXTS, TextSettings(model=pipeline))
    assert found.knows_names
    assert ("PERSON", 1) in [(kind.name, kind.rows) for kind in found.kinds]
    with pytest.raises(MissingDependency, match="Nothing is fetched"):
        text_entities(TEXTS, TextSettings(model="no_such_pipeline"))


def test_what_can_t_be_asked_is_refused(tmp_path: Path) -> None:
    """No texts, a score of 2, no such column or interpreter, or nothing to look at: one sentence each."""
    with pytest.raises(DataError, match="no texts"):
        text_entities([], TextSettings())
    with pytest.raises(UsageError, match="from 0 to 1; got 2"):
        text_entities(TEXTS, TextSettings(least_score=2))
    with pytest.raises(UsageError, match="can't be run"):
        text_entities(TEXTS, TextSettings(python=str(tmp_path / "python")))
    table = tmp_path / "rows.csv"
    table.write_text("body\nhello\n")
    with pytest.raises(DataError, match="no column `text`; it has body"):
        privacy(table, text="text")
    with pytest.raises(UsageError, match="--quasi"):
        privacy(table)


@pytest.mark.usefixtures("near")
def test_odd_and_long_texts_are_read() -> None:
    """Half a character or a million of them is no reason to look at no row."""
    long = "y " * 500_001 + "bob@example.com"
    found = text_entities(("a\ud800 ann@example.com", "\x00", long), TextSettings())
    assert found.rows == 3
    assert ("EMAIL_ADDRESS", 2) in [(kind.name, kind.rows) for kind in found.kinds]


@pytest.mark.usefixtures("near")
def test_a_row_that_a_pipeline_refuses_is_named_without_its_words(pipeline: str) -> None:
    """Pipelines have a limit of length; the row and its length are told, not that something is missing."""
    with pytest.raises(DataError, match=r"row 1 \(1,000,002 characters\)") as refused:
        text_entities(("fine", "secret" + "y" * 999_996), TextSettings(model=pipeline))
    assert "secret" not in str(refused.value)
