"""Reads the report of garak (`*.report.jsonl`) as a table of attacks.

Each entry of type `attempt` with status 2 (answered and judged) gives one row an answer: the prompt's
turns, the probe as category, and the highest score of the detectors that judged this answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.extension_points import Example
from jettison.errors import DataError

ENDING = ".report.jsonl"
JUDGED = 2


def is_garak_report(path: Path) -> bool:
    """Whether a file is called as garak calls its reports."""
    return path.name.endswith(ENDING)


def garak_table(path: Path) -> Example:
    """Gives the columns `prompt`, `category` and `outcome` of a report.

    Raises:
        DataError: if the file can't be read, or holds no judged attempt.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    rows: list[tuple[str, str, float]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows += _judged(json.loads(line)) if line.strip() else ()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"line {number} of {path} is no entry of a report of garak: {error}"
            ) from error
    if not rows:
        raise DataError(
            f"{path} holds no attempt that was answered and judged (status {JUDGED}): let garak finish"
        )
    prompts, categories, outcomes = zip(*rows, strict=True)
    columns = {
        "prompt": np.array(prompts, dtype=object),
        "category": np.array(categories, dtype=object),
        "outcome": np.array(outcomes),
    }
    return Example(columns, len(rows))


def _judged(entry: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """A row for each answer; an answer that no detector could judge gives none."""
    if entry.get("entry_type") != "attempt" or entry.get("status") != JUDGED:
        return
    text, probe = _text(entry["prompt"]), str(entry["probe_classname"])
    for scores in zip(*entry["detector_results"].values(), strict=True):
        known = [float(score) for score in scores if score is not None]
        if known:
            yield text, probe, max(known)


def _text(prompt: Any) -> str:
    """What was said to the model: a text in old reports, a conversation in new ones."""
    if isinstance(prompt, str):
        return prompt
    if "turns" not in prompt:
        return str(prompt["text"])
    return "\n".join(str(turn["content"]["text"]) for turn in prompt["turns"])
