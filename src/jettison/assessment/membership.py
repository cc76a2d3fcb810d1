"""Does the compressed model tell more about who was in the training data than the original did?

A membership attack by a threshold on the loss (Yeom et al. 2018): rows on which a model does well
are guessed to be members. It is the weakest attack of all, so a figure near 0.5 is no proof of
privacy; what is compared is the same attack on both models, on the same rows.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.assessment.model_rows import RowsAtHand, RowWishes, read_rows
from jettison.assessment.subjects import RELEASE, SHIPPED, hidden_rows, original_of, roles_of
from jettison.domain.configuration import DataSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.rows import Array
from jettison.errors import DataError, UsageError
from jettison.numerics.predictions import class_probabilities
from jettison.pipeline import measure
from jettison.pipeline.verify import open_for_serving
from jettison.statistics.intervals import Interval, clopper_pearson_interval
from jettison.statistics.paired_auc import FEWEST, Area, paired_areas
from jettison.trust.bundle_layout import MANIFEST

SMALLEST = 1e-12
"""Floor of a probability: no loss is infinite."""

FALSE_ALARMS = 0.01
"""Share of non-members that may be taken for members: an attacker wants to be sure
(Carlini et al. 2022)."""


@dataclass(frozen=True, slots=True)
class Attack:
    """The attack on one model.

    Attributes:
        model: `original` or `shipped`.
        area: under the ROC curve; 0.5 is a coin.
        caught: share of members found at `FALSE_ALARMS`, with its interval.
    """

    model: str
    area: Area
    caught: Interval


@dataclass(frozen=True, slots=True)
class Leak:
    """Both attacks on the same rows.

    Attributes:
        members, non_members: rows of each.
        original, shipped: the attacks.
        difference: of the areas, shipped minus original.
        notes: rows that were left out, and why.
    """

    members: int
    non_members: int
    original: Attack
    shipped: Attack
    difference: Area
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What the difference says, in one sentence."""
        if self.difference.low > 0:
            return "The shipped model tells more about membership than the original."
        if self.difference.high < 0:
            return "The shipped model tells less about membership than the original."
        return "No difference in what the two tell about membership is shown."


def leak(folder: Path, members: Path, non_members: Path, data: DataSection) -> Leak:
    """Attacks the original and what ships of a run, on rows that the user knows to be (non-)members.

    Args:
        folder: of the run, or of its bundle while the original still lies where it lay.
        members: rows that the original was trained on.
        non_members: rows of the same kind that it was not trained on.
        data: roles of the columns; those of the run where it names none.

    Raises:
        UsageError: if nothing shipped, or the original is gone.
        DataError: for rows without labels, or too few of them.
        CheckFailed: if the bundle is not what it says.
    """
    bundle = folder if (folder / MANIFEST).exists() else folder / RELEASE
    if not (bundle / MANIFEST).exists():
        raise UsageError(f"{folder} holds no bundle: nothing shipped, or it is no run")
    opened = open_for_serving(bundle)
    original, notes = original_of(opened.record)
    if original is None:
        raise UsageError(f"{notes[0]} Without it there is nothing to compare with")
    served = opened.served
    variants = (original, Variant(SHIPPED, served.model, served.runtime, served.one_by_one))
    roles = roles_of(opened.record.configuration.data, data)
    hidden = hidden_rows(bundle.parent, opened.record.configuration.ledger)
    losses: list[Array] = []
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="jettison-leak-") as place:
        for name, file in (("members", members), ("non-members", non_members)):
            work = Path(place) / name
            wishes = RowWishes(dataclasses.replace(roles, source=str(file), groups=(), unit=""))
            at_hand = read_rows(wishes, original.model, work / "data", hidden)
            told += [f"{name}: {note}" for note in at_hand.notes]
            losses.append(_losses(variants, at_hand, served.serving, work))
    return compared(losses[0], losses[1], tuple(told))


def compared(members: Array, non_members: Array, notes: tuple[str, ...] = ()) -> Leak:
    """Compares the attacks from losses.

    Args:
        members: losses of the original and of what ships, shape (2, m).
        non_members: shape (2, n).
        notes: to pass on.

    Raises:
        DataError: for fewer than 30 rows of a kind.
    """
    m, n = members.shape[1], non_members.shape[1]
    if min(m, n) < FEWEST:
        raise DataError(
            f"an attack needs at least {FEWEST} members and as many non-members; got {m} and {n}"
        )
    areas = paired_areas(-members, -non_members)
    return Leak(
        m,
        n,
        Attack("original", areas.first, _caught(members[0], non_members[0])),
        Attack(SHIPPED, areas.second, _caught(members[1], non_members[1])),
        areas.difference,
        notes,
    )


def _caught(members: Array, non_members: Array) -> Interval:
    """Members below the loss that at most 1 % of the non-members stay below."""
    allowed = int(FALSE_ALARMS * len(non_members))
    threshold = np.sort(non_members)[allowed]
    return clopper_pearson_interval(int((members < threshold).sum()), len(members))


def _losses(
    variants: Sequence[Variant], at_hand: RowsAtHand, serving: ServingProfile, work: Path
) -> Array:
    """The loss of each row under each model, shape (2, n); models run in workers."""
    targets = at_hand.people.targets
    if targets is None:
        raise DataError("a loss needs right answers: name their column with --target")
    found: list[Array] = []
    reference: Array | None = None
    with measure.Sessions(at_hand.rows, serving, work / "workers") as workers:
        for variant in variants:
            outputs = measure.score_rows(variant, at_hand.rows, workers, work / variant.name)
            output = np.asarray(outputs[variant.model.prediction])
            reference = output if reference is None else reference
            workers.end(variant)
            if at_hand.people.task == "regression":
                found.append((output.reshape(-1).astype(np.float64) - targets) ** 2)
                continue
            scores = class_probabilities(output, reference).astype(np.float64)
            right = scores[np.arange(len(targets)), targets]
            found.append(-np.log(np.maximum(np.nan_to_num(right), SMALLEST)))
    return np.stack(found)
