"""Certification of rows without labels: a person labels only those on which the models differ.

Where every possible label gives the original and a candidate the same part in a metric, the paired
difference of that row is exactly 0, whoever is right; so the tests need no label there, and give
the same claims as if all rows had one (CERTIFICATION section 1, point 7).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jettison import registry
from jettison.domain.certificate import Requirement
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Evidence, Outputs, QualityMetric
from jettison.domain.files import write_atomically
from jettison.domain.jobs import Variant
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import CertificationSet
from jettison.errors import DataError, UsageError
from jettison.trust.shortlisting import CertificationPlan, CertificationRequest, Contender

PENDING = "pending.json"
UNLABELLED = "its sealed rows have no labels yet"
"""Why a run whose rows wait for labels is not certified; the next step hangs on it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A certification that waits for labels; all of it was fixed before any sealed row was seen.

    Attributes:
        baseline, contenders, certification, requirements, configuration_digest, serving, ledger,
            folder, on_undecided: as in `CertificationRequest`.
        plan: the order of testing and what can pass.
        fitting: rows with which the bundle is probed.
    """

    baseline: Variant
    contenders: tuple[Contender, ...]
    certification: CertificationSet
    requirements: tuple[Requirement, ...]
    configuration_digest: str
    serving: ServingProfile
    ledger: str
    folder: str
    on_undecided: Literal["fail", "ship_listed"]
    plan: CertificationPlan
    fitting: Rows

    def request(self) -> CertificationRequest:
        """The request as certification takes it; the order is that of `plan`."""
        return CertificationRequest(
            baseline=self.baseline,
            baseline_contributions={},
            contenders=self.contenders,
            selection=None,
            certification=self.certification,
            requirements=self.requirements,
            configuration_digest=self.configuration_digest,
            serving=self.serving,
            ledger=self.ledger,
            folder=self.folder,
            on_undecided=self.on_undecided,
        )


def labelling_obstacle(
    metric: QualityMetric,
    *,
    labelled_selection: bool,
    contexts: bool,
    looks: int,
    report: tuple[str, ...] = (),
) -> str:
    """Says why a metric can't be certified on rows that a person labels later; empty if it can."""
    if not labelled_selection:
        return (
            f"`{metric.name}` needs labels, and the data has none; name the column of the "
            "right answers with `target`, or require `agreement` with the original"
        )
    if metric.kind not in ("binary", "bounded_mean") or "classification" not in metric.tasks:
        return (
            f"`{metric.name}` is not a sum of parts of single rows under one label each, so it "
            "can't be certified with labels for a few rows only: give the certification rows "
            "targets, or require `accuracy` or `agreement`"
        )
    if contexts:
        return (
            "rows in contexts can't be labelled afterwards: give the certification rows targets, "
            "or leave `contexts` out"
        )
    if looks > 1:
        return (
            "several looks say no more than yes or no, but whoever labels rows has seen them: give "
            "the certification rows targets, or set looks = 1"
        )
    if report:
        return (
            f"`{report[0]}` in `report` can't be shown for rows of which a person labels a few "
            "only: give the certification rows targets, or leave `report` out"
        )
    return ""


def awaits_labels(request: CertificationRequest) -> bool:
    """Whether a requirement needs labels that the sealed rows don't have."""
    metrics = [registry.get("metrics", r.metric) for r in request.requirements]
    return not request.certification.labelled and any(m.needs_targets for m in metrics)


def as_labelled(request: CertificationRequest) -> CertificationRequest:
    """The same request, planned as if the rows had the labels that they will get."""
    certification = dataclasses.replace(request.certification, labelled=True)
    return dataclasses.replace(request, certification=certification)


def save_pending(request: CertificationRequest, plan: CertificationPlan, fitting: Rows) -> Path:
    """Writes what `jettison label` will need into the folder of the certification."""
    kept = {
        field.name: getattr(request, field.name)
        for field in dataclasses.fields(request)
        if field.name in Pending.__dataclass_fields__
    }
    chosen = {place.recipe for place in plan.order}
    kept["contenders"] = tuple(
        dataclasses.replace(c, contributions={}) for c in request.contenders if c.recipe in chosen
    )
    pending = Pending(**kept, plan=plan, fitting=fitting)
    folder = Path(request.folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PENDING, to_json(pending, indent=1))
    return folder / PENDING


def load_pending(folder: Path) -> Pending:
    """Reads what waits for labels in the folder of a certification.

    Raises:
        UsageError: if nothing does.
    """
    try:
        return from_json(Pending, (folder / PENDING).read_bytes())
    except OSError as error:
        raise UsageError(
            f"nothing in {folder.parent.parent} waits for labels: `jettison label` is for a run "
            "whose certification file has no target column, and that found something faster "
            f"({error})"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{folder / PENDING} can't be read by this version ({str(error)[:200]}); run "
            "`jettison optimize` again"
        ) from error


def class_count(outputs: Array, labels: tuple[str, ...]) -> int:
    """How many classes a person may choose from.

    Args:
        outputs: of the original, shape (n, k), (n, 1) or (n,).
        labels: names of the classes; may be empty.
    """
    if outputs.dtype.kind == "f":
        return max(2, outputs.shape[1] if outputs.ndim == 2 else 1)
    if labels:
        return len(labels)
    if outputs.dtype.kind in "iub":
        return max(2, int(outputs.max(initial=1)) + 1)
    raise DataError("the model answers with class names, but its class names are not known")


def rows_to_label(
    request: CertificationRequest, reference: Outputs, answers: Mapping[str, Outputs], n: int
) -> Array:
    """Finds the rows whose label matters, shape (n,) of bool.

    A row needs none if for every class the original and each candidate would have the same part
    in every metric; this asks the metrics themselves, and so holds for any of them.

    Args:
        request: requirements and models.
        reference: outputs of the original.
        answers: recipe -> outputs, of every candidate that could be run.
        n: rows.
    """
    matters = np.zeros(n, dtype=bool)
    labels = request.baseline.model.encoder.labels
    name = request.baseline.model.prediction
    classes = class_count(np.asarray(reference[name]), labels)
    metrics = [registry.get("metrics", r.metric) for r in request.requirements]
    needing = [metric for metric in metrics if metric.needs_targets]
    original = Evidence(None, reference, reference, name, labels)
    for contender in request.contenders:
        if contender.recipe not in answers:
            continue
        own = contender.variant.model.prediction
        same_name = {**reference, own: reference[name]}
        candidate = Evidence(None, answers[contender.recipe], same_name, own, labels)
        for metric in needing:
            for one, other in _parts(metric, original, candidate, classes, n):
                matters |= ~((one == other) | (np.isnan(one) & np.isnan(other)))
    return matters


def _parts(
    metric: QualityMetric, original: Evidence, candidate: Evidence, classes: int, n: int
) -> Iterator[tuple[Array, Array]]:
    """Both models' parts, shape (n,), as if all rows were of one class, for each class."""
    for target in range(classes):
        targets = np.full(n, target, dtype=np.int64)
        one = metric.score(dataclasses.replace(original, targets=targets)).contributions
        other = metric.score(dataclasses.replace(candidate, targets=targets)).contributions
        yield np.asarray(one, np.float64), np.asarray(other, np.float64)
