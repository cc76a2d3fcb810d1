"""Opens the sealed rows once, tests the shortlist in its fixed order, and says what holds.

Order of events: the plan (can it pass?), the order of testing, the charge in the ledger, the seal.
A run that can't pass stops at the plan, and its rows stay unspent.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jettison import machine, registry
from jettison.domain import accelerators
from jettison.domain.certificate import Certificate, LedgerPosition, Subject, Tested
from jettison.domain.files import write_atomically
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL
from jettison.domain.model import Artifact
from jettison.domain.record import digest, from_json, to_json
from jettison.errors import CheckFailed, SealRefused, UsageError
from jettison.trust.judging import Conclusion, conclude
from jettison.trust.ledger import Charge, Ledger, Look
from jettison.trust.observing import observe
from jettison.trust.outcomes import (
    Member,
    MetricFacts,
    Outcomes,
    Rules,
    load_outcomes,
    save_outcomes,
)
from jettison.trust.planning import PartPlan
from jettison.trust.seal import open_seal, sealed_row_set
from jettison.trust.shortlisting import (
    CertificationPlan,
    CertificationRequest,
    Contender,
    Place,
    plan_certification,
)
from jettison.trust.withholding import withheld_path, withhold_outcomes
from jettison.trust.wording import ANY_BATCH, ASSUMPTIONS, BATCH_ONE, one_bit, procedure

CERTIFICATE, OUTCOMES = "certificate.json", "outcomes.npz"

__all__ = [
    "CertificationPlan",
    "CertificationRequest",
    "CertificationResult",
    "Contender",
    "PartPlan",
    "Place",
    "certify",
    "charge_look",
    "conclude_look",
    "plan_certification",
    "take_up",
    "uncertified_certificate",
]


@dataclass(frozen=True, slots=True)
class CertificationResult:
    """What came of it.

    Attributes:
        certificate: always present.
        outcomes: `outcomes.npz` with every row's part; `None` when the seal stayed closed.
        shipped: recipe of what may ship; empty when nothing may.
        plan: as it was before opening.
    """

    certificate: Certificate
    outcomes: Path | None
    shipped: str
    plan: CertificationPlan


def certify(request: CertificationRequest) -> CertificationResult:
    """Spends one look, if the run can pass, and judges the shortlist on the sealed rows.

    A refusal by the ledger, too few rows or an empty shortlist gives an `uncertified`
    certificate, unless one waits for its bundle (`take_up`). A candidate that can't be run or
    scored on the sealed rows is `undecided`.

    Raises:
        CheckFailed: if the seal, the ledger or a model file was changed.
        UsageError: if the ledger or the folder can't be written; says whether the look is spent.
    """
    plan = plan_certification(request)
    if not plan.possible:
        return take_up(request, plan) or _not_opened(request, plan, plan.reason)
    try:
        rules, look = charge_look(request, plan)
    except SealRefused as refusal:
        return _not_opened(request, plan, str(refusal))
    with _spent(request):
        rows, labels = open_seal(request.certification, look)
        outcomes, alone = observe(request, rules, rows, labels)
    return conclude_look(request, plan, look, outcomes, alone)


def charge_look(request: CertificationRequest, plan: CertificationPlan) -> tuple[Rules, Look]:
    """Fixes the order of testing and charges the ledger; the seal is still closed.

    Raises:
        SealRefused: if any of the rows was spent before.
        CheckFailed: if the seal, the ledger or a model file was changed.
        UsageError: if the ledger or the folder can't be written.
    """
    rules = _rules(request, plan)
    charge = Charge(
        configuration=request.configuration_digest,
        data=request.certification.digest,
        order=rules.digest,
        alpha=max(r.alpha for r in request.requirements),
        rows=sealed_row_set(request.certification),
        folder=str(Path(request.folder).absolute()),
        plan=request.looks,
        number=plan.look,
    )
    Path(request.folder).mkdir(parents=True, exist_ok=True)
    return rules, Ledger.at(request.ledger).charge(charge)


def conclude_look(
    request: CertificationRequest,
    plan: CertificationPlan,
    look: Look,
    outcomes: Outcomes,
    alone: Mapping[str, bool],
    assumptions: tuple[str, ...] = (),
) -> CertificationResult:
    """Saves the outcomes of an opened seal, judges them, and records the certificate.

    Args:
        request, plan: as they were before opening.
        look: that opened the seal.
        outcomes: of the sealed rows.
        alone: which candidates were run row by row.
        assumptions: sentences beside those of every certificate.

    Raises:
        CheckFailed: if the ledger holds no such look.
        UsageError: if the ledger or the folder can't be written.
    """
    folder, kept, ledger = Path(request.folder), None, Ledger.at(request.ledger)
    conclusion = conclude(outcomes, {place.recipe: place.title for place in plan.order})
    certificate = _certificate(request, conclusion, alone, look, outcomes.rules.digest)
    certificate = dataclasses.replace(
        certificate, assumptions=(*certificate.assumptions, *assumptions)
    )
    with _spent(request):
        if look.looks > 1 and conclusion.shipped is None:
            certificate = one_bit(certificate, plan, look)
            shown = withheld_path(folder, look.entry).with_suffix(".json")
            shown.parent.mkdir(parents=True, exist_ok=True)
            # Before the outcomes: without it a crash in between would leave them to nobody.
            write_atomically(shown, to_json(certificate, indent=2) + "\n")
            withhold_outcomes(outcomes, folder, look)
        else:
            if look.looks > 1:
                # A crash from here on must not leave scores in plain with looks to spare.
                ledger.reveal(look.entry)
            kept = folder / OUTCOMES
            save_outcomes(outcomes, kept)
    ledger.record("certificate", look.entry, digest(certificate), certificate.status)
    # The rows are spent whatever comes next, so what they said must outlive a crash.
    write_atomically(folder / CERTIFICATE, to_json(certificate, indent=2) + "\n")
    return CertificationResult(certificate, kept, conclusion.shipped or "", plan)


def take_up(request: CertificationRequest, plan: CertificationPlan) -> CertificationResult | None:
    """Finds the certificate of a look whose run ended before its bundle was written.

    The rows are spent, so nothing could make it again. It is taken as the ledger recorded it, for
    the same configuration, rows and candidate; nothing is opened or judged anew, and once the
    ledger knows a bundle of the look, it is that bundle's alone.

    Args:
        request: as it was for that look.
        plan: as made now.

    Returns:
        It, with its outcomes; `None` where there is none.

    Raises:
        CheckFailed: if the ledger can't be read.
    """
    folder = Path(request.folder)
    try:
        certificate = from_json(Certificate, (folder / CERTIFICATE).read_bytes())
        order = load_outcomes(folder / OUTCOMES).rules.digest
    except (OSError, ValueError, CheckFailed):
        return None
    position, subject = certificate.ledger, certificate.subject
    if certificate.status != "certified" or position is None or subject is None:
        return None
    if subject.recipe not in {contender.recipe for contender in request.contenders}:
        return None
    told = (certificate.config_digest, certificate.data_digest, certificate.order_digest, subject)
    alone = subject.batch_policy == BATCH_ONE
    asked = (request.configuration_digest, request.certification.digest, order)
    if told != (*asked, _subject(request, subject.recipe, alone)):
        return None
    entries = [e for e in Ledger.at(request.ledger).entries() if e.look == position.entry]
    known = {e.facts.get("digest") for e in entries if e.kind == "certificate"}
    if digest(certificate) not in known or any(e.kind == "bundle" for e in entries):
        return None
    return CertificationResult(certificate, folder / OUTCOMES, subject.recipe, plan)


@contextlib.contextmanager
def _spent(request: CertificationRequest) -> Iterator[None]:
    """Says of what goes wrong on disk that the look is spent all the same."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the certification in {request.folder} was cut short ({error}); its look is spent: "
            "the next one needs fresh rows, and a folder with space that can be written"
        ) from error


