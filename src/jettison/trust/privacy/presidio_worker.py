"""Counts what looks personal in texts with Microsoft Presidio: a program of its own.

Run as a file by the Python that has `presidio-analyzer`, which may be that of another environment,
so it imports nothing of jettison. One JSON object a line comes in on the standard input: first the
settings (`language`, `model`, `least_score`), then `{"text": ...}` for each row. One JSON object goes
out: kinds by recogniser with rows and places, and the words of no text.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import IO, Any

# The e-mail recogniser asks the network for the list of public suffixes, unless told that there is
# nowhere to ask; the list that lies in the package is used then.
os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""

NAMES = "SpacyRecognizer"
"""The recogniser that reads what a language model found; it needs a model."""


def analyzer(language: str, model: str) -> Any:
    """An analyzer that fetches nothing: pattern recognisers, and names where there is a model.

    Raises:
        OSError: if spaCy finds no such model.
    """
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": model or "blank"}])
    # `load` would fetch a missing model; so the pipeline is put in by hand.
    pipeline: Any = engine
    reader = spacy.load(model) if model else spacy.blank(language)
    if not model:
        # The limit is there for the memory of parsers and taggers, and a blank pipeline has none.
        reader.max_length = sys.maxsize
    pipeline.nlp = {language: reader}
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    if not model:
        registry.remove_recognizer(NAMES)
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


def count(lines: IO[str]) -> dict[str, object]:
    """Reads settings and texts; gives the counts, or which row could not be read."""
    asked = json.loads(next(lines))
    engine = analyzer(asked["language"], asked["model"])
    places: Counter[tuple[str, str]] = Counter()
    rows: Counter[tuple[str, str]] = Counter()
    personal = read = 0
    for line in lines:
        text = json.loads(line)["text"]
        try:
            found = engine.analyze(
                text=text, language=asked["language"], score_threshold=asked["least_score"]
            )
        except Exception as error:  # noqa: BLE001 - the reason may quote the text, so only its kind is told
            return {"failed": [read, len(text), type(error).__name__]}
        read += 1
        kinds = [(one.entity_type, recogniser_of(one)) for one in found]
        places.update(kinds)
        rows.update(set(kinds))
        personal += bool(kinds)
    recognisers = sorted(r.name for r in engine.registry.recognizers)
    return {
        "rows": read,
        "personal": personal,
        "found": [[kind, who, rows[kind, who], places[kind, who]] for kind, who in sorted(places)],
        "recognisers": recognisers,
        "kinds": sorted(engine.get_supported_entities(asked["language"])),
    }


def recogniser_of(result: Any) -> str:
    """The recogniser that a result names."""
    known = result.recognition_metadata or {}
    return str(known.get("recognizer_name", "unknown"))


def main() -> int:
    """Counts, and writes either the counts or `{"missing": ...}` with what could not be had."""
    real, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    answer: dict[str, object]
    try:
        answer = count(sys.stdin)
    except (ImportError, OSError, ValueError) as error:
        answer = {"missing": " ".join(str(error).split())}
    print(json.dumps(answer), file=real)
    return 0


if __name__ == "__main__":
    sys.exit(main())
