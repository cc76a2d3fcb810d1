"""The command about data that is still to be collected: plan-data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jettison.cli.asking import Groups, Unit
from jettison.cli.showing import show


def plan_data(
    source: Annotated[
        Path | None, typer.Argument(help="Folder of a run, or jettison.toml; may be left out.")
    ] = None,
    data: Annotated[str, typer.Option(help="One file that a run would divide.")] = "",
    certification: Annotated[str, typer.Option(help="A file that would be sealed whole.")] = "",
    group: Groups = None,
    unit: Unit = "",
    metric: Annotated[str, typer.Option(help="Quality metric: 0/1 a row, wer, f1 or auc.")] = "",
    max_drop: Annotated[float | None, typer.Option(help="Largest drop allowed overall.")] = None,
    max_drop_group: Annotated[
        float | None, typer.Option(help="Largest drop allowed in a group (3 x max-drop).")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="1 - the error rate (0.95).")] = None,
    disagreement: Annotated[
        float | None, typer.Option(help="Expected share of rows that one model alone gets right.")
    ] = None,
    churn: Annotated[
        float | None, typer.Option(help="Expected share of rows whose answer changes.")
    ] = None,
    drop: Annotated[float, typer.Option(help="Expected true drop.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many rows a certificate needs per group, before any is opened."""
    from jettison.assessment import data_wishes
    from jettison.domain.record import to_json
    from jettison.reporting.data_plan import data_plan

    wishes: dict[str, Any] = {
        "data": data,
        "certification": certification,
        "groups": tuple(group or ()),
        "unit": unit,
        "metric": metric,
        "max_drop": max_drop,
        "max_drop_group": max_drop_group,
        "confidence": confidence,
        "disagreement": disagreement,
        "churn": churn,
        "drop": drop,
    }
    plans = data_wishes.plans(source, data_wishes.Wishes(**wishes))
    if as_json:
        print(f"[{','.join(to_json(plan, indent=1) for plan in plans)}]")
        return
    for plan in plans:
        show(data_plan(plan))
