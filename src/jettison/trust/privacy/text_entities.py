"""What looks personal in a column of texts, by the recognisers of Presidio in a worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jettison.errors import DataError, MissingDependency, UsageError
from jettison.trust.other_python import ask
from jettison.trust.privacy import presidio_worker

LEAST_SCORE = 0.4
"""Findings below are left out: Presidio gives digits without a word beside them 0.01 to 0.3."""


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How texts are read.

    Attributes:
        language: code of the language, such as `en`.
        model: name or folder of an installed spaCy pipeline; empty for patterns alone.
        least_score: Presidio's score, 0 to 1.
        python: interpreter that has presidio-analyzer; empty for this one.
    """

    language: str = "en"
    model: str = ""
    least_score: float = LEAST_SCORE
    python: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entity as one recogniser found it.

    Attributes:
        name: such as `EMAIL_ADDRESS`.
        recogniser: that found it.
        rows: that hold at least one.
        places: findings in all rows.
    """

    name: str
    recogniser: str
    rows: int
    places: int


@dataclass(frozen=True, slots=True)
class TextEntities:
    """What was found; no text and no part of one.

    Attributes:
        rows: that were read.
        personal: rows with at least one finding.
        kinds: by name.
        recognisers: all that looked.
        possible: kinds that they could have found.
    """

    rows: int
    personal: int
    kinds: tuple[Kind, ...]
    recognisers: tuple[str, ...]
    possible: tuple[str, ...]

    @property
    def knows_names(self) -> bool:
        """Whether a language model looked for names and places; patterns alone can't."""
        return presidio_worker.NAMES in self.recognisers


def text_entities(texts: Iterable[object], settings: TextSettings) -> TextEntities:
    """Counts kinds of personal data in texts.

    Args:
        texts: one a row; a missing value is an empty text.
        settings: language, pipeline and interpreter.

    Raises:
        DataError: if there are no texts, or one of them can't be read.
        UsageError: if the score is out of range or there is no such interpreter.
        MissingDependency: if presidio-analyzer or the spaCy pipeline is not there.
        WorkerDied: if the worker ended without an answer.
    """
    if not 0 <= settings.least_score <= 1:
        raise UsageError(f"the least score must be from 0 to 1; got {settings.least_score:g}")
    asked = {
        "language": settings.language,
        "model": settings.model,
        "least_score": settings.least_score,
    }
    rows = [{"text": _text(value)} for value in texts]
    if not rows:
        raise DataError("there are no texts to look at")
    told = ask(presidio_worker, [asked, *rows], settings.python)
    if "missing" in told:
        raise MissingDependency(
            f"texts can't be looked at: {told['missing']}. Presidio comes with pip install "
            "'jettison[text-privacy]' (or in an environment of its own, named by --text-python); a "
            "spaCy pipeline is installed beside it and named by --text-model. Nothing is fetched"
        )
    if "failed" in told:
        row, characters, reason = told["failed"]
        raise DataError(
            f"the text of row {row} ({characters:,} characters) can't be looked at: {reason}; a spaCy "
            "pipeline takes at most a million characters a row: split the row, or leave it out"
        )
    return TextEntities(
        told["rows"],
        told["personal"],
        tuple(Kind(*one) for one in told["found"]),
        tuple(told["recognisers"]),
        tuple(told["kinds"]),
    )


def _text(value: object) -> str:
    """Half a character of UTF-16, as JSON may hold it, is no text; a question mark stands for it."""
    told = "" if value is None or value != value else str(value)
    return told.encode("utf-8", "replace").decode()
