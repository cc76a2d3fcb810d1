"""Does the compressed model tell more about who was in the training data than the original did?

A membership attack by a threshold on the loss (Yeom et al. 2018): rows on which a model does well
are guessed to be members. It is the weakest attack of all, so a figure near 0.5 is no proof of
privacy; what is compared is the same attack on both models, on the same rows. Where reference models
are at hand, each row is judged by how much better than they the model does on it: the offline
likelihood-ratio attack with one variance for all rows (Carlini et al. 2022, "Membership Inference
Attacks From First Principles", sections 5.2 and 6.3: with few reference models one variance is better
than one a row, and then it orders nothing).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.assessment.answers import finite_values
from jettison.assessment.model_rows import encode_file
from jettison.assessment.subjects import RELEASE, SHIPPED, hidden_of, original_of, roles_of
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Rows
from jettison.domain.run import RunRecord
from jettison.errors import DataError, UsageError
from jettison.numerics.predictions import class_probabilities
from jettison.pipeline import measure
from jettison.pipeline.load import load_model
from jettison.pipeline.split.labelling import label_rows
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
        calibrated: the stronger attack against reference models, on the same rows; `None` without.
        references: models that it compares with.
    """

    members: int
    non_members: int
    original: Attack
    shipped: Attack
    difference: Area
    notes: tuple[str, ...] = ()
    calibrated: Leak | None = None
    references: int = 0

    @property
    def verdict(self) -> str:
        """What the difference says, in one sentence."""
        if self.difference.low > 0:
            return "The shipped model tells more about membership than the original."
        if self.difference.high < 0:
            return "The shipped model tells less about membership than the original."
        return "No difference in what the two tell about membership is shown."


def leak(
    folder: Path,
    members: Path,
    non_members: Path,
    data: DataSection,
    references: Sequence[Path] = (),
) -> Leak:
    """Attacks the original and what ships of a run, on rows that the user knows to be (non-)members.

    Args:
        folder: of the run, or of its bundle while the original still lies where it lay.
        members: rows that the original was trained on.
        non_members: rows of the same kind that it was not trained on.
        data: roles of the columns; those of the run where it names none.
        references: models of the same task and inputs that saw neither members nor non-members.

    Raises:
        UsageError: if nothing shipped, the original is gone, or a reference has other inputs.
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
    hidden, unknown = hidden_of(bundle, opened.record)
    losses: list[Array] = []
    compared_with: list[Array] = []
    told: list[str] = [*unknown]
    with tempfile.TemporaryDirectory(prefix="jettison-leak-") as place:
        others = [
            _reference(_source(path, opened.record), variants, Path(place) / f"reference-{number}")
            for number, path in enumerate(references)
        ]
        for name, file in (("members", members), ("non-members", non_members)):
            work = Path(place) / name
            section = dataclasses.replace(roles, source=str(file), groups=(), unit="", weight="")
            encoded = encode_file(section, original.model, work / "data", hidden)
            told += [f"{name}: {note}" for note in encoded.notes]
            targets = label_rows(encoded.table, section, original.model, str(file)).targets
            if targets is None:
                raise DataError("a loss needs right answers: name their column with --target")
            with measure.Sessions(encoded.rows, served.serving, work / "workers") as workers:
                outputs = [
                    _output(v, encoded.rows, workers, work / v.name) for v in (*variants, *others)
                ]
            task = original.model.task
            losses.append(losses_of(outputs[:2], targets, task))
            compared_with.append(_stacked([losses_of([o], targets, task) for o in outputs[2:]]))
    found = compared(losses[0], losses[1], tuple(told))
    if not others:
        return found
    scores = [
        calibrated(own, those, original.model.task) for own, those in zip(losses, compared_with)
    ]
    return dataclasses.replace(
        found, calibrated=compared(-scores[0], -scores[1]), references=len(others)
    )


def _stacked(losses: Sequence[Array]) -> Array:
    return np.concatenate(losses) if losses else np.zeros((0, 0))


def _source(path: Path, record: RunRecord) -> ModelSection:
    """A reference is read as the original was: the same task, from the output that the run named."""
    named = record.configuration.model.prediction
    return ModelSection(str(path), task=record.model.task, prediction=named)


def _reference(section: ModelSection, variants: Sequence[Variant], folder: Path) -> Variant:
    """Loads a reference model, and checks that it answers the same question."""
    path, original = Path(section.source), variants[0].model
    model = load_model(section, folder)
    if any(model.artifact.digest == one.model.artifact.digest for one in variants):
        raise UsageError(f"the reference {path} is one of the models that are attacked")
    check_reference(path, model, original)
    runtime = Step(registry.home_runtime(model.traits).name)
    return Variant(folder.name, model, runtime, "fixed-batch" in model.traits)


def check_reference(path: Path, model: Model, original: Model) -> None:
    """Refuses a reference whose answers can't be read as the original's are.

    Raises:
        UsageError: for other inputs or outputs, or the same classes in another order.
    """
    for name in ("inputs", "outputs"):
        wanted, there = (
            [(spec.name, spec.dtype, spec.shape[1:]) for spec in getattr(one, name)]
            for one in (original, model)
        )
        if wanted != there:
            raise UsageError(
                f"the reference {path} has the {name} {there}; the original has {wanted}: a reference is "
                "trained as the original was, on other rows"
            )
    classes, wanted_classes = model.encoder.labels, original.encoder.labels
    if classes and wanted_classes and classes != wanted_classes:
        raise UsageError(
            f"the reference {path} scores the classes {', '.join(classes)}; the original, in this order, "
            f"{', '.join(wanted_classes)}: the right class of a row would be another one's score"
        )


def calibrated(losses: Array, references: Array, task: str) -> Array:
    """How much surer of the right answer a model is than the reference models are, row by row.

    Args:
        losses: of the models that are attacked, shape (models, n).
        references: of models that did not see these rows, shape (references, n).
        task: `classification` (log odds of the right class) or `regression` (minus the error).

    Returns:
        Shape (models, n); the larger, the likelier a member.
    """
    surer: Array = confidence_of(losses, task) - confidence_of(references, task).mean(axis=0)
    return surer


def confidence_of(losses: Array, task: str) -> Array:
    """A quantity whose spread over models is about normal: the log odds of the right class.

    Carlini et al. 2022, equation 6; of values, minus the root of the squared error.
    """
    if task == "regression":
        return -np.sqrt(losses)
    kept = np.maximum(losses, SMALLEST)
    odds: Array = -kept - np.log(-np.expm1(-kept))
    return odds


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


def _output(variant: Variant, rows: Rows, workers: measure.Sessions, folder: Path) -> Array:
    found = measure.score_rows(variant, rows, workers, folder)
    workers.end(variant)
    return np.array(found[variant.model.prediction])


def losses_of(outputs: Sequence[Array], targets: Array, task: str) -> Array:
    """The loss of each row under each model, shape (models, n); the first output is the original's.

    Cross entropy in nats for classes, the squared error for values.

    Raises:
        DataError: for values that are no numbers, or several a row.
    """
    if task == "regression":
        return np.stack([(finite_values(o, "a model") - targets) ** 2 for o in outputs])
    rows = np.arange(len(targets))
    right = [class_probabilities(o, outputs[0])[rows, targets] for o in outputs]
    floored = np.maximum(np.nan_to_num(np.stack(right).astype(np.float64)), SMALLEST)
    losses: Array = -np.log(floored)
    return losses
