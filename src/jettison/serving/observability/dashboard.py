"""The Grafana dashboard: classic JSON, which every Grafana from 8 on imports.

The tests run each expression against a real Prometheus that scrapes a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettison.serving.observability.panels import ROWS, Kind, Panel

UID = "jettison-serving"
SCHEMA_VERSION = 39
COLUMNS = 24

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The whole dashboard. The same every time: its uid lets Grafana replace an older one."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(_row(title, top, len(panels) + 1))
        left, top, tallest = 0, top + 1, 0
        for panel in row:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, place, len(panels) + 1))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return {
        "id": None,
        "uid": UID,
        "title": "jettison: served models",
        "tags": ["jettison"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }


def expressions() -> dict[str, str]:
    """Every expression of every panel, under `panel: legend`."""
    return {
        f"{panel.title}: {legend}": query
        for row in ROWS.values()
        for panel in row
        for legend, query in panel.queries.items()
    }


def _variables() -> list[dict[str, Any]]:
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
    }
    return [source, _variable("job", "Job"), _variable("model", "Model")]


def _variable(name: str, label: str) -> dict[str, Any]:
    query = f"label_values(jettison_model_info, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
        "sort": 1,
    }


def _row(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
    return {
        "type": "row",
        "id": number,
        "title": title,
        "gridPos": place,
        "collapsed": False,
        "panels": [],
    }


def _panel(panel: Panel, place: Mapping[str, int], number: int) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {},
        "targets": [
            _target(panel.kind, chr(ord("A") + index), legend, query)
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
    if panel.kind == "stat":
        drawn["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"}
    if panel.kind == "heatmap":
        drawn["options"] = {"calculate": False, "yAxis": {"unit": "short"}}
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True, "__name__": True, "job": True}
        drawn["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return drawn


def _target(kind: Kind, letter: str, legend: str, query: str) -> dict[str, Any]:
    target: dict[str, Any] = {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query,
        "legendFormat": legend or "__auto",
    }
    if kind == "table":
        return target | {"instant": True, "format": "table"}
    return target | ({"format": "heatmap"} if kind == "heatmap" else {})
