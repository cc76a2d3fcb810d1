"""Commands about rows that a person should look at: label, find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jettison.cli.asking import check_file_to_write
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
    from jettison.assessment.search_rows import read_record
    from jettison.errors import UsageError
    from jettison.reporting.labelling import waiting
    from jettison.serving import labelling_page

    if page and answers is not None:
        raise UsageError(
            "--page and --answers don't go together: the page keeps its own answers, in "
            f"{run / labelled_run.FOLDER / labelled_run.ANSWERS}"
        )

    def opened(progress: Any) -> Any:
        return labelled_run.open_labelling(run, progress)

    def concluded(progress: Any) -> Any:
        return whole_run.certify_labelled(labelling, given, progress)

    read_record(run)  # A wrong name must not become a folder.
    with preparation.run_folder(run):
        labelling = with_progress(opened)
        given = answers or labelling.folder / labelled_run.ANSWERS
        waits = bool(labelling.tasks) and labelled_run.taken_up(labelling) is None
        if page and waits:
            labelled_run.check_open(labelling.asked)
            if not labelling_page.ask(labelling.tasks, labelling.classes, given, port):
                raise typer.Exit(4)
        elif answers is None and waits:
            show(waiting(labelling, run))
            raise typer.Exit(4)
        record = with_progress(concluded)
    finish(record, run)


def find(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    recipe: Annotated[
        str, typer.Option(help="Beginning of a recipe's digest (what ships, or is best).")
    ] = "",
    add_to: Annotated[
        Path | None, typer.Option(help="Data of the next run, to which slices are added.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New parquet file for --add-to.")] = None,
) -> None:
    """Find rows whose answer changed, and propose slices that compression hurts."""
    from jettison.assessment import finding
    from jettison.assessment.search_rows import read_record
    from jettison.errors import UsageError
    from jettison.reporting.found import found_parts

    if (add_to is None) != (out is None):
        raise UsageError("--add-to and --out go together: the data to read, and the file to write")
    check_file_to_write(out)
    found = finding.find_in(run, recipe)
    groups = read_record(run).configuration.data.groups
    show(*found_parts(found, finding.config_lines(found, groups)))
    if add_to is not None and out is not None:
        added = finding.add_slices(found, add_to, out)
        print(f"wrote {out} with {', '.join(added)}")
    print(f"written: {run / finding.FOLDER}")