def uncertified_certificate(
    reason: str,
    configuration_digest: str = "",
    data_digest: str = "",
    order: tuple[Tested, ...] = (),
) -> Certificate:
    """Says why nothing is certified; the seal stayed closed."""
    return Certificate(
        status="uncertified",
        reason=reason,
        claims=(),
        procedure="No sealed row was opened: nothing about quality is certified.",
        subject=None,
        order=order,
        config_digest=configuration_digest,
        data_digest=data_digest,
        order_digest="",
        ledger=None,
    )


def _not_opened(
    request: CertificationRequest, plan: CertificationPlan, reason: str
) -> CertificationResult:
    order = tuple(Tested(place.recipe, place.title, "not tested") for place in plan.order)
    certificate = uncertified_certificate(
        reason, request.configuration_digest, request.certification.digest, order
    )
    return CertificationResult(certificate, None, "", plan)


def _rules(request: CertificationRequest, plan: CertificationPlan) -> Rules:
    metrics = [requirement.metric for requirement in request.requirements]
    groups = [part for part in plan.parts if part.group != OVERALL]
    variants = _variants(request)
    return Rules(
        requirements=request.requirements,
        metrics={
            name: MetricFacts.of(registry.get("metrics", name))
            for name in (*metrics, *request.reported)
        },
        gating={m: tuple(p.group for p in groups if p.metric == m and p.gates) for m in metrics},
        listed={m: tuple(p.group for p in groups if p.metric == m and p.listed) for m in metrics},
        on_undecided=request.on_undecided,
        baseline=_member("", request.baseline),
        members=tuple(_member(place.recipe, variants[place.recipe]) for place in plan.order),
        reported=tuple(name for name in request.reported if name not in metrics),
        share=request.looks[plan.look - 1],
    )


