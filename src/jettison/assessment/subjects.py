"""What is assessed: a model that was never compressed, or the original and what ships of a run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.assessment.answers import ModelAnswers, finite_values
from jettison.assessment.assessing import Told, assess
from jettison.assessment.data_checks import questions_about
from jettison.assessment.figures import Wishes
from jettison.assessment.model_rows import RowsAtHand, RowWishes, people_of, read_rows
from jettison.assessment.people import People
from jettison.assessment.predictions_file import PredictionColumns, read_predictions
from jettison.domain.assessment import Assessment
from jettison.domain.configuration import Configuration, DataSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.recipe import Step
from jettison.domain.rows import Array
from jettison.domain.run import RunRecord
from jettison.errors import DataError, ModelError, UsageError
from jettison.numerics.predictions import class_probabilities, predicted_classes
from jettison.pipeline import load, measure, split
from jettison.pipeline.split.labelling import group_columns
from jettison.pipeline.split.reading import read_file
from jettison.pipeline.verify import open_for_serving
from jettison.trust.bundle_layout import MANIFEST
from jettison.trust.ledger import Ledger
from jettison.trust.row_sets import RowSet, unpack

AT_ONCE = 64
"""Rows of a call, of a model that no serving profile stands for."""

RELEASE = "release"
USUAL_RUN = "jettison-run"
"""Where `jettison optimize` puts a run that names no folder."""

SEALS_UNKNOWN = "Whether any row lies under an unopened seal is not known here."
SEALED_ROW_SET = "work/data/sealed/row_set.npy"

ORIGINAL, SHIPPED = "original", "shipped"


@dataclass(frozen=True, slots=True)
class Request:
    """What to assess besides the model.

    Attributes:
        wishes: how.
        crossings: of groups, such as `("sex", "race")`.
        positive: class that is the selection.
        population: group -> share in the population.
        command, created: for the record.
        runs: folders of further runs whose unopened seals hide rows.
    """

    wishes: Wishes = field(default_factory=Wishes)
    crossings: tuple[tuple[str, ...], ...] = ()
    positive: str = ""
    population: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    created: str = ""
    runs: tuple[Path, ...] = ()


def assess_predictions(path: Path, columns: PredictionColumns, request: Request) -> Assessment:
    """Assesses a file of predictions; no model is loaded.

    Raises:
        DataError: for anything in the file that can't be used.
        UsageError: for limits that can't be met together.
    """
    table = read_file(str(path), "predictions")
    people, answers = read_predictions(table, columns, str(path))
    named = (columns.score, columns.decision, columns.data.target, columns.data.weight)
    grouped = group_columns(columns.data.groups, table.columns)
    apart = {*named, *grouped, columns.data.unit}
    inputs = {name: values for name, values in table.columns.items() if name not in apart}
    questions = questions_about(people, inputs, request.population, answers)
    told = Told(
        str(path),
        f"all {people.n:,} rows of {path}",
        (),
        questions,
        request.command,
        request.created,
    )
    return assess(people, (answers,), request.wishes, told)


def assess_model(configuration: Configuration, request: Request) -> Assessment:
    """Loads a model in a worker, lets it answer the rows of its data, and assesses the answers.

    The file is read whole, except for rows under an unopened seal of the runs that are known here:
    the configuration's own, the one in the usual folder, and those of the request.

    Raises:
        DataError, ModelError, UsageError: for what can't be used.
        CandidateFailed: if the model can't be run.
    """
    section = configuration.data
    if not section.source:
        raise UsageError("an assessment needs rows: name one file with --data (`data.source`)")
    with tempfile.TemporaryDirectory(prefix="jettison-assess-") as place:
        folder = Path(place)
        model = load.load_model(configuration.model, folder / "model", None, configuration.sections)
        check_runs(request.runs)
        runs = (Path(configuration.output), Path(USUAL_RUN), *request.runs)
        hidden = hidden_rows(runs, configuration.ledger)
        wishes = RowWishes(section, request.crossings, request.positive)
        at_hand = read_rows(wishes, model, folder / "data", hidden)
        home = registry.home_runtime(model.traits)
        alone = "fixed-batch" in model.traits
        variant = Variant(ORIGINAL, model, Step(home.name), alone)
        serving = dataclasses.replace(configuration.serving, batch_sizes=(AT_ONCE,), weights=(1.0,))
        answers = _answers((variant,), at_hand, serving, folder)
        subject = configuration.model.source
        where = f"{at_hand.people.n:,} rows of {section.source}"
        return _assessment(answers, at_hand, (subject, where), request)


def assess_run(folder: Path, data: DataSection | None, request: Request) -> Assessment:
    """Assesses the original and what ships of a run, or of a bundle, on the same rows.

    Rows are the caller's own, without any under the run's unopened seal; or else the selection
    rows of the run. No seal is opened.

    Args:
        folder: of the run, or of its bundle.
        data: own rows; roles that it leaves empty are those of the run. `None` for the selection
            rows.
        request: how to assess.

    Raises:
        UsageError: if nothing shipped.
        CheckFailed: if the bundle is not what it says.
    """
    bundle = folder if (folder / MANIFEST).exists() else folder / RELEASE
    if not (bundle / MANIFEST).exists():
        raise UsageError(
            f"{folder} holds no bundle: nothing shipped, or it is no run; assess the model itself "
            "(jettison assess MODEL --data ...)"
        )
    opened = open_for_serving(bundle)
    record = opened.record
    shipped = Variant(SHIPPED, opened.served.model, opened.served.runtime, opened.served.one_by_one)
    original, notes = original_of(record)
    variants = (shipped,) if original is None else (original, shipped)
    roles = roles_of(record.configuration.data, data)
    wishes = RowWishes(roles, request.crossings, request.positive)
    with tempfile.TemporaryDirectory(prefix="jettison-assess-") as place:
        work = Path(place)
        if data is None:
            at_hand = _selection_rows(wishes, record, work)
            where = f"{at_hand.people.n:,} selection rows of the run"
        else:
            check_runs(request.runs)
            hidden, unknown = hidden_of(bundle, record, request.runs)
            notes = (*notes, *unknown)
            at_hand = read_rows(wishes, variants[0].model, work / "data", hidden)
            where = f"{at_hand.people.n:,} rows of {roles.source}"
        at_hand = dataclasses.replace(at_hand, notes=(*notes, *at_hand.notes))
        answers = _answers(variants, at_hand, opened.served.serving, work)
        return _assessment(answers, at_hand, (str(folder), where), request)


def check_runs(runs: Sequence[Path]) -> None:
    """Refuses folders without a seal: nothing would be hidden, against what the user expects.

    Raises:
        UsageError: naming the folder.
    """
    for run in runs:
        if not (run / SEALED_ROW_SET).exists():
            raise UsageError(
                f"`--run {run}` is no folder of a run with sealed rows ({SEALED_ROW_SET} is "
                "missing); name the folder that `jettison optimize` made, or leave it out"
            )


def hidden_of(
    bundle: Path, record: RunRecord, others: Sequence[Path] = ()
) -> tuple[RowSet | None, tuple[str, ...]]:
    """Rows that the run of a bundle still keeps sealed, and a note where that can't be known.

    A bundle may be copied away from its run: the seal is looked for beside it, and where its run
    was made.

    Raises:
        CheckFailed: if the ledger can't be read.
    """
    runs = (bundle.resolve().parent, Path(record.configuration.output), *others)
    hidden = hidden_rows(runs, record.configuration.ledger)
    look, data = record.certificate.ledger, record.data
    sealed = data is not None and data.rows.get("certification", 0) > 0
    spent = look is not None and look.looks == 1
    if not sealed or spent or any((run / SEALED_ROW_SET).exists() for run in runs):
        return hidden, ()
    return hidden, (SEALS_UNKNOWN,)


def hidden_rows(runs: Sequence[Path], ledger: str) -> RowSet | None:
    """The rows under the seals of runs, as long as they may still certify something.

    That is while no look at them was charged, and under a plan of several looks until they were
    revealed. `None` where all rows may be used, as far as these folders tell.

    Raises:
        CheckFailed: if the ledger can't be read.
    """
    seals = [run / SEALED_ROW_SET for run in dict.fromkeys(runs)]
    sets = [unpack(path.read_bytes()) for path in seals if path.exists()]
    unspent = [rows.ravel() for rows in sets if not _spent(rows, Ledger.at(ledger))]
    return np.unique(np.concatenate(unspent)) if unspent else None


def _spent(rows: RowSet, book: Ledger) -> bool:
    looks = book.looks_at(rows)
    told = {entry.look for entry in book.entries() if entry.kind == "revealed"}
    several = any(len(str(look.facts.get("plan", "")).split()) > 1 for look in looks)
    return bool(looks) and (not several or any(look.digest in told for look in looks))


def original_of(record: RunRecord) -> tuple[Variant | None, tuple[str, ...]]:
    """The untouched model, if its files still lie where the run left them."""
    model = record.model
    try:
        model.artifact.whole_path()
    except ModelError as error:
        note = f"The original could not be assessed beside what ships: {error}."
        return None, (note,)
    home = registry.home_runtime(model.traits)
    alone = "fixed-batch" in model.traits
    return Variant(ORIGINAL, model, Step(home.name), alone), ()


def roles_of(run: DataSection, own: DataSection | None) -> DataSection:
    """The caller's file and roles; those of the run where the caller named none.

    Nothing typed takes back the consent that the run asked for: other rows of these people need it
    as well.
    """
    if own is None:
        return run
    given = {
        name: getattr(own, name) or getattr(run, name)
        for name in ("inputs", "target", "groups", "unit", "weight", "consent")
    }
    return DataSection(source=own.source, seed=run.seed, **given)


def _selection_rows(wishes: RowWishes, record: RunRecord, work: Path) -> RowsAtHand:
    """Divides the run's data again, in the same way, and takes what its search could see."""
    section = record.configuration.data
    if not (section.source or section.selection):
        raise UsageError(
            "the rows of this run were given in Python and are not at hand; name a file with --data"
        )
    splits = split.load_data(section, record.model, work / "data")
    if splits.selection is None:
        raise DataError("this run had no data; name a file with --data")
    labels = splits.selection.labels
    if not labels.groups:
        raise DataError(
            "this run declared no groups; name a file with --data, and its groups with --group"
        )
    people = people_of(wishes, record.model, labels, dict(labels.groups))
    note = (
        "These are the selection rows: the search looked at them, so figures of what ships are a "
        "little flattered. Own rows (--data) are not."
    )
    return RowsAtHand(splits.selection.rows, people, {}, (note,))


