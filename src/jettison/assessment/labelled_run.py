"""`jettison label`: opens unlabelled rows in one look, asks for the labels that matter, concludes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jettison.assessment.label_files import LABEL, Task, read_answers, tasks_of, write_tasks
from jettison.assessment.search_rows import read_record
from jettison.domain.certificate import LedgerPosition
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.files import write_atomically
from jettison.domain.jobs import Variant, output_file
from jettison.domain.progress import Progress
from jettison.domain.record import digest, file_digest, from_json, to_json
from jettison.domain.rows import Array, Rows
from jettison.domain.run import RunRecord
from jettison.domain.splits import Labels
from jettison.errors import CandidateFailed, CheckFailed, DataError, SealRefused, UsageError
from jettison.pipeline.certify import CertificationResult, charge_look, conclude_look, take_up
from jettison.pipeline.split.binding import fed_columns
from jettison.pipeline.split.labelling import group_columns, label_rows
from jettison.pipeline.split.places import RawRows, read_again
from jettison.trust.audit_record import RunAudit, open_trail
from jettison.trust.labelling import (
    Pending,
    as_labelled,
    class_count,
    load_pending,
    rows_to_label,
)
from jettison.trust.labelling_known import load_known, save_known
from jettison.trust.ledger import Ledger, Look
from jettison.trust.observing import observe, run_on_sealed
from jettison.trust.outcomes import Rules
from jettison.trust.seal import open_seal
from jettison.trust.shortlisting import CertificationRequest

FOLDER, TASKS, ANSWERS = "label", "to_label.csv", "answers.csv"
_ASKED, _KNOWN = "asked.json", "known.npz"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one look at unlabelled rows left behind, until the labels are there.

    Attributes:
        ledger, entry, number, alpha, data: of the look.
        rules: fixed before it.
        wanted: sealed rows to be labelled, in the order in which a person is asked.
        rows: the opened rows.
        known: SHA-256 of the file with their groups, units and weights.
        outputs: variant -> output -> SHA-256 of its file.
        alone: variant -> whether it was run row by row.
        failures: variant -> why it could not be run.
    """

    ledger: str
    entry: str
    number: int
    alpha: float
    data: str
    rules: Rules
    wanted: tuple[int, ...]
    rows: Rows
    known: str
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    alone: Mapping[str, bool] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def look(self) -> Look:
        """The look; its seal was opened already, so the key is gone."""
        return Look(self.ledger, self.entry, self.number, self.alpha, self.data, "")


@dataclass(frozen=True, slots=True)
class Labelling:
    """Rows that wait for a person.

    Attributes:
        record: of the run.
        pending, asked: what was fixed before the look, and what it left.
        folder: with `to_label.csv` and, from the page, `answers.csv`.
        tasks: the rows, in the order in which a person is asked.
        classes: the labels to choose from.
    """

    record: RunRecord
    pending: Pending
    asked: Asked
    folder: Path
    tasks: tuple[Task, ...]
    classes: tuple[str, ...]


def open_labelling(run: Path, progress: Progress) -> Labelling:
    """Charges the look and runs the models the first time; afterwards reads what that left.

    Raises:
        UsageError: if nothing waits for labels.
        SealRefused: if any of the rows was spent before, or the certificate was made already.
        DataError: if the user's file is gone or was changed (before the look is charged).
        CheckFailed: if anything of the run was changed.
    """
    record = read_record(run)
    _check_place(record, run)
    work = run / "work"
    pending = load_pending(work / "certify")
    section = record.configuration.data
    raw = read_again(section, record.model, work / "data", "certification", labelled=False)
    place = work / "certify" / FOLDER
    if not (place / _ASKED).exists():
        _look(pending, place, progress, RunAudit(open_trail(record.configuration)))
    asked = _read_asked(place)
    if asked.data != pending.certification.digest:
        raise SealRefused(
            f"the run in {run} was repeated with other rows after labels were asked for; the look "
            "at the earlier rows is spent: use a fresh `output` folder"
        )
    rows = [int(raw.numbers[i]) for i in asked.wanted]
    shown = Example({n: c[list(asked.wanted)] for n, c in raw.table.columns.items()}, len(rows))
    tasks = tasks_of(shown, rows, _columns(record, raw, section))
    folder = run / FOLDER
    if not (folder / TASKS).exists():
        write_tasks(tasks, folder / TASKS)
    kept = _Kept(place, asked.outputs, asked.alone, asked.failures)
    classes = _classes(record.model.encoder.labels, kept, pending.baseline)
    return Labelling(record, pending, asked, folder, tasks, classes)


