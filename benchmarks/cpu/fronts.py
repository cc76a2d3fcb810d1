"""Speed against loss, whatever the margin: the peers' front beside that of jettison's search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.cpu.choosing import lost_on_selection
from benchmarks.cpu.records import State
from benchmarks.results_file import Row
from jettison.domain.measurement import OVERALL
from jettison.domain.record import from_json
from jettison.domain.run import GAIN, RunRecord

PEERS, OURS = "front of the peers", "front of jettison's search"
SPEED = "latency_ms" + GAIN


class Point(NamedTuple):
    """Times faster than the original, what was lost, and by what."""

    speed: float
    lost: float
    by: str

    def __str__(self) -> str:
        return f"{self.speed:.2f}x at {self.lost:+.4f} ({self.by})"


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in one and equals in the other, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.speed, p.lost)):
        if not found or point.lost < found[-1].lost:
            found.append(point)
    return found


def front_rows(state: State, title: str, model: str) -> Iterator[Row]:
    """Two rows with the fronts in words; none where nothing is judged."""
    if not state.judged:
        return
    for name, points in ((PEERS, _peers(state, title)), (OURS, _ours(state))):
        told = "; ".join(str(point) for point in front(points))
        yield Row(model, name, "speed and loss", None, None, None, "", len(points), told)


def _peers(state: State, title: str) -> list[Point]:
    claimed = state.claims.get(title)
    speeds = dict(state.ranking.get(title, {}))
    for name, costs in claimed.costs.items() if claimed is not None else ():
        for e in costs:
            if e.metric == SPEED and e.group == OVERALL and e.value is not None:
                speeds[name] = e.value
    return [
        Point(speeds[b.name], state.judged[b.name].drop, b.name)
        for b in state.built
        if b.owner != "jettison" and b.name in speeds and b.name in state.judged
    ]


def _ours(state: State) -> list[Point]:
    """Complete trials, by one launch and by the selection rows, as the search saw them."""
    path = Path(state.subject.folder) / "run" / "run.json"
    if not path.exists():
        return []
    record = from_json(RunRecord, path.read_bytes())
    found = []
    for trial in record.trials:
        speed = trial.ranking.get(SPEED) if trial.ranking is not None else None
        lost = lost_on_selection(record, trial)
        if trial.state == "complete" and speed is not None and speed.value and lost is not None:
            found.append(Point(speed.value, lost, f"trial {trial.number}"))
    return found
