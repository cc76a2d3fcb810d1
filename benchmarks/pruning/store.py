"""Writes a result here, or on a lent machine into `$OUT`, which is copied here afterwards."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import scipy
import torch

from benchmarks.results_file import Row, write


def keep(name: str, rows: Sequence[Row], notes: Sequence[str], device: str) -> Path:
    """Stores rows; on an accelerator the machine is told by its name."""
    folder = os.environ.get("OUT")
    if device == "cpu" and not folder:
        return write(name, rows, notes)
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
    }
    path = Path(folder or ".") / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")
    return path
