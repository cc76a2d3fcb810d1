"""Two systems judged from files: what a guardrail blocked, or which attacks got through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jettison.domain.certificate import Claim, LedgerPosition, Verdict


@dataclass(frozen=True, slots=True)
class PairedCertificate:
    """What was shown about a change of a system, from its answers before and after.

    Attributes:
        subject: `guardrail` or `red team`.
        verdict: over every claim that gates (intersection-union).
        reason: what is not held and why; empty when held.
        claims: per metric: the whole, then each group. Metrics are harms: a rise is a drop in quality.
        files: name of each file -> its SHA-256.
        rows: different requests or attacks.
        rules_digest: of margins, groups and metrics, fixed before the files were compared.
        ledger: where the look was charged.
        assumptions: sentences that must hold for the error rate to hold.
        notes: what a person should know of the files.
        format_version: of this record.
    """

    subject: Literal["guardrail", "red team"]
    verdict: Verdict
    reason: str
    claims: tuple[Claim, ...]
    files: dict[str, str]
    rows: int
    rules_digest: str
    ledger: LedgerPosition
    assumptions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    format_version: int = 1
