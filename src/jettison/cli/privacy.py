"""Commands about whose data it is: privacy, forget, leak."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.asking import Inputs, Target
from jettison.errors import CheckFailed, DataError, UsageError

if TYPE_CHECKING:
    from jettison.assessment.membership import Leak
    from jettison.domain.rows import Array
    from jettison.trust.privacy.text_entities import TextSettings


def privacy(
    data: Annotated[Path, typer.Argument(help="Rows: parquet, csv, jsonl or npz.")],
    quasi: Annotated[
        list[str] | None, typer.Option(help="Column that an outsider may know; repeatable.")
    ] = None,
    target: Annotated[str, typer.Option(help="Column that must not be told from them.")] = "",
    k: Annotated[
        int, typer.Option(min=0, help="Fewest rows that share their values; 0: only show.")
    ] = 0,
    text: Annotated[str, typer.Option(help="Column of texts to look for personal data in.")] = "",
    forbid: Annotated[
        list[str] | None,
        typer.Option(help="Kind that no text may hold, or `any`; repeatable. Else exit code 5."),
    ] = None,
    text_model: Annotated[
        str, typer.Option(help="Installed spaCy pipeline, for names; none: patterns alone.")
    ] = "",
    text_language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    text_score: Annotated[float, typer.Option(help="Least score of a finding, 0 to 1.")] = 0.4,
    text_python: Annotated[
        str, typer.Option(help="Interpreter that has presidio-analyzer (this one).")
    ] = "",
) -> None:
    """Show how well rows hide among each other (k-anonymity), and what texts tell of people."""
    from jettison.pipeline.split.reading import read_file
    from jettison.trust.privacy.text_entities import TextSettings

    names = [name for one in quasi or () for name in one.split(",") if name]
    if not (names or text):
        raise UsageError("name columns that an outsider may know (--quasi), or texts (--text)")
    _refuse_idle("--quasi", bool(names), {"--target": target, "--k": k})
    of_texts = {"--forbid": forbid, "--text-model": text_model, "--text-python": text_python}
    _refuse_idle("--text", bool(text), of_texts)
    columns = read_file(str(data), "data").columns
    if names:
        _show_anonymity(data, columns, names, (target, k))
    if text:
        settings = TextSettings(text_language, text_model, text_score, text_python)
        _show_texts(data, columns, text, (settings, tuple(forbid or ())))


def _refuse_idle(needed: str, given: bool, asked: Mapping[str, object]) -> None:
    """Refuses options that would check nothing, and end with exit code 0.

    Raises:
        UsageError: naming them.
    """
    idle = [option for option, value in asked.items() if value and not given]
    if idle:
        listed = ", ".join(f"`{option}`" for option in idle)
        raise UsageError(f"{listed} can't be given without {needed}: name its columns there")


def _show_anonymity(
    data: Path, columns: Mapping[str, Array], names: list[str], wishes: tuple[str, int]
) -> None:
    from jettison.trust.privacy.anonymity import anonymity

    target, k = wishes
    wanted = k or 5
    found = anonymity(columns, names, target, wanted)
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


def _show_texts(
    data: Path,
    columns: Mapping[str, Array],
    text: str,
    wishes: tuple[TextSettings, tuple[str, ...]],
) -> None:
    from jettison.trust.privacy.text_entities import text_entities

    settings, forbidden = wishes
    if text not in columns:
        raise DataError(f"{data} has no column `{text}`; it has {', '.join(sorted(columns))}")
    found = text_entities(columns[text].tolist(), settings)
    print(
        f"{found.personal:,} of {found.rows:,} texts in `{text}` hold something that looks personal "
        f"({found.personal / found.rows:.1%}), by {len(found.recognisers)} recognisers"
    )
    for kind in found.kinds:
        print(f"  {kind.name} ({kind.recogniser}): {kind.places:,} in {kind.rows:,} rows")
    if not found.knows_names:
        print("names of people and places were not looked for: that needs --text-model")
    unknown = sorted({*forbidden} - {*found.possible, "any"})
    if unknown:
        raise UsageError(
            f"--forbid names {', '.join(unknown)}, which nothing here looks for; choose from "
            f"{', '.join(found.possible)}, or any"
        )
    bad = [k for k in found.kinds if "any" in forbidden or k.name in forbidden]
    if bad:
        named = ", ".join(sorted({kind.name for kind in bad}))
        raise CheckFailed(
            f"{data} holds what --forbid names in `{text}`: {named}; mask it, or leave the rows out"
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
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="Model trained likewise on neither file: a stronger attack; repeatable."),
    ] = None,
) -> None:
    """Compare what original and shipped model tell about who was in the training data."""
    from jettison.assessment import membership
    from jettison.domain.configuration import DataSection

    roles = DataSection(target=target, inputs=tuple(input_ or ()))
    found = membership.leak(run, members, non_members, roles, tuple(reference or ()))
    for note in found.notes:
        print(f"note {note}")
    print(f"attack by loss on {found.members:,} members and {found.non_members:,} others")
    _show_attacks(found)
    if found.calibrated is not None:
        print(f"attack against {found.references:,} reference models on the same rows")
        _show_attacks(found.calibrated)


def _show_attacks(found: Leak) -> None:
    from jettison.assessment.membership import FALSE_ALARMS

    for attack in (found.original, found.shipped):
        area, caught = attack.area, attack.caught
        print(
            f"{attack.model}: AUC {area.value:.4f} (95 % interval {area.low:.4f} to "
            f"{area.high:.4f}); {caught.low:.1%} to {caught.high:.1%} of the members found at "
            f"{FALSE_ALARMS:.0%} false alarms"
        )
    gap = found.difference
    print(f"difference: {gap.value:+.4f} (95 % interval {gap.low:+.4f} to {gap.high:+.4f})")
    print(found.verdict)
