"""Commands about rows that a person should look at: label, find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jettison.cli.showing import finish, show, with_progress


def label(
    run: Annotated[Path, typer.Argument(help="Folder of a run whose sealed rows have no labels.")],
    answers: Annotated[
        Path | None, typer.Option(help="CSV with the columns `row` and `label`.")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Label in the browser; stop and resume as you like.")
    ] = False,
    port: Annotated[int, typer.Option(help="Of the page; 0 for any that is free.")] = 0,
) -> None:
    """Certify rows without labels: only those on which the models differ need one."""
    from jettison import preparation, whole_run
    from jettison.assessment import labelled_run
    from jettison.reporting.labelling import waiting
    from jettison.serving import labelling_page

    def opened(progress: Any) -> Any:
        return labelled_run.open_labelling(run, progress)

    def concluded(progress: Any) -> Any:
        return whole_run.certify_labelled(labelling, given, progress)

    with preparation.run_folder(run):
        labelling = with_progress(opened)
        given = answers or labelling.folder / labelled_run.ANSWERS
        if page and labelling.tasks:
            labelled_run.check_open(labelling.asked)
            if not labelling_page.ask(labelling.tasks, labelling.classes, given, port):
                raise typer.Exit(4)
        elif answers is None and labelling.tasks:
            show(waiting(labelling, run))
            raise typer.Exit(4)
        record = with_progress(concluded)
    finish(record, run)
