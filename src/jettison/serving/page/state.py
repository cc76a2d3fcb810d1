"""What the page shows: the live numbers, and the facts of one version."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jettison.serving.observability.series import Series
from jettison.serving.page.card import card_html
from jettison.serving.page.quality import quality
from jettison.serving.page.trying import example

if TYPE_CHECKING:
    from jettison.serving.observability import Observability
    from jettison.serving.repository import Repository
    from jettison.serving.versions import ServedVersion

FEWEST_FOR_MEDIAN = 20
FEWEST_FOR_P95 = 200
"""A percentile needs 10 values beyond it to mean something."""


def live(repository: Repository, watch: Observability) -> dict[str, Any]:
    """Counts since the start, from which the page makes rates, and what is so right now."""
    numbers = {(one.model, one.version): one for one in watch.series}
    known = quality(repository.readings())
    models: list[dict[str, Any]] = []
    for name in repository.names():
        # Requests that were refused before a version was chosen stand with the first.
        early = numbers.get((name, ""))
        for version in repository.versions(name):
            key = (name, version.version)
            shown = _version(version, numbers.get(key), early)
            models.append(shown | {"quality": known.get(key, {})})
            early = None
    return {
        "at": time.monotonic(),
        "ready": repository.ready(),
        "in_flight": watch.in_flight,
        "models": models,
    }


def _version(version: ServedVersion, own: Series | None, early: Series | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": version.name,
        "version": version.version,
        "certified": version.certified,
        "label": version.label,
        "queue_rows_limit": version.policy.max_queue_rows,
        "batch_rows_limit": version.policy.max_batch_rows,
    }
    both = [one for one in (own, early) if one is not None]
    shown["requests"] = _summed([one.by_code() for one in both])
    shown["rejected"] = _summed([one.rejections for one in both])
    if own is not None:
        shown["queue_rows"] = own.waiting_rows
        shown["batches"] = own.batch_rows.n
        shown["batch_rows"] = own.batch_rows.total
        shown["latency"] = latency(own.recent)
    return shown


def latency(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Percentiles of the last answers, each only where there are enough of them.

    >>> latency([])
    {'n': 0, 'p50': None, 'p95': None}
    """
    ordered = sorted(seconds)
    n = len(ordered)
    return {
        "n": n,
        "p50": ordered[n // 2] if n >= FEWEST_FOR_MEDIAN else None,
        "p95": ordered[int(0.95 * n)] if n >= FEWEST_FOR_P95 else None,
    }


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for one in counts for name in one})
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


def facts(version: ServedVersion) -> dict[str, Any]:
    """What stays as it is while a version is served: its certificate, its card, how to try it."""
    threads = version.serving.threads
    summary = (
        f"version {version.version}, {version.runtime}, threads: {threads}, "
        f"up to {version.policy.max_batch_rows} rows in a batch"
    )
    lines = {"bundle": version.digest}
    subject = version.certificate.subject
    if subject is not None:
        lines["certified for"] = (
            f"{subject.cpu_class}; {subject.runtime}; threads: {subject.threads}; "
            f"{subject.batch_policy}"
        )
    return {
        "name": version.name,
        "version": version.version,
        "notes": list(version.notes),
        "summary": summary,
        "facts": lines,
        "try": example(version.model),
        "card": card_html(version.card),
    }
