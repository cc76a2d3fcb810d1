"""What layers lose, as the terminal and the report show it."""

from __future__ import annotations

import dataclasses
import io

import records
from rich.console import Console, RenderableType

from jettison.domain.profile import Profile
from jettison.reporting.html_report import render_report
from jettison.reporting.sensitivity_views import sensitivity, sensitivity_plot, sensitivity_table

NOTE = "Predicted loss of the right answers (nats a row, from 32 fitting rows)."


def sensed() -> Profile:
    """A profile of which two layers were looked at."""
    profile = records.profile()
    known = {
        "/network/block_0/Conv": {"half pruned": 0.02, "int8": 3.1e-7},
        "/network/head/MatMul": {"half pruned": 0.5, "int8": 0.0},
    }
    layers = tuple(
        dataclasses.replace(layer, sensitivity=known.get(layer.name)) for layer in profile.layers
    )
    return dataclasses.replace(profile, layers=layers, sensitivity_note=NOTE)


def words(part: RenderableType) -> str:
    """What a wide terminal shows."""
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(part)
    return " ".join(console.export_text().split())


def test_the_most_sensitive_layer_comes_first() -> None:
    """Both layers that are known are shown with their losses; the others are not."""
    record = dataclasses.replace(records.improved(), profile=sensed())
    rows = [[cell.text for cell in row] for row in sensitivity(record).rows]
    assert rows == [
        ["/network/head/MatMul", "0.500", "0"],
        ["/network/block_0/Conv", "0.0200", "3.1e-07"],
    ]
    shown = words(sensitivity_table(sensed()))
    assert shown.index("head/MatMul") < shown.index("block_0/Conv")
    assert NOTE in shown


def test_the_report_draws_losses_above_zero() -> None:
    """A log axis has no place for a loss of nothing; the page says unit and rows."""
    record = dataclasses.replace(records.improved(), profile=sensed())
    plot = sensitivity_plot(record)
    assert plot is not None
    assert [len(trace["x"]) for trace in plot.figure["data"]] == [2, 1]
    page = render_report(record)
    assert NOTE in page
    assert 'id="table-sensitivity"' in page


def test_without_losses_nothing_is_drawn() -> None:
    """A run without data has no plot and no table, and the terminal says what is missing."""
    assert sensitivity_plot(records.improved()) is None
    assert 'id="table-sensitivity"' not in render_report(records.improved())
    assert "only with data" in words(sensitivity_table(records.profile()))
