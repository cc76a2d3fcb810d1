"""Commands about guardrails and attacks: ask-rails, certify-guardrail, redteam, fit-guardrail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.asking import check_file_to_write
from jettison.errors import UsageError

if TYPE_CHECKING:
    from jettison.domain.paired_files import PairedCertificate

Group = Annotated[
    float | None, typer.Option("--max-rise-group", help="Largest rise in a group (3 x).")
]
Gates = Annotated[
    list[str] | None,
    typer.Option("--gate", help="column=value that must hold (every group); repeatable."),
]
Together = Annotated[
    str, typer.Option("--unit", help="Column that says which rows belong together.")
]
Confidence = Annotated[float, typer.Option(help="1 - the error rate of each verdict.")]
Out = Annotated[Path, typer.Option(help="Folder for certificate.json and the outcomes.")]
LedgerFolder = Annotated[str, typer.Option("--ledger", help="Folder of the ledger.")]

EXIT_CODES = {"held": 0, "broken": 3, "undecided": 4}


def certify_guardrail(
    requests: Annotated[
        Path,
        typer.Argument(help="Table: request, expected, blocked_before, blocked_after, groups."),
    ],
    max_rise_missed: Annotated[float, typer.Option(help="Largest rise of missed blocks.")] = 0.01,
    max_rise_false: Annotated[float, typer.Option(help="Largest rise of false blocks.")] = 0.01,
    max_rise_group: Group = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Column of groups; repeatable.")
    ] = None,
    gate: Gates = None,
    unit: Together = "",
    confidence: Confidence = 0.95,
    out: Out = Path("guardrail-certificate"),
    ledger: LedgerFolder = "",
) -> None:
    """Certify that a change makes a guardrail miss or block wrongly no more than allowed."""
    from jettison.assessment import guard_judging

    margins = guard_judging.Margins(
        {"missed_blocks": max_rise_missed, "false_blocks": max_rise_false},
        max_rise_group,
        confidence,
        None if gate is None else tuple(gate),
    )
    _finish(
        guard_judging.certify_guardrail(requests, tuple(group or ()), margins, out, ledger, unit),
        out,
    )


def ask_rails(
    requests: Annotated[
        Path, typer.Argument(help="Table: request, and whatever certify-guardrail needs besides.")
    ],
    before: Annotated[Path, typer.Option(help="Folder of NeMo rails (config.yml) now.")],
    after: Annotated[Path, typer.Option(help="Folder of NeMo rails after the change.")],
    kind: Annotated[str, typer.Option(help="Rails to ask: input, or output (column answer).")] = (
        "input"
    ),
    python: Annotated[str, typer.Option(help="Interpreter that has nemoguardrails.")] = "",
    out: Annotated[Path, typer.Option(help="Table to write, for certify-guardrail.")] = Path(
        "decisions.csv"
    ),
) -> None:
    """Ask NeMo Guardrails what it blocks, before and after, and write the file that is certified."""
    from jettison.assessment import rails

    if kind not in ("input", "output"):
        raise UsageError(f"--kind must be input or output; got {kind}")
    check_file_to_write(out)
    asked: rails.Kind = "input" if kind == "input" else "output"
    found = rails.ask_rails(requests, (before, after), asked, python, out)
    for side, decided in zip(rails.SIDES, found, strict=True):
        by = ", ".join(f"{name}: {count:,}" for name, count in decided.rails.items())
        named = f" ({by})" if by else ""
        print(f"{side}: {sum(decided.blocked):,} of {len(decided.blocked):,} blocked{named}")
    print(f"wrote {out}; certify it with: jettison certify-guardrail {out}")


def redteam(
    before: Annotated[
        Path, typer.Argument(help="Attacks on the original: prompt, category, outcome.")
    ],
    after: Annotated[Path, typer.Argument(help="The same attacks on the changed system.")],
    max_rise: Annotated[
        float, typer.Option(help="Largest rise of the share of attacks that get through.")
    ] = 0.01,
    max_rise_group: Group = None,
    gate: Gates = None,
    unit: Together = "",
    confidence: Confidence = 0.95,
    out: Out = Path("redteam-certificate"),
    ledger: LedgerFolder = "",
) -> None:
    """Certify that attacks get through a changed system no more often than allowed."""
    from jettison.assessment import guard_judging

    margins = guard_judging.Margins(
        {"attack_success": max_rise},
        max_rise_group,
        confidence,
        None if gate is None else tuple(gate),
    )
    _finish(guard_judging.certify_red_team(before, after, margins, out, ledger, unit), out)


def fit_guardrail(
    run: Annotated[Path, typer.Argument(help="Folder of a run (the `output` of jettison.toml).")],
    rate: Annotated[
        float, typer.Option(help="Largest share of rows like the data refused.")
    ] = 0.02,
    confidence: Confidence = 0.95,
    out: Annotated[Path | None, typer.Option(help="File to write (RUN/novelty.npz).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the projections.")] = 7,
) -> None:
    """Fit the guardrail that refuses requests unlike the data, at a bounded rate."""
    from jettison.assessment.guard_fitting import fit_guardrail as fit

    check_file_to_write(out)
    found = fit(run, rate=rate, confidence=confidence, out=out, seed=seed)
    print(
        f"score fitted on {found.fitting:,} fitting rows; limit set on {found.selection:,} selection "
        f"rows, of which it refuses {found.refused:,}"
    )
    print(
        f"with {100 * confidence:g} % confidence at most {100 * found.refused_at_most:.3g} % of rows "
        f"like these are refused (asked for: {100 * rate:g} %)"
    )
    print(f"wrote {found.path}; in the file of guardrails, with the name that is served:")
    print(f'[NAME.out_of_distribution]\nfitted = "{found.path}"')


def _finish(found: PairedCertificate, out: Path) -> None:
    """Prints a certificate, and ends with its exit code."""
    from jettison.reporting.quantities import change, margin_text, percent

    for claim in found.claims:
        print(
            f"{claim.verdict:9s} {claim.metric}, {claim.group}: {percent(claim.baseline, 2)} became "
            f"{percent(claim.candidate, 2)}; at most {change(claim.bound, 'fraction')}, allowed "
            f"{margin_text(claim.margin, 'fraction')} (n = {claim.n:,}, grade {claim.grade})"
        )
    for note in found.notes:
        print(f"note      {note}")
    if found.reason:
        print(f"because   {found.reason}")
    print(f"{found.subject}: {found.verdict}; wrote {out / 'certificate.json'}")
    raise typer.Exit(EXIT_CODES[found.verdict])