def _member(recipe: str, variant: Variant) -> Member:
    """Describes a variant, and checks that its files are the ones that were described."""
    artifact = variant.model.artifact
    try:
        found = Artifact.of(artifact.format, artifact.folder, artifact.files).digest
    except OSError as error:
        raise CheckFailed(f"the model {artifact.path} can't be read: {error}") from error
    if found != artifact.digest:
        raise CheckFailed(f"the model {artifact.path} was changed after it was measured")
    encoder = variant.model.encoder.digest
    return Member(recipe, artifact.digest, encoder, str(variant.runtime), variant.one_by_one)


def _variants(request: CertificationRequest) -> dict[str, Variant]:
    return {c.recipe: c.variant for c in request.contenders}


def _certificate(
    request: CertificationRequest,
    conclusion: Conclusion,
    alone: Mapping[str, bool],
    look: Look,
    order_digest: str,
) -> Certificate:
    shipped = conclusion.shipped
    claims = next((t.claims for t in conclusion.tested if t.recipe == shipped), ())
    reason = conclusion.reason
    if conclusion.listed:
        reason = f"listed as not certified: {', '.join(conclusion.listed)}"
    return Certificate(
        status="certified" if shipped is not None else "failed",
        reason=reason,
        claims=claims,
        procedure=procedure(
            request.requirements, len(conclusion.tested), request.on_undecided, look
        ),
        subject=None if shipped is None else _subject(request, shipped, alone[shipped]),
        order=conclusion.tested,
        config_digest=request.configuration_digest,
        data_digest=request.certification.digest,
        order_digest=order_digest,
        ledger=LedgerPosition(
            str(Ledger.at(request.ledger).path), look.number, look.entry, look.alpha, look.looks
        ),
        assumptions=ASSUMPTIONS,
    )


def _subject(request: CertificationRequest, recipe: str, alone: bool) -> Subject:
    variant = _variants(request)[recipe]
    return Subject(
        artifact=variant.model.artifact.digest,
        encoder=variant.model.encoder.digest,
        recipe=recipe,
        runtime=str(variant.runtime),
        threads=request.serving.threads,
        batch_size=1 if alone else max(request.serving.batch_sizes),
        batch_policy=BATCH_ONE if alone else ANY_BATCH,
        cpu_class=machine.describe_device().cpu_class,
        accelerator=accelerators.computed_on(registry.get("runtimes", variant.runtime.name)),
    )
