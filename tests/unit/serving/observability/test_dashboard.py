"""The dashboard: a form that Grafana imports, and only metrics that the server has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from jettison.serving.observability.dashboard import COLUMNS, dashboard, expressions

PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
GRAFANAS = {"timeseries", "stat", "table", "heatmap"}


def nested(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from nested(item)


def test_the_dashboard_is_classic_and_can_be_imported_anywhere() -> None:
    """No id of one Grafana, a fixed uid, a version of the schema, panels in a list."""
    made = json.loads(json.dumps(dashboard()))
    assert made["id"] is None
    assert re.fullmatch(r"[a-z0-9-]{1,40}", made["uid"])
    assert made["schemaVersion"] >= 36
    assert isinstance(made["panels"], list)
    assert made == json.loads(json.dumps(dashboard()))


def test_data_source_job_and_model_are_variables() -> None:
    """No data source of one Grafana is named; models are found from the metrics."""
    made = dashboard()
    variables = {v["name"]: v for v in made["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "model"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["model"]["definition"] == "label_values(jettison_model_info, model)"
    named = [item["datasource"] for item in nested(made["panels"]) if "datasource" in item]
    assert named
    assert all(source["uid"] == "${datasource}" for source in named)


@pytest.mark.parametrize("panel", PANELS, ids=lambda p: p["title"])
def test_every_panel_is_whole(panel: dict[str, Any]) -> None:
    """Each panel has a type that Grafana ships, a title, an explanation, and queries with ids."""
    assert panel["type"] in GRAFANAS
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert [target["refId"] for target in panel["targets"]] == list("ABCD")[: len(panel["targets"])]
    assert all(target["expr"] for target in panel["targets"])
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= COLUMNS


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    """Ids are unique; no two panels cover the same cell of the grid."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)


def test_every_expression_is_listed_once() -> None:
    """The list that the tests run against Prometheus is the list that Grafana runs."""
    shown = [target["expr"] for panel in PANELS for target in panel["targets"]]
    assert sorted(shown) == sorted(expressions().values())
