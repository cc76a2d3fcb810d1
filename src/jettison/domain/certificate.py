"""`Certificate`: claims with verdicts, and exactly what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["held", "broken", "undecided"]
Grade = Literal["A", "B", "C"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """The largest drop that the user allows, in one metric.

    Attributes:
        metric: name of a registered quality metric.
        max_drop: absolute non-inferiority margin overall.
        max_drop_group: absolute margin of every group.
        confidence: 1 - alpha, the error rate of shipping a model beyond the margin.
        require_grade: the weakest grade that may gate.
        gated_groups: groups that gate, fixed before the seal opens; `None` means every group.
        max_drop_relative: a share of the baseline's value, or `None`. It is turned into `max_drop`
            with the baseline of the selection rows, before the seal opens; until then `max_drop`
            is 0, which nothing can hold.
    """

    metric: str
    max_drop: float
    max_drop_group: float
    confidence: float = 0.95
    require_grade: Grade = "B"
    gated_groups: tuple[str, ...] | None = None
    max_drop_relative: float | None = None

    @property
    def alpha(self) -> float:
        """The largest error rate allowed."""
        return round(1.0 - self.confidence, 12)


@dataclass(frozen=True, slots=True)
class Claim:
    """One verdict about one group.

    Attributes:
        metric, group, margin: what was asked.
        gates: whether the model may ship without it being held.
        n: sealed rows (or units) behind it.
        baseline, candidate: the metric of each on these rows.
        estimate: drop, positive is worse.
        bound: one-sided upper confidence bound of the drop (the certifiable tolerance).
        p_value: of the test that the drop is at least the margin.
        grade: A finite-sample, B asymptotic, C reported only.
        method: the test, in words.
        verdict: `held`, `broken` or `undecided`.
        rows_needed: about how many rows would decide it; 0 when decided.
        reason: why it is not held, in one sentence; empty when held.
    """

    metric: str
    group: str
    margin: float
    gates: bool
    n: int
    baseline: float | None
    candidate: float | None
    estimate: float | None
    bound: float | None
    p_value: float | None
    grade: Grade
    method: str
    verdict: Verdict
    rows_needed: int = 0
    reason: str = ""

    @property
    def only_shown(self) -> bool:
        """Whether it is of a metric in `report`: nothing was asked, so nothing is open."""
        return not self.gates and not self.margin


@dataclass(frozen=True, slots=True)
class Subject:
    """Exactly what the claims are about.

    Attributes:
        artifact, encoder: digests of the files that were run.
        recipe: digest of the recipe.
        runtime: the runtime step in words; threads and batch_size: as it was run.
        batch_policy: `any batch size of the serving profile` or `batch size 1 only`.
        cpu_class: of the machine that ran it.
        accelerator: that the runtime computed on, by name; empty where it needs none.
    """

    artifact: str
    encoder: str
    recipe: str
    runtime: str
    threads: int
    batch_size: int
    batch_policy: str
    cpu_class: str
    accelerator: str = ""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """Where the ledger recorded the look.

    Attributes:
        ledger: path of the ledger file.
        look: running number of the look at these rows, from 1.
        entry: digest of the ledger entry.
        alpha: error rate that this look was allowed to spend.
        looks: how many were declared before the first.
    """

    ledger: str
    look: int
    entry: str
    alpha: float
    looks: int = 1


@dataclass(frozen=True, slots=True)
class Tested:
    """One member of the shortlist, in the order that was fixed before opening.

    `withheld`: nothing shipped, and further looks at the same rows were declared, so that no more
    is told until `jettison reveal`.
    """

    recipe: str
    title: str
    verdict: Verdict | Literal["not tested", "withheld"]
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """What ships with a bundle, and what a failed certification shows.

    Attributes:
        status: `certified`, `failed` (opened, nothing passed) or `uncertified` (not opened).
        reason: one sentence, empty when certified.
        claims: of the model that ships.
        procedure: the procedure in one paragraph.
        subject: what ships; `None` when nothing does.
        order: the shortlist, as tested.
        config_digest, data_digest, order_digest: what was fixed before opening.
        ledger: `None` when the seal was not opened.
        assumptions: sentences that must hold for the error rate to hold.
        format_version: of this record.
    """

    status: Literal["certified", "failed", "uncertified"]
    reason: str
    claims: tuple[Claim, ...]
    procedure: str
    subject: Subject | None
    order: tuple[Tested, ...]
    config_digest: str
    data_digest: str
    order_digest: str
    ledger: LedgerPosition | None
    assumptions: tuple[str, ...] = ()
    format_version: int = 1
