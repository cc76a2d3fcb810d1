"""Writes docs/cpu-frontier.md: one table a model from each stored result, and the bar beneath."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
KINDS = {"avx2": "On a CPU without VNNI", "vnni": "On a CPU with AVX-512 and VNNI"}
"""Kinds of CPU with a stored result, by the end of its name, and what they are called."""

RATIO = "speed over the best peer that meets the margin"
CONTROLLED = "NNCF quantize with accuracy control"
CHOICE = "jettison"
OVERVIEW = (
    "| model | jettison's choice over the original | over the best peer within the margin | that peer "
    "| | lost |"
)
COLUMNS = "| row | ms a row, batch 1 | ms a row, batch 32 | speed | MB | peak MiB | lost on tested rows | CPU min |"

HEAD = """# The CPU frontier: beside every peer's own default
Written by `make docs` from `benchmarks/results/cpu_frontier-*.json`, one for each kind of CPU;
`make bench-cpu` measures that of the machine it runs on (hours; `python -m benchmarks.bench_cpu peers|choose|judge|rank|measure MODEL` does it in
pieces, and says what it needs).

Every peer is called through its own API in a few lines (`benchmarks/cpu/peers_*.py`), with default
arguments unless its name says more. All timed rows of a model were timed interleaved, in fresh processes,
at one thread; brackets are 95 % intervals over launches. *speed* is over the original, on ONNX
Runtime (scikit-learn for boosting), batches 1 and 32 weighted alike; in parentheses where one launch showed that a row is not
the best, which is no claim. *lost* is the drop seen, with the one-sided 95 % bound and the verdict
of jettison's own test at the margin; the margin was committed before the first run.
*CPU min* counts processor time until the file was there, children included; in parentheses as
multiples of one run of NNCF's accuracy control, where there was one.

The bar: on no model is the interval of jettison's speed over the best peer that meets the margin
wholly below 1 minus the noise floor.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for kind, title in KINDS.items():
        path = BENCHMARKS / "results" / f"cpu_frontier-{kind}.json"
        if path.exists():
            reading = BENCHMARKS / "cpu" / f"reading-{kind}.md"
            parts += _kind(title, json.loads(path.read_text()), reading.read_text())
    return "\n".join(parts).rstrip() + "\n"


def _kind(title: str, stored: Mapping[str, Any], reading: str) -> list[str]:
    """One machine: what a person says about the figures stands above the tables."""
    versions = ", ".join(f"{k} {v}" for k, v in sorted(stored["versions"].items()))
    machine = stored["machine"]
    rows = stored["rows"]
    parts = [
        f"## {title}",
        "",
        f"{stored['date']}. {machine['cpu']}, {machine['cores']} cores, "
        f"{', '.join(machine['features'])}; {versions}.",
        "",
        *stored["notes"],
        "",
        *_overview(rows),
        *_summary([row for row in rows if row["model"] == "all"]),
        reading,
    ]
    for model in dict.fromkeys(row["model"] for row in rows if row["model"] != "all"):
        parts += _model(model, [row for row in rows if row["model"] == model])
    return parts


def _overview(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each model that was timed: what a reader wants before all else."""
    lines = [OVERVIEW, "|---" * 6 + "|"]
    for row in rows:
        if row["metric"] != RATIO or row["method"] != CHOICE:
            continue
        near = [other for other in rows if other["model"] == row["model"]]
        own = {other["metric"]: other for other in near if other["method"] == CHOICE}
        floor = next(other for other in near if other["metric"] == "noise floor")
        best, _, verdict = row["note"].removeprefix("best: ").partition("; ")
        lost = own.get(next((name for name in own if name.startswith("drop of")), ""))
        cells = (
            row["model"],
            _value(own.get("latency_ms:gain"), 2),
            _value(row, 2),
            best,
            f"{verdict} (floor {floor['value']:.1%})",
            _lost(lost) or "speed only",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        line
        for row in rows
        for line in (f"**{row['metric']}: {row['value']:.3f}** ({row['n']}; {row['note']}).", "")
    ]


def _model(model: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != "a/a"))
    lines = [f"### {model}", "", COLUMNS, "|---" * 8 + "|"]
    failed: list[str] = []
    fronts: list[str] = []
    once = next(
        (
            row["value"]
            for row in rows
            if row["method"] == CONTROLLED and row["metric"].startswith("CPU minutes")
        ),
        None,
    )
    for method in methods:
        own = {row["metric"]: row for row in rows if row["method"] == method}
        if "speed and loss" in own:
            fronts.append(f"- {method}: {own['speed and loss']['note']}")
            continue
        if "built" in own:
            failed.append(f"- {method}: not built. {own['built']['note']}")
            continue
        lines.append(_line(method, own, once))
    lines.append("")
    for row in rows:
        if row["metric"].startswith(RATIO):
            where = row["metric"].removeprefix(RATIO)
            lines.append(f"- {row['method']}{where}: {_value(row, 3)}; {row['note']}")
        if row["metric"] == "noise floor":
            lines.append(f"- noise floor {row['value']:.1%}, {row['n']} launches; {row['note']}")
    notes = [
        f"- {row['method']}: {row['note']}"
        for row in rows
        if row["metric"].startswith("CPU minutes") and row["note"]
    ]
    return [*lines, *fronts, *notes, *failed, ""]


def _line(method: str, own: Mapping[str, Mapping[str, Any]], once: float | None) -> str:
    speed = _value(own.get("latency_ms:gain"), 2)
    if not speed and (ranked := own.get("speed over the original (one launch)")):
        speed = f"({ranked['value']:.2f})"
    lost = next((row for name, row in own.items() if name.startswith("drop of")), None)
    told = _lost(lost)
    peak = own.get("peak_memory_bytes")
    minutes = own["CPU minutes to get there"]["value"]
    multiples = f" ({minutes / once:.1f}x)" if once and minutes > 0 else ""
    cells = (
        method,
        _value(own.get("latency_ms batch=1"), 3),
        _value(own.get("latency_ms batch=32"), 2),
        speed,
        f"{own['size_bytes']['value'] / 1e6:.2f}" if "size_bytes" in own else "",
        f"{peak['value'] / 2**20:.0f}" if peak else "",
        told,
        f"{minutes:.1f}{multiples}",
    )
    return f"| {' | '.join(cells)} |"


def _lost(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    bound = "" if row["high"] is None else f", at most {row['high']:.4f}"
    return f"{row['value']:+.4f}{bound}: {row['note'].split()[0]}"


def _value(row: Mapping[str, Any] | None, digits: int) -> str:
    if row is None or row["value"] is None:
        return ""
    text = f"{row['value']:.{digits}f}"
    if row["low"] is not None and row["high"] is not None:
        text += f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return re.sub(r"\s+", " ", text) + (" noisy" if row["note"] == "noisy" else "")
