"""Commands that explain what changed: explain-changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jettison.cli.asking import check_file_to_write
from jettison.errors import UsageError


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

    page = out or run / "changes.html"
    check_file_to_write(out)
    if page.suffix == ".json":
        raise UsageError(f"{page} is where the same numbers go as JSON; give --out a .html file")
    found = explain(run, recipe=recipe, limit=rows, seed=seed)
    write_atomically(page.with_suffix(".json"), to_json(found, indent=1) + "\n")
    write_atomically(page, render_attribution(found))
    print(f"{found.changed:,} of {found.n:,} selection rows changed their class: {found.recipe}")
    for row in found.rows:
        print(f"row {row.row}: {row.original_class} became {row.new_class}")
    print(f"wrote {page} and {page.with_suffix('.json')}")
