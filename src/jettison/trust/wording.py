"""What a certificate says in words: the procedure, and what must be true for it to hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jettison.domain.certificate import Requirement

ANY_BATCH = "any batch size of the serving profile"
BATCH_ONE = "batch size 1 only"
"""The two batch policies of a certificate."""

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
) -> str:
    """Describes the procedure in one paragraph."""
    levels = ", ".join(f"{r.alpha:g} ({r.metric})" for r in requirements)
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
            " A group that is undecided does not stop the release: it is listed as not certified."
        )
    return text