def conclude_labelling(labelling: Labelling, answers: Path) -> CertificationResult:
    """Reads the answers and makes the certificate that full labelling would have made.

    Raises:
        DataError: for answers that are incomplete, unknown or doubled.
        SealRefused: if the certificate was made already.
        CheckFailed: if an output or the ledger was changed since the look.
    """
    pending, asked = labelling.pending, labelling.asked
    rows = [task.row for task in labelling.tasks]
    given = read_answers(answers, rows, complete=True) if rows else {}
    place = Path(pending.folder) / FOLDER
    check_open(asked)
    n = asked.rows.n
    targets, unlabelled = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
    if given:
        wanted = list(asked.wanted)
        said = np.array([given[task.row] for task in labelling.tasks], dtype=object)
        targets[wanted] = _targets(said, labelling, answers)
        unlabelled[wanted] = False
    labels = dataclasses.replace(_known(asked, place), targets=targets)
    request = as_labelled(pending.request())
    kept = _Kept(place, asked.outputs, asked.alone, asked.failures)
    outcomes, alone = observe(request, asked.rules, asked.rows, labels, kept.answer)
    outcomes = dataclasses.replace(outcomes, unlabelled=unlabelled if unlabelled.any() else None)
    sentence = _sentence(given, n)
    return conclude_look(request, pending.plan, asked.look, outcomes, alone, (sentence,))


def taken_up(labelling: Labelling) -> CertificationResult | None:
    """The certificate, if the run ended between it and its bundle; other answers count no more."""
    pending = labelling.pending
    return take_up(as_labelled(pending.request()), pending.plan)


def check_open(asked: Asked) -> None:
    """Checks that the ledger knows this request for labels, and no certificate of its look.

    Raises:
        SealRefused: if the certificate was made already.
        CheckFailed: if what was asked is not what the ledger recorded.
    """
    entries = [e for e in Ledger(Path(asked.ledger)).entries() if e.look == asked.entry]
    if any(e.kind == "certificate" for e in entries):
        raise SealRefused(
            "these rows have their certificate already, so labels can't be given a second time: "
            "the look is spent, and other labels would be a second one"
        )
    told = {e.facts.get("digest") for e in entries if e.kind == "asked"}
    if digest(asked) not in told:
        raise CheckFailed(
            f"what was asked was changed after the look: the ledger in {asked.ledger} recorded "
            "something else"
        )


def _sentence(given: Mapping[int, str], n: int) -> str:
    if not given:
        return "No sealed row needed a label: the models never differ."
    answers = digest({str(row): label for row, label in sorted(given.items())})
    return (
        f"A person labelled {len(given):,} of the {n:,} sealed rows, those on which the models "
        "differ, without being told which model said what (SHA-256 of the answers: "
        f"{answers}); on the others the difference is 0 whatever the label."
    )


def _check_place(record: RunRecord, run: Path) -> None:
    """Paths of a run are relative to where it was started."""
    output = Path(record.configuration.output)
    if output.resolve() != run.resolve():
        raise UsageError(
            f"this run was written to {output}, as seen from where it was started, and {run} is "
            "not that folder from here; go to that folder, and don't move a run that waits for "
            "labels"
        )


def _look(pending: Pending, place: Path, progress: Progress, audit: RunAudit) -> None:
    """Charges, opens, runs every model, and keeps its outputs on disk."""
    request = as_labelled(pending.request())
    place.mkdir(parents=True, exist_ok=True)
    progress.stage("certify")
    audit.trail.check()
    rules, look = charge_look(request, pending.plan)
    position = LedgerPosition(
        str(Ledger.at(request.ledger).path), look.number, look.entry, look.alpha, look.looks
    )
    audit.looked(position, rules.digest, look.data)
    rows, known = open_seal(pending.certification, look)
    outputs: dict[str, dict[str, str]] = {}
    alone: dict[str, bool] = {}
    failures: dict[str, str] = {}
    for variant in _variants(request, pending):
        try:
            found, alone[variant.name] = run_on_sealed(request, rows, variant, place)
            outputs[variant.name] = _keep(found, place / variant.name[:16])
        except CandidateFailed as failure:
            failures[variant.name] = str(failure)
            break  # Nothing behind it in the order would be tested.
    kept = _Kept(place, outputs, alone, failures)
    asked = Asked(
        ledger=look.ledger,
        entry=look.entry,
        number=look.number,
        alpha=look.alpha,
        data=look.data,
        rules=rules,
        wanted=_wanted(request, kept, rows.n, look),
        rows=rows,
        known=save_known(known, place / _KNOWN),
        outputs=outputs,
        alone=alone,
        failures=failures,
    )
    words = f"{len(asked.wanted)} of {rows.n} rows to label"
    Ledger(Path(look.ledger)).record("asked", look.entry, digest(asked), words)
    write_atomically(place / _ASKED, to_json(asked))