def _answers(
    variants: Sequence[Variant], at_hand: RowsAtHand, serving: ServingProfile, folder: Path
) -> tuple[ModelAnswers, ...]:
    """Lets each model answer all rows in a worker of its own; row by row where company matters."""
    found: list[ModelAnswers] = []
    reference: Array | None = None
    with measure.Sessions(at_hand.rows, serving, folder / "workers") as workers:
        for variant in variants:
            if not variant.one_by_one and workers.of(variant).ready.batch_dependent:
                workers.end(variant)
                variant = dataclasses.replace(variant, one_by_one=True)
            outputs = measure.score_rows(variant, at_hand.rows, workers, folder / variant.name)
            output = np.asarray(outputs[variant.model.prediction])
            workers.end(variant)
            reference = output if reference is None else reference
            found.append(_read(variant, output, reference, at_hand.people))
    return tuple(found)


def _read(variant: Variant, output: Array, reference: Array, people: People) -> ModelAnswers:
    """Decisions and probabilities, or values, read for both models as the first one's form says."""
    if people.task == "regression":
        return ModelAnswers(variant.name, values=finite_values(output, f"the {variant.name} model"))
    labels: Sequence[str] = variant.model.encoder.labels
    decisions = predicted_classes(output, reference, labels)
    scores = None
    if output.dtype.kind == "f":
        found = class_probabilities(output, reference)
        if np.isfinite(found).all():
            scores = np.clip(found.astype(np.float64), 0.0, 1.0)
    return ModelAnswers(variant.name, decisions, scores)


