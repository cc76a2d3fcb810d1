"""Writes the generated pages: configuration, results, claims. Run: make docs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs import cpu_tables, foreign_tables, pruning_tables
from jettison import config
from jettison.claims import showing
from jettison.claims.catalogue import Answer
from jettison.domain.device import Device
from jettison.domain.record import from_json

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"

HEAD = """# Measured results
Written by `make docs` from `benchmarks/results/*.json`; `make bench` measures the shorter ones again,
and each section names its own script. Losing
rows stay in. An interval in brackets is at 95 %; for a ratio of speeds it is over launches. *gain*
is original / candidate: above 1 is better. Rows marked *noisy* were measured while something else
used the machine, and support no claim.
"""
TITLES = {
    "magika": "Magika on the files of a Python installation",
    "minilm-embeddings": "MiniLM: sentence embeddings",
    "minilm-sst2": "MiniLM with a head: SST-2",
    "adult": "Forests on Adult, single rows",
    "int8_methods": "Ways to static int8",
    "sparse_speed": "Where zeros pay",
    "torch_exporters": "Two exporters from PyTorch to ONNX",
    "pruning-mlpnet": "Pruning MLPNet on MNIST",
    "pruning-mlpnet-memory": "The memory of a run on MLPNet",
    "pruning-resnet20": "Pruning ResNet-20 on CIFAR-10 as JPEG",
    "semi_structured": "2:4 weights on a GPU",
    "semi_structured-rows_first": "2:4 weights on a GPU: how products are laid out",
    "torch_cuda-resnet20": "The whole tool on a GPU: ResNet-20",
    "torch_cuda-digits": "The whole tool on a GPU: a wide network for digits, dense and 2:4",
    "pruning-resnet20-cpu": "Pruning ResNet-20, the part that runs on a CPU",
    "pruning-solver": "The solver of CHITA: time and memory",
    "pruning_language-minilm": "Masks on MiniLM: STS-B",
    "pruning_language-smollm2": "Masks on SmolLM2-135M, published in 4 bits: perplexity of WikiText-2",
    "obs_spans": "Over how many columns a mask is chosen at once",
    "recovery_targets": "What a masked model learns from",
    "structured_resnet": "Narrower ResNets",
    "structured_resnet_latency": "How fast narrower ResNets are",
    "memory": "Memory on a model of 268 MB",
    "startup": "Start-up",
    "trial_shares": "Where the time of a search goes",
    "certification": "Error rates and power of the certificate",
    "certification-looks": "F1, AUC, word error rate at the margin; lives of many looks",
    "serving": "The server beside its peers",
    "protocol_cost": "What each layer of the server costs",
    "soak": "The server at twice its capacity",
    "loadgen_check": "Our load generator beside MLPerf LoadGen",
    "energy_h100": "The energy counter of an H100, read by jettison's meter",
    "batcher_overhead": "What the batcher costs",
    "quality_watch": "Watching quality: false alarms and delays",
    "assess": "Assessment by group on four data sets",
    "assess_speed": "How long an assessment takes",
    "mitigation": "Mitigation beside fairlearn's own",
    "calibration_passes": "Time to find activation ranges",
    "near_duplicates": "Near-duplicates that are told",
    "machine_rates": "What this machine reaches",
    "torch_cpu": "PyTorch in 8 and 4 bits and compiled, beside ONNX Runtime",
    "shown_runs": "Certified runs by group and in contexts",
}

OWN_PAGES = frozenset({"claims", "cpu_frontier-avx2", "cpu_frontier-vnni", "foreign_graphs"})
"""Stored results that have a page of their own."""

SCRIPTS = {
    "semi_structured": "semi_structured_h200",
    "pruning-resnet20": "pruning_resnet20_h100",
    "pruning-resnet20-cpu": "pruning_resnet20",
}
"""Stored results whose script bears another name."""


def results_page() -> str:
    """The page of all stored results, in a fixed order."""
    parts = [HEAD]
    for name, title in TITLES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts.append(section(title, name, json.loads(path.read_text())))
    return "\n".join(parts)


def claims_page() -> str:
    """What is commonly said, and what was measured of it."""
    stored = json.loads((RESULTS / "claims.json").read_text())
    answers = [from_json(Answer, json.dumps(answer)) for answer in stored["answers"]]
    device = from_json(Device, json.dumps(stored["device"]))
    apart = {
        name: (from_json(Device, json.dumps(there["device"])), there["date"])
        for name, there in stored.get("apart", {}).items()
    }
    return showing.page(answers, device, stored["date"], apart)


def section(title: str, name: str, stored: Mapping[str, Any]) -> str:
    """One stored result as a table."""
    machine = stored["machine"]
    words = machine if isinstance(machine, str) else _machine(machine)
    versions = ", ".join(f"{k} {v}" for k, v in sorted(stored["versions"].items()))
    lines = [f"\n## {title}", f"`python -m benchmarks.{script(name)}`, {stored['date']}."]
    lines.append(f"{words}; {versions}.")
    lines += [str(note) for note in stored.get("notes", ())]
    by_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in stored["rows"]:
        by_model[str(row["model"])].append(row)
    for model, rows in by_model.items():
        lines += ["", f"**{model}**" if model != "-" else "", *table(rows)]
    return "\n".join(lines) + "\n"


def script(name: str) -> str:
    """The module that measures a stored result: the longest beginning of its name that is one."""
    if name in SCRIPTS:
        return SCRIPTS[name]
    parts = name.split("-")
    for count in range(len(parts), 0, -1):
        near = sorted(RESULTS.parent.glob(f"{'_'.join(parts[:count])}*.py"))
        if near:
            return near[0].stem
    return name


def _machine(machine: Mapping[str, Any]) -> str:
    features = ", ".join(machine.get("features", ()))
    memory = machine.get("memory_bytes", 0) / 2**30
    return (
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {features or 'no known features'}, "
        f"{memory:.0f} GiB"
    )


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as a Markdown table."""
    lines = ["| method | metric | value | n | note |", "|---|---|---|---|---|"]
    for row in rows:
        note = str(row.get("note") or row.get("reference") or "").replace("|", "\\|")
        note = note.replace("\n", " ")[:400]
        lines.append(f"| {row['method']} | {row['metric']} | {value(row)} | {row['n']} | {note} |")
    return lines


def value(row: Mapping[str, Any]) -> str:
    """A number with its interval and unit."""
    if row["value"] is None:
        return "–"
    if not isinstance(row["value"], int | float):
        return str(row["value"])
    text = f"{row['value']:.4g}"
    low, high = row.get("low"), row.get("high")
    if low is not None and high is not None:
        text += f" [{low:.4g}, {high:.4g}]"
    elif high is not None:
        text += f" [at most {high:.4g}]"
    unit = str(row.get("unit") or "")
    return text if unit in ("", "ratio", "fraction") else f"{text} {unit}"


def main() -> None:
    """Writes all of them."""
    (DOCS / "configuration.md").write_text(config.render_reference())
    (DOCS / "results.md").write_text(results_page())
    (DOCS / "claims.md").write_text(claims_page())
    if foreign_tables.STORED.exists():
        (DOCS / "foreign-graphs.md").write_text(foreign_tables.page())
    (DOCS / "cpu-frontier.md").write_text(cpu_tables.page())
    pruning = DOCS / "pruning.md"
    pruning.write_text(pruning_tables.fill(pruning.read_text()))
    print("wrote docs/configuration.md and docs/results.md, and the tables of docs/pruning.md")


if __name__ == "__main__":
    main()
