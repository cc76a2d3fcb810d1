"""Sends graphs that nobody here wrote through load, profile, advise and int8.

    python -m benchmarks.foreign_graphs [FOLDER OF UNPACKED WHEELS] [--only WORD] [--again]

`--again` takes up the stored result, and tries only the graphs that ended in a fault.

The graphs: see `benchmarks/foreign/sources.py`. Each runs in a child process with a limit of time
and memory (its workers inherit it); a child takes a batch of graphs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from benchmarks.foreign.sources import FREED, Graph, from_onnx, from_wheels
from benchmarks.foreign.trying import Ending, try_out
from benchmarks.results_file import RESULTS, Row, write

BATCH = 8
SECONDS = {"onnx": 300, "": 600}
"""Wall time, on a machine with much other work."""

MEMORY_BYTES = 4 << 30
"""Of data that a process may hold; a worker beyond it is refused the memory."""

METRIC = "ending"
TOLD = (
    "2026-11-30: tried over an hour in which the package changed; graphs that ended in a fault and the "
    "spectrogram were tried again at the end. 2026-12-01: those of which the prediction can't be told, and "
    "those with operators that the runtime has no more, and silero-vad were tried again. A sentence about the "
    "others may be of the version before."
)
"""What a reader of the stored run must know; replace it with the next run."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("wheels", nargs="?", type=Path, default=Path("/tmp/foreign/x"))
    parser.add_argument("--only", default="", help="parts of package/graph, with commas")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--again",
        action="store_true",
        help="keep the stored run but for the graphs of --only, or else those that ended in a fault",
    )
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child))
        return
    graphs = [*from_wheels(options.wheels), *from_onnx()]
    graphs += [Graph(g.package, g.name, g.path, FREED) for g in graphs if g.package == "onnx"]
    parts = options.only.split(",")
    graphs = [g for g in graphs if any(part in f"{g.package}/{g.name}" for part in parts)]
    before = stored() if options.again else []
    if options.again:
        faulty = {(e.package, e.graph, e.form) for e in before if e.end == "fault"}
        graphs = [g for g in graphs if options.only or (g.package, g.name, g.form) in faulty]
        tried = {(g.package, g.name, g.form) for g in graphs}
        before = [e for e in before if (e.package, e.graph, e.form) not in tried]
    batches = [graphs[i : i + BATCH] for i in range(0, len(graphs), BATCH)]
    with ThreadPoolExecutor(options.jobs) as pool:
        endings = [*before, *(e for found in pool.map(in_child, batches) for e in found)]
    endings.sort(key=lambda e: e.package == "onnx")
    for ending in endings:
        if ending.end == "fault":
            print(f"{ending.package}/{ending.graph} {ending.form} {ending.stage}: {ending.said}")
    if options.again or not options.only:
        write(
            "foreign_graphs",
            rows_of(endings),
            [f"Limits: {SECONDS} s, {MEMORY_BYTES} bytes.", TOLD],
        )
    else:
        for ending in endings:
            print(ending)


def in_child(graphs: Sequence[Graph]) -> list[Ending]:
    """Tries a batch in a child; what the child did not live to try is a fault."""
    with tempfile.TemporaryDirectory(prefix="foreign-batch-") as folder:
        place = Path(folder)
        (place / "graphs.json").write_text(json.dumps([asdict(g) for g in graphs]))
        command = [sys.executable, "-m", "benchmarks.foreign_graphs", "--child", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = place / "endings.jsonl"
        found = lines.read_text().splitlines() if lines.exists() else []
        endings = [Ending(**json.loads(line)) for line in found]
        if done.returncode:
            said = (done.stderr or "nothing").strip()[-300:]
            g = graphs[0]
            endings.append(Ending(g.package, g.name, g.form, "child", "fault", said, 0.0))
    print(f"{graphs[0].package} {graphs[0].name} ...: {len(endings)} endings", flush=True)
    return endings


def child(place: Path) -> None:
    """Tries the graphs of `graphs.json`, a line of `endings.jsonl` for each stage."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    graphs = [Graph(**g) for g in json.loads((place / "graphs.json").read_text())]
    with open(place / "endings.jsonl", "a", encoding="utf-8") as out:
        for graph in graphs:
            seconds = SECONDS.get(graph.package, SECONDS[""])
            for ending in try_out(graph, seconds, whole=graph.package != "onnx"):
                out.write(json.dumps(asdict(ending)) + "\n")
            out.flush()


def stored() -> list[Ending]:
    """The endings of the stored result."""
    rows = json.loads((RESULTS / "foreign_graphs.json").read_text())["rows"]
    found = []
    for row in rows:
        package, _, graph = row["model"].partition("/")
        stage = row["method"].removesuffix(f", {FREED}")
        form = FREED if stage != row["method"] else ""
        found.append(Ending(package, graph, form, stage, row["value"], row["note"], 0.0))
    return found


def rows_of(endings: Sequence[Ending]) -> list[Row]:
    return [
        Row(
            f"{e.package}/{e.graph}",
            f"{e.stage}{', ' * bool(e.form)}{e.form}",
            METRIC,
            e.end,
            None,
            None,
            "",
            1,
            e.said,
        )
        for e in endings
    ]


if __name__ == "__main__":
    main()
