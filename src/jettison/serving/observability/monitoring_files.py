"""Writes what Prometheus and Grafana need to watch a server."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from string import Template

from jettison.domain.files import check_folder_place, write_atomically
from jettison.errors import UsageError
from jettison.serving.observability.dashboard import dashboard

RULES = "jettison.rules.yml"
SCRAPING = "prometheus.yml"
DASHBOARD = "jettison.dashboard.json"
TARGET = "127.0.0.1:8080"

_TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def write_monitoring(folder: Path, target: str = TARGET) -> tuple[Path, ...]:
    """Writes alert rules, an example for Prometheus, and the dashboard for Grafana.

    Args:
        folder: made where it is missing; files of the same names are replaced.
        target: host and port of the server, as Prometheus reaches it.

    Returns:
        What was written: rules, scraping, dashboard.

    Raises:
        UsageError: for a target that is not `host:port`, or a file in place of the folder.
    """
    if not _TARGET.fullmatch(target):
        raise UsageError(f"the target must be host:port, for example {TARGET}; got {target!r}")
    check_folder_place(folder, "what is written")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        RULES: _text(RULES),
        SCRAPING: Template(_text(SCRAPING)).substitute(target=target),
        DASHBOARD: json.dumps(dashboard(), indent=2) + "\n",
    }
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return tuple(folder / name for name in texts)


def _text(name: str) -> str:
    return (resources.files(__package__) / "files" / name).read_text(encoding="utf-8")
