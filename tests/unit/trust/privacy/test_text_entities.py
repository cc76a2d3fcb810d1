"""What Presidio finds in texts: counts by recogniser, no text given away, nothing fetched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

NAMES = """
import spacy, sys
pipeline = spacy.blank("en")
ruler = pipeline.add_pipe("entity_ruler")
ruler.add_patterns([{"label": "PERSON", "pattern": "Alice"}])
pipeline.to_disk(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def _presidio() -> None:
    pytest.importorskip("presidio_analyzer", reason="presidio-analyzer is not installed")


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


def test_a_pipeline_finds_names(tmp_path: Path) -> None:
    """A spaCy pipeline on disk adds the recogniser of names, and is not looked for anywhere else."""
    folder = tmp_path / "pipeline"
    subprocess.run([sys.executable, "-c", NAMES, str(folder)], check=True)
    found = text_entities(TEXTS, TextSettings(model=str(folder)))
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
