"""Commands about what was shipped: verify, export, monitoring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    expect: Annotated[str, typer.Option(help="Digest that the bundle must have.")] = "",
    ledger: Annotated[str, typer.Option(help="Folder of the ledger that must hold its look.")] = "",
) -> None:
    """Check a bundle: hashes, reload, outputs, verdicts."""
    from jettison.pipeline import verify as checking
    from jettison.trust.audit_story import plain

    result = checking.verify(bundle, expect, ledger)
    # Names and paths in them come from the bundle, and must not pose as lines of ours.
    for check in result.checks:
        print(f"ok   {plain(check)}")
    for note in result.notes:
        print(f"note {plain(note)}")
    print(f"bundle {result.digest}: {result.status}")


def reveal(
    run: Annotated[Path, typer.Argument(help="Folder of a run whose certification said no.")],
) -> None:
    """Show everything that failed looks withheld; the sealed rows are retired for good."""
    from jettison.assessment.search_rows import read_record
    from jettison.pipeline import reveal as revealing
    from jettison.reporting.looks import look_text

    ledger = read_record(run).configuration.ledger
    for look in revealing.reveal(run / "work" / "certify", ledger):
        print(look_text(look.number, look.time, look.certificate, look.reason))
        if look.outcomes is not None:
            print(f"outcomes of every row: {look.outcomes}")
    print("these rows are retired: use them for selection, and certify on fresh ones")


def export(
    kind: Annotated[str, typer.Argument(help="triton, kserve, docker, ray, ...")],
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: new, or empty.")],
    name: Annotated[str, typer.Option(help="Name of the model (the bundle's folder).")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the kind; repeatable.")
    ] = None,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Export what no certificate covers.")
    ] = False,
) -> None:
    """Write a bundle for another server: Triton, KServe, a container, Ray Serve."""
    from jettison.export import exporting

    result = exporting.export(
        kind, bundle, out, name=name, given=set_ or (), allow_uncertified=allow_uncertified
    )
    print(f"wrote {result.folder} from bundle {result.digest}: {result.status}")
    for step in result.steps:
        print(f"next {step}")


def monitoring(
    folder: Annotated[Path, typer.Argument(help="Folder to write; made where it is missing.")],
    target: Annotated[
        str, typer.Option(help="host:port of the server, as Prometheus reaches it.")
    ] = "127.0.0.1:8080",
) -> None:
    """Write alert rules for Prometheus and a dashboard for Grafana."""
    from jettison.serving.observability.monitoring_files import write_monitoring

    for path in write_monitoring(folder, target):
        print(f"wrote {path}")