def _assessment(
    answers: tuple[ModelAnswers, ...], at_hand: RowsAtHand, names: tuple[str, str], request: Request
) -> Assessment:
    people = _with_all_classes(at_hand.people, answers)
    questions = questions_about(people, at_hand.inputs, request.population, answers[-1])
    notes = list(at_hand.notes)
    if people.task != "regression" and any(a.scores is None for a in answers):
        notes.append(
            "Calibration is not assessed: a model gives no probabilities, or not in all rows."
        )
    told = Told(*names, tuple(notes), questions, request.command, request.created)
    return assess(people, answers, request.wishes, told)


def _with_all_classes(people: People, answers: Sequence[ModelAnswers]) -> People:
    """The classes of a model that answers with bare class numbers: as many as occur.

    Its file says neither names nor a number of scores, so only two were known before it answered.
    """
    numbered = tuple(str(k) for k in range(len(people.classes)))
    if people.task == "regression" or people.classes != numbered:
        return people
    found = [one.decisions for one in answers if one.decisions is not None]
    found += [] if people.targets is None else [people.targets]
    count = 1 + max(int(one.max(initial=0)) for one in found)
    if count <= len(numbered):
        return people
    names = tuple(str(k) for k in range(count))
    return dataclasses.replace(people, task="multi-class", classes=names)
