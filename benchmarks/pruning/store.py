"""Writes a result here, or on a lent machine into `$OUT`, which is copied here afterwards."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import scipy
import torch

from benchmarks.pruning.pool import Runs
from benchmarks.pruning.runs import Outcome
from benchmarks.results_file import RESULTS, Row, write


def known(name: str) -> Runs:
    """The runs that a stored result was made from; none where there is no result."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return {}
    stored = json.loads(path.read_text()).get("runs", {})
    return {key: Outcome(*values) for key, values in stored.items()}


def keep(name: str, rows: Sequence[Row], notes: Sequence[str], device: str, runs: Runs) -> Path:
    """Stores rows and the runs behind them; an accelerator is told by its name."""
    told = {key: list(astuple(outcome)) for key, outcome in runs.items()}
    folder = os.environ.get("OUT")
    if device == "cpu" and not folder:
        path = write(name, rows, notes)
        path.write_text(json.dumps({**json.loads(path.read_text()), "runs": told}, indent=1) + "\n")
        return path
    machine = torch.cuda.get_device_name(0) if device.startswith("cuda") else platform.processor()
    content = {
        "machine": f"{machine}, lent by the hour",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "notes": list(notes),
        "rows": [asdict(row) for row in rows],
        "runs": told,
    }
    path = Path(folder or ".") / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")
    return path