def _variants(request: CertificationRequest, pending: Pending) -> tuple[Variant, ...]:
    """The original, then the shortlist in the order of testing."""
    by_recipe = {c.recipe: c.variant for c in pending.contenders}
    return (request.baseline, *(by_recipe[p.recipe] for p in pending.plan.order))


def _wanted(request: CertificationRequest, kept: _Kept, n: int, look: Look) -> tuple[int, ...]:
    """Rows to label, in an order that only the look decides, so that it tells nothing."""
    if request.baseline.name not in kept.outputs:
        return ()
    answers = {
        c.recipe: kept.read(c.recipe) for c in request.contenders if c.recipe in kept.outputs
    }
    matters = rows_to_label(request, kept.read(request.baseline.name), answers, n)
    shuffled = np.random.default_rng(int(look.data[:16], 16)).permutation(np.flatnonzero(matters))
    return tuple(int(row) for row in shuffled)


def _keep(outputs: Mapping[str, Array], folder: Path) -> dict[str, str]:
    """Saves outputs; gives the SHA-256 of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in outputs.items():
        np.save(output_file(folder, name), values, allow_pickle=False)
    return {name: file_digest(output_file(folder, name)) for name in outputs}


@dataclass(frozen=True, slots=True)
class _Kept:
    """Outputs of the one look, read back in place of running a model again."""

    place: Path
    outputs: Mapping[str, Mapping[str, str]]
    alone: Mapping[str, bool]
    failures: Mapping[str, str]

    def answer(self, variant: Variant) -> tuple[Mapping[str, Array], bool]:
        """As `run_on_sealed` answered."""
        if variant.name in self.failures:
            raise CandidateFailed(self.failures[variant.name])
        return self.read(variant.name), self.alone[variant.name]

    def read(self, name: str) -> dict[str, Array]:
        """Outputs of one variant, memory-mapped."""
        found: dict[str, Array] = {}
        for output, known in self.outputs[name].items():
            path = output_file(self.place / name[:16], output)
            if not path.is_file() or file_digest(path) != known:
                raise CheckFailed(
                    f"the kept answers {path} were changed after the look, or are gone"
                )
            found[output] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found


def _read_asked(place: Path) -> Asked:
    try:
        return from_json(Asked, (place / _ASKED).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckFailed(f"{place / _ASKED} can't be read: {str(error)[:200]}") from error


def _known(asked: Asked, place: Path) -> Labels:
    if file_digest(place / _KNOWN) != asked.known:
        raise CheckFailed(f"{place / _KNOWN} was changed after the look")
    return load_known(place / _KNOWN)


def _columns(record: RunRecord, raw: RawRows, section: DataSection) -> tuple[str, ...]:
    """The columns that feed the model."""
    grouped = group_columns(section.groups, raw.table.columns)
    apart = {section.target, section.unit, section.weight, section.consent, *grouped}
    others = tuple(name for name in raw.table.columns if name not in apart)
    return fed_columns(record.model.encoder, section.inputs or others)


def _classes(labels: tuple[str, ...], kept: _Kept, baseline: Variant) -> tuple[str, ...]:
    if labels or baseline.name not in kept.outputs:
        return labels
    scores = kept.read(baseline.name)[baseline.model.prediction]
    return tuple(str(number) for number in range(class_count(scores, labels)))


def _targets(said: Array, labelling: Labelling, answers: Path) -> Array:
    """Class indices of the answers, read as targets in a data file are."""
    whole = not labelling.record.model.encoder.labels
    values = said
    if whole:
        wrong = sorted({str(v) for v in said} - set(labelling.classes))
        if wrong:
            raise DataError(
                f"the answers {answers} hold {wrong[0]!r}; allowed are the classes "
                f"{labelling.classes[0]} to {labelling.classes[-1]}"
            )
        values = said.astype(np.int64)
    table = Example({LABEL: values}, len(values))
    section = DataSection(target=LABEL)
    labels = label_rows(table, section, labelling.record.model, f"the answers {answers}")
    return np.asarray(labels.targets)
