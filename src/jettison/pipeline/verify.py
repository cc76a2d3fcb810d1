"""Checks a bundle: files, what the certificate is about, outputs, verdicts, ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison import machine, registry
from jettison.domain import accelerators
from jettison.domain.certificate import Certificate, LedgerPosition, Requirement
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.record import digest, from_json, to_plain
from jettison.domain.run import RunRecord
from jettison.errors import Busy, CandidateFailed, CheckFailed, ModelError, UsageError
from jettison.trust import bundle_layout as layout
from jettison.trust.approvals import approval_problems
from jettison.trust.audit import AUDIT
from jettison.trust.audit_check import trail_problems
from jettison.trust.chain import Entry
from jettison.trust.judging import conclude
from jettison.trust.ledger import Ledger, default_folder
from jettison.trust.outcomes import load_outcomes
from jettison.trust.probes import Served, probe_differences
from jettison.trust.wording import BATCH_ONE

LAST_BITS = 1e-9
"""Relative difference of recomputed numbers: another build of SciPy differs in the last bits."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked and found to be right.

    Attributes:
        digest: the bundle's name.
        status: of its certificate.
        checks: one sentence for each check that was made.
        notes: what could not be checked here, and why.
    """

    digest: str
    status: str
    checks: tuple[str, ...]
    notes: tuple[str, ...]


def verify(folder: Path, expect: str = "", ledger: str = "") -> Verification:
    """Checks everything that a bundle says about itself, except speed, which is a new claim.

    Args:
        folder: of the bundle.
        expect: its name (SHA-256 of the manifest), or empty to accept whatever name it has.
        ledger: folder of the ledger; empty to use the one that the certificate names, where it is
            at hand, or else the user's own.

    Raises:
        CheckFailed: if anything differs; the message lists all of it. A bundle with changed files
            is not loaded.
    """
    manifest = layout.read_manifest(folder)
    problems = layout.differences(folder, manifest)
    wanted = expect.strip().lower().removeprefix("sha256:")
    if wanted and wanted != manifest.digest:
        problems.append(f"its name is {manifest.digest}, not {wanted}")
    _raise(folder, problems)
    checks = [f"{len(manifest.files)} files are those of the manifest, and no others are there"]
    if wanted:
        checks.append("the name of the bundle is the one expected")
    served, certificate, record = _read(folder)
    problems += _contents(served, certificate, record, manifest.status)
    checks.append("model, encoder, recipe and configuration are those of the certificate")
    problems += _outputs(served, folder / layout.PROBES)
    checks.append("the model, loaded again, answers the stored probes as it did")
    told, problem = _verdicts(folder, certificate, record)
    checks += told
    problems += problem
    if AUDIT in manifest.files:
        told, problem = trail_problems(folder / AUDIT, record)
        checks += told
        problems += problem
    told, problem = approval_problems(folder, manifest.digest)
    checks += told
    problems += problem
    told, away, problem = _ledger(certificate, manifest.digest, ledger)
    checks += told
    problems += problem
    elsewhere = elsewhere_than(certificate, served.runtime.name)
    _raise(folder, problems, *elsewhere)
    notes = (*away, *elsewhere)
    return Verification(manifest.digest, certificate.status, tuple(checks), notes)


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle whose files are those of its manifest, and whose records agree with each other.

    Attributes:
        digest: the bundle's name.
        served: model (absolute paths), runtime, serving profile and batch policy.
        certificate: whatever its status.
        record: of the run.
    """

    digest: str
    served: Served
    certificate: Certificate
    record: RunRecord


def open_for_serving(folder: Path) -> Opened:
    """Opens a bundle, and checks that its certificate is about the model that lies in it.

    Loads no model and computes no verdict again: that is `verify`.

    Raises:
        CheckFailed: if a file, a record or the certificate's subject differs.
    """
    manifest = layout.read_manifest(folder)
    _raise(folder, layout.differences(folder, manifest))
    served, certificate, record = _read(folder)
    _raise(folder, _contents(served, certificate, record, manifest.status))
    return Opened(manifest.digest, served, certificate, record)


def open_bundle(folder: Path) -> tuple[Model, Step, Certificate]:
    """Opens a bundle to serve it: every file must be the one in its manifest.

    Raises:
        CheckFailed: if anything differs.
    """
    _raise(folder, layout.differences(folder, layout.read_manifest(folder)))
    served, certificate, _ = _read(folder)
    return served.model, served.runtime, certificate


def _raise(folder: Path, problems: list[str], *hints: str) -> None:
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in (*problems, *hints))
        raise CheckFailed(
            f"the bundle {folder} is not what it says ({len(problems)} found):\n{listed}"
        )


