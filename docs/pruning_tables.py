"""Fills the tables of pruning.md from stored results: between `<!-- table: ... -->` marks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
IMAGES = 100
"""An n from here on counts test images and not seeds."""

MARK = re.compile(
    r"(<!-- table: (?P<name>[a-z0-9-]+) (?P<metric>\w+) -->\n).*?(<!-- end -->)", re.S
)


def fill(page: str) -> str:
    """The page with every marked table made anew."""
    return MARK.sub(
        lambda found: found[1] + _table(found["name"], found["metric"]) + found[4], page
    )


def _table(name: str, metric: str) -> str:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return "Not measured yet.\n"
    rows = [row for row in json.loads(path.read_text())["rows"] if row["metric"] == metric]
    cells: dict[float, dict[str, str]] = {}
    for row in rows:
        found = re.search(r", sparsity ([\d.]+)$", row["model"])
        if found:
            cells.setdefault(float(found[1]), {})[row["method"]] = _cell(row)
    methods = list(dict.fromkeys(m for by_method in cells.values() for m in by_method))
    unit = rows[0]["unit"] if rows else ""
    lines = [f"| sparsity | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for sparsity, by_method in sorted(cells.items()):
        told = " | ".join(by_method.get(method, "–") for method in methods)
        lines.append(f"| {sparsity:g} | {told} |")
    return "\n".join(lines) + f"\n\nIn {unit}; {_counts(rows)}.\n"


def _cell(row: Mapping[str, Any]) -> str:
    low, high = row["low"], row["high"]
    text = f"{row['value']:.2f}"
    if low is not None and high is not None:
        text += f" ±{(high - low) / 2:.2f}"
    found = re.search(r"published (?:drop )?(-?[\d.]+)", row["note"])
    return f"{text} ({found[1]})" if found else text


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted({row["n"] for row in rows if row["low"] is not None})
    if not seeds:
        return "one run each; in parentheses the published figure as recalled"
    if seeds[0] >= IMAGES:
        return (
            f"one seed, {seeds[0]:,} test images, ± half of the interval over images at 95 %; in "
            "parentheses the published drop, of other data"
        )
    told = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"{told} seeds, ± the interval of the mean at 95 %; in parentheses the published figure as "
        "recalled from the paper"
    )
