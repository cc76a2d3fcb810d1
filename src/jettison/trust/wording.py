"""What a certificate says in words: the procedure, and what must be true for it to hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from jettison.domain.certificate import Certificate, Requirement, Tested
from jettison.trust.ledger import Look
from jettison.trust.shortlisting import CertificationPlan

ANY_BATCH = "any batch size of the serving profile"
BATCH_ONE = "batch size 1 only"
"""The two batch policies of a certificate."""

TAKEN_UP = (
    "The run before ended between its certificate and its bundle: the certificate is taken up as it "
    "was recorded, and no sealed row is looked at again."
)
"""What a run says that finishes such a one."""

ASSUMPTIONS = (
    "The sealed rows are an independent sample, by the declared unit, of the data that the model "
    "will meet; a shift between them and deployment voids the error rate.",
    "The unit was declared rightly: rows of one author, patient or document that count as "
    "independent make false certificates more frequent.",
    "No sealed row was part of the data that the original was trained, pre-trained or distilled "
    "on.",
    "Neither the candidates nor the order of testing used the sealed rows.",
    "Inference is deterministic on the CPU class, runtime and batch policy named here; the "
    "exported file itself was tested in its runtime.",
    "Margins and groups were fixed before opening; the digests of the configuration and the order "
    "show it.",
    "The error rate is that of one ledger, not of a whole company.",
    "The claims compare with the original: they do not say that the original is right or fair.",
)


def procedure(
    requirements: Sequence[Requirement],
    tested: int,
    on_undecided: Literal["fail", "ship_listed"],
    look: Look | None = None,
) -> str:
    """Describes the procedure in one paragraph."""
    share = 1.0 if look is None else look.alpha / max(r.alpha for r in requirements)
    levels = ", ".join(f"{share * r.alpha:g} ({r.metric})" for r in requirements)
    candidates = "1 candidate was" if tested == 1 else f"{tested} candidates were"
    text = (
        f"{candidates} put in a fixed order on other rows; then the sealed rows were opened once, "
        "and each was tested in turn until one was not held. A candidate is held if the drop of "
        "every required metric is shown to be below its margin on all rows and in every group that "
        f"gates, each at the full error rate of {levels} (intersection-union, fixed sequence). "
        "The last one held ships."
    )
    if on_undecided == "ship_listed":
        text += (
            " A group that is undecided does not stop the release: it is listed as not certified, "
            "and of the others those that fail Holm's step-down over all groups that gate."
        )
    if look is not None and look.looks > 1:
        text += (
            f" This was look {look.number} of {look.looks} that were declared before the first; "
            "the error rates of all of them add up to at most the one asked for, and looks before "
            "this one told nothing but «no»."
        )
    return text


def one_bit(certificate: Certificate, plan: CertificationPlan, look: Look) -> Certificate:
    """What a failed look may tell where further looks were declared: «no», and the plan.

    The plan was made from selection rows before opening, so it tells nothing about sealed rows.
    """
    needs = "; ".join(
        f"{part.metric} of {part.group} holds {part.held:,} {part.counted} and needs about "
        f"{part.needed:,}"
        for part in plan.parts
        if part.gates and part.needed is not None
    )
    left = look.looks - look.number
    reason = f"look {look.number} of {look.looks} says no, and no more: {left} left"
    if needs:
        reason += f" (as planned from selection rows: {needs})"
    return dataclasses.replace(
        certificate,
        reason=reason,
        claims=(),
        subject=None,
        order=tuple(Tested(place.recipe, place.title, "withheld") for place in plan.order),
    )
