"""From turns to stored rows: medians over rounds, ratios within rounds, nothing left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.load.ratios import bootstrap_median, ratio
from benchmarks.load.recording import Load, percentile, samples_needed
from benchmarks.results_file import Row
from benchmarks.served.rounds import Field, Turn
from jettison.statistics.intervals import Interval

SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
NOISY_SHARE = 0.25


def arm_rows(title: str, turns: Sequence[Turn]) -> list[Row]:
    """CPU per request, throughput and closed-loop latency of each arm."""
    rows: list[Row] = []
    for name, own in by_arm(turns).items():
        note = _note(own)
        cpu = bootstrap_median([t.cpu_ms for t in own])
        rate = bootstrap_median([t.per_second for t in own])
        rows.append(_row(title, name, "CPU per request", cpu, "ms", note))
        rows.append(_row(title, name, "answers per second", rate, "1/s", note))
        if sum(len(t.latency) for t in own) > len(own):
            rows += _latency_rows(title, name, own)
    return rows


def _latency_rows(title: str, name: str, turns: Sequence[Turn]) -> list[Row]:
    latency = np.concatenate([t.latency for t in turns]) * 1e3
    rows = []
    for label, share in SHARES.items():
        found = percentile(latency, share)
        metric = f"{label}, closed loop"
        if found is None:
            note = f"{latency.size} answers; {samples_needed(share):,} are needed"
            rows.append(Row(title, name, metric, None, None, None, "ms", latency.size, note))
        else:
            rows.append(_row(title, name, metric, found, "ms", ""))
    return rows


def ratio_rows(
    title: str, turns: Sequence[Turn], references: Mapping[str, Sequence[str]]
) -> list[Row]:
    """Ratios to other arms in the same rounds: above 1, the arm is better than the reference.

    Args:
        title: of the case.
        turns: of all arms.
        references: arm -> names of the arms that it is divided by.
    """
    arms = by_arm(turns)
    rows: list[Row] = []
    for name, others in references.items():
        for other in others:
            if name not in arms or other not in arms or name == other:
                continue
            own, against = arms[name], arms[other]
            cpu = ratio([t.cpu_ms for t in against], [t.cpu_ms for t in own])
            rate = ratio([t.per_second for t in own], [t.per_second for t in against])
            note = _note((*own, *against))
            rows.append(_row(title, name, f"CPU of {other} / its own", cpu, "ratio", note))
            rows.append(_row(title, name, f"answers/s / those of {other}", rate, "ratio", note))
    return rows


def server_rows(title: str, field: Field) -> list[Row]:
    """Start, idle use and memory of each server."""
    rows: list[Row] = []
    load = field.raw.load_seconds
    for name, server in field.servers.items():
        if any(arm.server == name and arm.read is None for arm in field.arms):
            continue  # it has no model
        over = server.ready_seconds - load
        memory = server.tree.memory()
        rows += [
            Row(title, name, "start to ready over model load", over, None, None, "s", 1),
            Row(title, name, "CPU while idle", server.idle_percent, None, None, "% of a core", 1),
            Row(
                title,
                name,
                "memory of all its processes (PSS)",
                memory.pss_bytes / 2**20,
                None,
                None,
                "MiB",
                1,
                f"{memory.processes} processes; sum of RSS {memory.rss_bytes / 2**20:.0f} MiB",
            ),
        ]
    rows.append(Row(title, "raw, in process", "model load", load, None, None, "s", 1))
    return rows


def open_rows(
    title: str, name: str, loads: Sequence[Load], rate: float, batch_ms: float
) -> list[Row]:
    """Latency of an open loop; void where the generator was late.

    Args:
        title, name: of the case and of the arm.
        loads: runs of the open loop, pooled.
        rate: offered, per second.
        batch_ms: time of one full batch without a server.
    """
    latency = np.concatenate([load.latency for load in loads]) * 1e3
    lateness = np.concatenate([load.lateness for load in loads]) * 1e3
    refused = sum(int((~load.accepted).sum()) for load in loads)
    flags = {flag for load in loads for flag in load.flags()}
    late = float(np.quantile(lateness, 0.99))
    note = f"generator late by {late:.2f} ms (p99); {refused} not answered with 200"
    if flags:
        note = "; ".join((*sorted(flags), note))
    rows = []
    for label, share in SHARES.items():
        metric = f"{label}, open loop at {rate:.0f}/s"
        found = None if flags else percentile(latency, share)
        if found is None:
            rows.append(Row(title, name, metric, None, None, None, "ms", latency.size, note))
            continue
        rows.append(_row(title, name, metric, found, "ms", note))
        if label == "p99":
            over = Interval(
                found.value / batch_ms, found.low / batch_ms, found.high / batch_ms, found.n
            )
            rows.append(_row(title, name, "p99, open loop / one full batch", over, "ratio", note))
    return rows


def missing_row(title: str, name: str, reason: str) -> Row:
    """A peer that could not take part."""
    return Row(title, name, "CPU per request", None, None, None, "ms", 0, reason)


def by_arm(turns: Sequence[Turn]) -> dict[str, list[Turn]]:
    """Turns of each arm, in the order of rounds."""
    found: dict[str, list[Turn]] = {}
    for turn in turns:
        found.setdefault(turn.arm, []).append(turn)
    return {name: sorted(own, key=lambda t: t.number) for name, own in sorted(found.items())}


def _note(turns: Sequence[Turn]) -> str:
    parts = []
    busy = sum(t.busy for t in turns)
    if busy:
        noisy = "noisy: " if busy > NOISY_SHARE * len(turns) else ""
        parts.append(f"{noisy}others used the machine in {busy} of {len(turns)} turns")
    failed = sum(t.failed for t in turns)
    if failed:
        parts.append(f"{failed} requests were not answered with 200")
    return "; ".join(parts)


def _row(title: str, name: str, metric: str, found: Interval, unit: str, note: str) -> Row:
    low = found.low if np.isfinite(found.low) else None
    high = found.high if np.isfinite(found.high) else None
    return Row(title, name, metric, found.value, low, high, unit, found.n, note)
