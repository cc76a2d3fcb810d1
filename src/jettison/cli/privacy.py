"""Commands about whose data it is: privacy, forget, leak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jettison.cli.asking import Inputs, Target
from jettison.errors import CheckFailed, UsageError


def privacy(
    data: Annotated[Path, typer.Argument(help="Rows: parquet, csv, jsonl or npz.")],
    quasi: Annotated[list[str], typer.Option(help="Column that an outsider may know; repeatable.")],
    target: Annotated[str, typer.Option(help="Column that must not be told from them.")] = "",
    k: Annotated[int, typer.Option(help="Fewest rows that share their values; 0: only show.")] = 0,
) -> None:
    """Show how well rows hide among each other: k-anonymity, unique rows, l-diversity."""
    from jettison.pipeline.split.reading import read_file
    from jettison.trust.privacy.anonymity import anonymity

    names = [name for one in quasi for name in one.split(",") if name]
    wanted = k or 5
    found = anonymity(read_file(str(data), "data").columns, names, target, wanted)
    share = found.unique / found.rows
    print(f"{found.rows:,} rows in {found.classes:,} classes of {', '.join(names)}")
    print(f"smallest class (k): {found.k}")
    print(f"unique rows: {found.unique:,} ({share:.1%})")
    print(
        f"rows in classes of fewer than {wanted}: {found.below:,} ({found.below / found.rows:.1%})"
    )
    if found.l_diversity is not None:
        print(f"fewest different values of {target} in a class (l): {found.l_diversity}")
    if k and found.k < k:
        raise CheckFailed(
            f"{data} is not {k}-anonymous: its smallest class has {found.k} rows; coarsen "
            f"{', '.join(names)}, or leave the {found.below:,} rows of small classes out"
        )


def forget(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    where: Annotated[str, typer.Option(help="COLUMN=VALUE: the rows, in the run's data.")],
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove every copy in the run's folder.")
    ] = False,
) -> None:
    """Say what some rows touched (copies, looks, certificates, bundles); remove their copies."""
    from jettison.assessment import forgetting

    column, equals, value = where.partition("=")
    if not (column and equals):
        raise UsageError(f"--where takes COLUMN=VALUE, such as patient=17; got {where}")
    found = forgetting.forget(run, column, value, delete=delete)
    print(f"{found.rows:,} rows of the run's files have {column} = {value}")
    for use, count in found.copies.items():
        print(f"  {count:,} encoded copies for {use}")
    print(f"  {found.probes:,} stored in the bundle")
    print(f"  looked at by line {', '.join(map(str, found.looks)) or '-'} of the ledger")
    for kind, digest, status in found.results:
        print(f"  {kind} {digest} ({status})")
    for line in found.recompute:
        print(f"to do: {line}")
    for folder in found.removed:
        print(f"removed {folder}")
    if not delete:
        print("nothing was removed; --delete removes the copies. Your own files stay as they are")


def leak(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of its bundle.")],
    members: Annotated[Path, typer.Option(help="Rows that the original was trained on.")],
    non_members: Annotated[Path, typer.Option(help="Rows like them that it never saw.")],
    target: Target = "",
    input_: Inputs = None,
) -> None:
    """Compare what original and shipped model tell about who was in the training data."""
    from jettison.assessment import membership
    from jettison.domain.configuration import DataSection

    roles = DataSection(target=target, inputs=tuple(input_ or ()))
    found = membership.leak(run, members, non_members, roles)
    for note in found.notes:
        print(f"note {note}")
    print(f"attack by loss on {found.members:,} members and {found.non_members:,} others")
    for attack in (found.original, found.shipped):
        area, caught = attack.area, attack.caught
        print(
            f"{attack.model}: AUC {area.value:.4f} (95 % interval {area.low:.4f} to "
            f"{area.high:.4f}); {caught.low:.1%} to {caught.high:.1%} of the members found at "
            f"{membership.FALSE_ALARMS:.0%} false alarms"
        )
    gap = found.difference
    print(f"difference: {gap.value:+.4f} (95 % interval {gap.low:+.4f} to {gap.high:+.4f})")
    print(found.verdict)
