"""The form of a stored result: machine, versions, date, and rows that never lack n or interval."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jettison.domain.files import write_atomically
from jettison.domain.record import to_plain
from jettison.machine import describe_device

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One number: `low` and `high` are `None` where it is exact or has no interval."""

    model: str
    method: str
    metric: str
    value: float | str | None
    low: float | None
    high: float | None
    unit: str
    n: int
    note: str = ""


def stored_rows(name: str) -> list[Row]:
    """The rows of `results/<name>.json`; none where there is no such result."""
    path = RESULTS / f"{name}.json"
    stored = json.loads(path.read_text())["rows"] if path.exists() else []
    return [Row(**row) for row in stored]


def write(name: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> Path:
    """Writes `results/<name>.json`, replacing an older one."""
    device = describe_device()
    machine = to_plain(device)
    versions = machine.pop("versions")
    content = {
        "machine": machine,
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "notes": list(notes),
        "rows": [asdict(row) for row in rows],
    }
    path = RESULTS / f"{name}.json"
    RESULTS.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")
    return path
