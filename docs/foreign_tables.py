"""Writes docs/foreign-graphs.md from the stored result: counts, and every sentence of a refusal."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent.parent / "benchmarks" / "results" / "foreign_graphs.json"
FREED = ", batch freed"
FIRST = "profile and advise"
REFUSED_AT_FIRST = (f"{FIRST}, no task given", f"{FIRST}, no prediction named")
INT8 = ("int8_dynamic", "int8_static")

HEAD = """# Graphs that nobody here wrote
Written by `make docs` from `benchmarks/results/foreign_graphs.json`. Measured again by

    python -m benchmarks.foreign_graphs FOLDER_OF_UNPACKED_WHEELS

(`benchmarks/foreign/sources.py` says how to get the wheels; they are never installed, and no model
of theirs lies in this repository).

Each graph goes through load, profile and advise, and through both int8 techniques with made-up
rows, in processes with a limit of time and memory. It is *optimised* (the changed file was loaded
and run), *left alone* (a technique says beforehand that it can gain nothing), or *refused* with one
sentence. Anything else is a *fault*: a traceback, or a library's own words in place of a sentence.

The test graphs of the package `onnx` mostly take exactly k rows a call, which jettison refuses. So
that techniques see them as well, each of these goes through a second time with its first dimension
made free. Where the task can't be told from the outputs, the graph is taken as an embedding, and where
it is not clear which output is the prediction, the first one is named: as the refusals ask.

What this can't show: whether the answers are still good. Made-up rows tell nothing about quality.
"""


def page() -> str:
    """The whole page."""
    stored = json.loads(STORED.read_text())
    rows = stored["rows"]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(stored["versions"].items()))
    parts = [HEAD, f"{stored['date']}; {versions}. {' '.join(stored['notes'])}\n"]
    parts += ["## Counts", *_counts(rows), "", "## What was said", ""]
    for stage in (*REFUSED_AT_FIRST, FIRST, *INT8):
        parts += _sentences(rows, stage)
    faults = [row for row in rows if row["value"] == "fault"]
    parts += ["## Faults", "None." if not faults else ""]
    parts += [f"- `{row['model']}`, {row['method']}: {row['note']}" for row in faults]
    return "\n".join(parts).rstrip() + "\n"


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        method = row["method"].removesuffix(FREED)
        package = row["model"].split("/")[0] + (FREED if FREED in row["method"] else "")
        if method == FIRST:
            found[package]["graphs"] += 1
            found[package]["planned"] += row["value"] == "ok"
        for stage in INT8:
            found[package][stage] += method == stage and row["value"] == "ok"
            found[package][f"{stage} alone"] += method == stage and row["value"] == "refused"
        found[package]["faults"] += row["value"] == "fault"
    lines = [
        "| from | graphs | profiled and advised | refused | int8_dynamic made / left alone or "
        "refused | int8_static made / left alone or refused | faults |",
        "|---" * 7 + "|",
    ]
    for package, counts in found.items():
        refused = counts["graphs"] - counts["planned"]
        eights = " | ".join(f"{counts[s]} / {counts[f'{s} alone']}" for s in INT8)
        lines.append(
            f"| {package} | {counts['graphs']} | {counts['planned']} | {refused} | {eights} | "
            f"{counts['faults']} |"
        )
    return lines


def _sentences(rows: Sequence[Mapping[str, Any]], stage: str) -> list[str]:
    """Every sentence once, with the number of graphs that it was said of; names and numbers aside."""
    kinds: Counter[str] = Counter()
    example: dict[str, str] = {}
    for row in rows:
        if row["method"].removesuffix(FREED) != stage or row["value"] != "refused":
            continue
        kind = re.sub(r"[-\d.,]+", "n", re.sub(r"`[^`]*`", "`…`", row["note"]))
        kinds[kind] += 1
        example.setdefault(kind, " ".join(row["note"].split()).replace("|", "\\|"))
    if not kinds:
        return []
    lines = [f"### {stage}", "| graphs | sentence (of the first of them) |", "|---|---|"]
    lines += [f"| {count} | {example[kind]} |" for kind, count in kinds.most_common()]
    return [*lines, ""]
