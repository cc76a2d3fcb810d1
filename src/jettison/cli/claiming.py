"""Commands that explain: claims, explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jettison.cli.asking import check_file_to_write
from jettison.cli.showing import show


def claims(
    ids: Annotated[list[str] | None, typer.Argument(help="Claims to measure (all).")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list them.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two launches each: wide intervals, soon done.")
    ] = False,
    json_file: Annotated[str, typer.Option("--json", help="File to write the answers to.")] = "",
) -> None:
    """Measure on this machine what is commonly said about fast and small models."""
    import sys
    import tempfile

    from jettison.claims import catalogue, running
    from jettison.claims import showing as answers_shown
    from jettison.claims.costs import Bench
    from jettison.domain.files import write_atomically
    from jettison.domain.record import to_json

    chosen = catalogue.chosen(catalogue.load_claims(), tuple(ids or ()))
    if list_:
        for claim in chosen:
            print(f"{claim.id:30} {claim.phrase}")
        return
    check_file_to_write(Path(json_file) if json_file else None)

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="jettison-claims-") as folder:
        bench = Bench(Path(folder), launches=2 if quick else 5, max_seconds=20 if quick else 120)
        answers = tuple(running.run_claim(claim, bench, tell) for claim in chosen)
    show(answers_shown.table(answers))
    if json_file:
        write_atomically(Path(json_file), to_json(answers, indent=1) + "\n")


def explain(
    term: Annotated[str, typer.Argument(help="A word, a technique, a setting, a trait, ...")],
) -> None:
    """Say what a word means, when it helps, when not, with a measured figure."""
    from jettison.claims import cards

    show(cards.panel(cards.find(term)))
