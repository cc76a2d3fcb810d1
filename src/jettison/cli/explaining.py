"""Commands that explain what changed: explain-changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain_changes(
    run: Annotated[Path, typer.Argument(help="Folder of a run (the `output` of jettison.toml).")],
    recipe: Annotated[
        str, typer.Option(help="Beginning of a recipe's digest (what ships, or the first tried).")
    ] = "",
    rows: Annotated[int, typer.Option(min=1, max=100, help="Changed rows to explain at most.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows that stand in for others.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Page to write (RUN/changes.html).")] = None,
) -> None:
    """Show which parts of the input moved the answers that changed, before and after."""
    from jettison.assessment.attribution import explain_changes as explain
    from jettison.domain.files import write_atomically
    from jettison.domain.record import to_json
    from jettison.reporting.attribution_page import render_attribution

    found = explain(run, recipe=recipe, limit=rows, seed=seed)
    page = out or run / "changes.html"
    write_atomically(page.with_suffix(".json"), to_json(found, indent=1) + "\n")
    write_atomically(page, render_attribution(found))
    print(f"{found.changed:,} of {found.n:,} selection rows changed their class: {found.recipe}")
    for row in found.rows:
        print(f"row {row.row}: {row.original_class} became {row.new_class}")
    print(f"wrote {page} and {page.with_suffix('.json')}")