def elsewhere_than(certificate: Certificate, runtime: str) -> list[str]:
    """Says so where this machine is of another class than the one that certified.

    Args:
        certificate: whatever its status.
        runtime: name of the one that the bundle ends in; need not be installed.
    """
    subject, here = certificate.subject, machine.describe_device().cpu_class
    if subject is None:
        return []
    told = []
    if subject.cpu_class != here:
        told.append(
            f"it was certified on a CPU of class {subject.cpu_class}, and this one is {here}: "
            "8-bit answers may differ, so certify again for this machine"
        )
    known = runtime in registry.names("runtimes")
    chip = accelerators.computed_on(registry.get("runtimes", runtime)) if known else ""
    if subject.accelerator != chip:
        told.append(
            f"it was certified on {subject.accelerator or 'no accelerator'}, and here it computes "
            f"on {chip or 'none'}: other kernels round otherwise, so certify again for this machine"
        )
    return told


def _read(folder: Path) -> tuple[Served, Certificate, RunRecord]:
    """Reads the records; paths of the model become absolute."""
    try:
        served = from_json(Served, (folder / layout.MODEL).read_bytes())
        certificate = from_json(Certificate, (folder / layout.CERTIFICATE).read_bytes())
        record = from_json(RunRecord, (folder / layout.RUN).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckFailed(f"a record of the bundle {folder} can't be read: {error}") from error
    model = layout.absolute(served.model, folder)
    return dataclasses.replace(served, model=model), certificate, record


def _contents(
    served: Served, certificate: Certificate, record: RunRecord, status: str
) -> list[str]:
    """Compares the records with each other and with the files."""
    problems: list[str] = []
    artifact = layout.found_artifact(served.model)
    encoder = layout.found_encoder(served.model)
    if artifact != served.model.artifact.digest:
        problems.append(f"the model's digest is {artifact}, not that of {layout.MODEL}")
    if encoder != served.model.encoder.digest:
        problems.append(f"the encoder's digest is {encoder}, not that of {layout.MODEL}")
    if certificate != record.certificate:
        problems.append(f"{layout.CERTIFICATE} and {layout.RUN} hold different certificates")
    if certificate.status != status:
        problems.append(f"the manifest says {status}, the certificate {certificate.status}")
    if certificate.status == "certified" and certificate.subject is None:
        problems.append("the certificate says certified, but not what it is about")
    subject = certificate.subject
    if subject is not None:
        pairs = {
            "model": (subject.artifact, artifact),
            "encoder": (subject.encoder, encoder),
            "recipe": (subject.recipe, record.shipped),
            "runtime": (subject.runtime, str(served.runtime)),
            "number of threads": (subject.threads, served.serving.threads),
            "batch policy": (subject.batch_policy == BATCH_ONE, served.one_by_one),
            "configuration": (certificate.config_digest, digest(record.configuration)),
        }
        problems += [
            f"the certificate is about another {name}: {told}, not {found}"
            for name, (told, found) in pairs.items()
            if told != found
        ]
    return problems


def _outputs(served: Served, path: Path) -> list[str]:
    try:
        return probe_differences(served, path)
    except (CandidateFailed, ModelError) as failure:
        return [f"the model can't be loaded and run again: {failure}"]


def _verdicts(
    folder: Path, certificate: Certificate, record: RunRecord
) -> tuple[list[str], list[str]]:
    """Judges the stored outcomes again; gives what was checked, and what differs."""
    path = folder / layout.OUTCOMES
    if certificate.ledger is None:
        claimed = certificate.claims or certificate.status == "certified"
        return [], ["claims stand in the certificate, but no seal was opened"] if claimed else []
    if not path.exists():
        return [], [f"the certificate rests on opened rows, but {layout.OUTCOMES} is missing"]
    outcomes = load_outcomes(path)
    problems: list[str] = []
    if outcomes.rules.digest != certificate.order_digest:
        problems.append("the order of testing is not the one that was fixed before opening")
    subject = certificate.subject
    if subject is not None:
        about = (subject.recipe, subject.artifact, subject.encoder, subject.runtime)
        members = outcomes.rules.members
        if about not in {(m.recipe, m.artifact, m.encoder, m.runtime) for m in members}:
            problems.append("the outcomes are those of another model than the certificate is about")
    judged = outcomes.rules.share * max(r.alpha for r in outcomes.rules.requirements)
    if not math.isclose(judged, certificate.ledger.alpha, rel_tol=LAST_BITS):
        problems.append(
            f"the verdicts were made at an error rate of {judged:g}, and the look was charged for "
            f"{certificate.ledger.alpha:g}"
        )
    if _asked(outcomes.rules.requirements) != _asked(record.configuration.requirements):
        problems.append("the requirements are not those of the configuration")
    try:
        conclusion = conclude(outcomes, {t.recipe: t.title for t in certificate.order})
    except (KeyError, ValueError, IndexError) as error:
        return [], [*problems, f"the outcomes can't be judged: {type(error).__name__}: {error}"]
    shipped = conclusion.shipped
    named = subject.recipe if subject is not None else None
    if shipped != named:
        problems.append(f"the outcomes ship {shipped}, the certificate {named}")
    again = dataclasses.replace(
        certificate,
        status="certified" if shipped is not None else "failed",
        claims=next((t.claims for t in conclusion.tested if t.recipe == shipped), ()),
        order=conclusion.tested,
    )
    problems += _unlike("certificate", to_plain(again), to_plain(certificate))
    count = sum(len(tested.claims) for tested in conclusion.tested)
    return [f"{count} verdicts were computed again from {outcomes.n:,} rows, and agree"], problems


def _asked(requirements: Sequence[Requirement]) -> list[Requirement]:
    """Requirements as they were asked: a relative margin became a number before opening."""
    return [
        r if r.max_drop_relative is None else dataclasses.replace(r, max_drop=0.0, max_drop_group=0)
        for r in requirements
    ]


def _unlike(name: str, found: Any, told: Any) -> list[str]:
    """Lists where two plain values differ; numbers by more than their last bits."""
    if isinstance(found, dict) and isinstance(told, dict) and found.keys() == told.keys():
        return [d for key in found for d in _unlike(f"{name}.{key}", found[key], told[key])]
    if isinstance(found, list) and isinstance(told, list) and len(found) == len(told):
        pairs = enumerate(zip(found, told, strict=True))
        return [d for i, (one, other) in pairs for d in _unlike(f"{name}[{i}]", one, other)]
    if isinstance(found, float) and isinstance(told, float):
        same = math.isclose(found, told, rel_tol=LAST_BITS, abs_tol=LAST_BITS)
    else:
        same = found == told
    return [] if same else [f"{name}: computed again it is {found}, the certificate says {told}"]


def _ledger(
    certificate: Certificate, bundle: str, ledger: str
) -> tuple[list[str], list[str], list[str]]:
    """Looks the bundle up in the ledger, where it is at hand; checks, what is away, problems."""
    position = certificate.ledger
    if position is None:
        return [], [], []
    if ledger and not Ledger.at(ledger).exists:
        return [], [], [f"there is no ledger in {Ledger.at(ledger).folder}"]
    found = _look_at_hand(position, ledger)
    if found is None and ledger:
        return [], [], [f"the ledger {Ledger.at(ledger).path} holds no look {position.entry[:12]}"]
    if found is None:
        where = "is not on this machine, or not open to this user"
        return [], [f"the ledger {position.ledger} of this look {where}"], []
    chosen, look = found
    told = (certificate.config_digest, certificate.data_digest, certificate.order_digest)
    facts = tuple(look.facts.get(name) for name in ("configuration", "data", "order"))
    problems: list[str] = []
    place = (look.facts.get("number", 1), len(str(look.facts.get("plan", "1")).split()))
    mine = (position.look, position.looks)
    if facts != told or look.facts.get("alpha") != position.alpha or place != mine:
        problems.append(f"line {look.number} of {chosen.path} was charged for something else")
    for kind, name in (("certificate", digest(certificate)), ("bundle", bundle)):
        entry = chosen.find(kind, name)  # type: ignore[arg-type]
        if entry is None or entry.look != position.entry:
            problems.append(f"the ledger {chosen.path} doesn't record this {kind}")
    told_of = "the ledger recorded the look, the certificate and the bundle"
    return [f"{told_of} ({chosen.path})"], [], problems


def _look_at_hand(position: LedgerPosition, ledger: str) -> tuple[Ledger, Entry] | None:
    """Finds the look in the ledger given, or in that of the certificate, or in the user's own.

    Another machine's ledger may have the path of one here, and the look tells them apart. On a shared
    machine the path may be another user's, and an account without a home has no ledger.
    """
    if ledger:
        look = Ledger.at(ledger).find("look", position.entry)
        return None if look is None else (Ledger.at(ledger), look)
    named = Path(position.ledger)
    # A relative path would lead to a ledger that came with the bundle.
    folders = [named.parent] if named.is_absolute() else []
    with contextlib.suppress(UsageError):
        folders.append(default_folder())
    for one in map(Ledger, folders):
        try:
            look = one.find("look", position.entry)
        except Busy:
            raise
        except (OSError, UsageError):
            continue
        if look is not None:
            return one, look
    return None
