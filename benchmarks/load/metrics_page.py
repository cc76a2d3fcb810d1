"""Reads a Prometheus text page: the server's own count beside the client's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.load.connection import Address, ask, connect, get
from benchmarks.load.loops import close_all, run

LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str) -> list[Sample]:
    """Reads the series of a page; comments are left out.

    >>> [s] = parse('a_total{code="200"} 3.0')
    >>> s.name, s.labels["code"], s.value
    ('a_total', '200', 3.0)
    """
    found = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            labels = dict(LABEL.findall(match["labels"] or ""))
            found.append(Sample(match["name"], labels, float(match["value"])))
    return found


def scrape(address: Address, path: str = "/metrics") -> list[Sample]:
    """Asks a server for its metrics.

    Raises:
        OSError: if nobody listens.
        ValueError: if it does not answer with 200.
    """
    return run(_scrape(address, path))


async def _scrape(address: Address, path: str) -> list[Sample]:
    connection = await connect(address)
    try:
        reply = await ask(connection, get(path))
    finally:
        await close_all([connection])
    if reply.status != 200:
        raise ValueError(f"{path} of port {address.port} answered with status {reply.status}")
    return parse(reply.body.decode())


def by_label(samples: list[Sample], name: str, label: str) -> dict[str, float]:
    """Sums a metric by one label."""
    found: dict[str, float] = {}
    for one in samples:
        if one.name == name:
            key = one.labels.get(label, "")
            found[key] = found.get(key, 0.0) + one.value
    return found
