"""What the monitors know about quality, put together for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jettison.serving.observability.detail import Reading

Versions = Mapping[tuple[str, str], dict[str, Any]]
_GAUGES = {
    "jettison_quality_margin_held": ("margins", "held"),
    "jettison_quality_margin_rows": ("margins", "rows"),
    "jettison_quality_agreement_ratio": ("agreement", "value"),
    "jettison_quality_agreement_ratio_low": ("agreement", "low"),
    "jettison_quality_agreement_ratio_high": ("agreement", "high"),
    "jettison_quality_agreement_rows": ("agreement", "rows"),
    "jettison_drift_score": ("drift", "score"),
    "jettison_drift_limit": ("drift", "limit"),
}
_NAMES = ("metric", "group", "feature")


def quality(readings: Iterable[Reading]) -> Versions:
    """Groups readings by model and version.

    Returns:
        (model, version) -> `margins` (metric, group, held, rows), `agreement` (metric, value, low,
        high, rows) and `drift` (feature, score, limit), each a list; what is not known is not there.
    """
    found: dict[tuple[str, str], dict[str, dict[tuple[str, ...], dict[str, Any]]]] = {}
    for reading in readings:
        place = _GAUGES.get(reading.name)
        if place is None:
            continue
        kind, field = place
        labels = reading.labels
        about = {name: labels[name] for name in _NAMES if name in labels}
        version = found.setdefault((labels.get("model", ""), labels.get("version", "")), {})
        one = version.setdefault(kind, {}).setdefault(tuple(about.values()), dict(about))
        one[field] = reading.value
    return {
        key: {kind: list(items.values()) for kind, items in kinds.items()}
        for key, kinds in found.items()
    }
