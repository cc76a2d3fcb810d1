"""Writes the bundle beside its place, and renames it: the old one or the new one, never a half."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import os
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from jettison.domain.bundle import Bundle, Manifest
from jettison.domain.certificate import Certificate
from jettison.domain.files import replace_folder, write_atomically
from jettison.domain.model import Model
from jettison.domain.recipe import Candidate
from jettison.domain.record import file_digest, to_json
from jettison.domain.rows import Rows
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, UsageError
from jettison.reporting.html_report import render_report
from jettison.reporting.model_card import render_card
from jettison.trust import bundle_layout as layout
from jettison.trust.audit import AUDIT
from jettison.trust.ledger import Ledger
from jettison.trust.observing import ALONE
from jettison.trust.probes import Served, write_probes
from jettison.trust.recipe_file import recipe_text
from jettison.trust.sketch import Sketch, make_sketch, write_sketch
from jettison.trust.wording import BATCH_ONE

RELEASE = "release"
"""The folder of the bundle in the output folder of a run."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """What goes into a bundle beside the record of the run.

    Attributes:
        candidate: what ships.
        probes: rows that fit the model or were for selection; never sealed ones. The first few
            are stored with the answers of the shipped model.
        outcomes: `outcomes.npz` of the certification; `None` when nothing was opened.
        log: of the run; `None` when there is none.
        trail: audit trail of the run so far; `None` when there is none.
    """

    candidate: Candidate
    probes: Rows
    outcomes: Path | None = None
    log: Path | None = None
    trail: Path | None = None


def emit(record: RunRecord, cargo: Cargo, folder: Path, ledger: str = "") -> Bundle:
    """Writes a bundle, and records its name in the ledger.

    Args:
        record: of the run; its certificate is the one that ships.
        cargo: the files.
        folder: of the bundle; an older bundle there is replaced.
        ledger: folder of the ledger; empty for the user's own.

    Raises:
        UsageError: if the folder holds something else, or can't be written (read-only, no space).
        CheckFailed: if the candidate is not what the certificate is about, or its files changed.
    """
    _check_ours(folder)
    _check_subject(record.certificate, cargo.candidate)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        _fill(temporary, record, cargo)
        manifest = _seal_manifest(temporary, record.certificate)
        position = record.certificate.ledger
        Ledger.at(ledger).record(
            "bundle", position.entry if position else "", manifest.digest, manifest.status
        )
        replace_folder(temporary, folder)
    except OSError as error:
        raise UsageError(_unwritable(folder, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Bundle(str(folder.absolute()), manifest)


def check_place(folder: Path) -> None:
    """Checks that a bundle may be written to a folder.

    Raises:
        UsageError: if the folder holds something else, or nothing can be written beside it.
    """
    _check_ours(folder)
    probe = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        probe.mkdir(parents=True)
        probe.rmdir()
    except OSError as error:
        raise UsageError(_unwritable(folder, error)) from error


def check_not_certified(folder: Path) -> None:
    """Checks that a run which begins would not put its bundle in the place of a certified one.

    Raises:
        UsageError: if it would: the rows of that one are spent, so it could not be made again.
    """
    held = folder.is_dir() and any(folder.iterdir())
    if held and layout.read_manifest(folder).status == "certified":
        raise UsageError(
            f"{folder} holds a certified bundle, which could not be made again, because its rows are "
            "spent: move it away, or choose another `output`"
        )


def _check_ours(folder: Path) -> None:
    """Refuses to replace what jettison has not written."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} is a file or a link; give a folder that doesn't exist yet")
    if folder.is_dir() and any(folder.iterdir()):
        try:
            layout.read_manifest(folder)
        except CheckFailed as error:
            raise UsageError(
                f"{folder} exists and is not a jettison bundle ({error}); it is left as it is: "
                "move it away, or choose another folder"
            ) from error


def _check_subject(certificate: Certificate, candidate: Candidate) -> None:
    """Checks that the certificate is about this candidate, and that its files didn't change."""
    model = candidate.model
    try:
        found = layout.found_artifact(model)
    except OSError as error:
        raise CheckFailed(f"the model {model.artifact.path} can't be read: {error}") from error
    if found != model.artifact.digest:
        raise CheckFailed(f"the model {model.artifact.path} was changed after it was measured")
    subject = certificate.subject
    if certificate.status == "certified" and subject is None:
        raise CheckFailed("the certificate says certified, but not what it is about")
    if subject is None:
        return
    about = (subject.artifact, subject.encoder, subject.recipe, subject.runtime)
    recipe = candidate.recipe
    ours = (model.artifact.digest, model.encoder.digest, recipe.digest, str(recipe.runtime))
    if about != ours:
        raise CheckFailed(f"the certificate is about {about}, not about what would ship: {ours}")


def _fill(folder: Path, record: RunRecord, cargo: Cargo) -> None:
    candidate = cargo.candidate
    model = _served_model(candidate.model, record.certificate)
    _copy(Path(model.artifact.folder), model.artifact.files, folder / layout.ARTIFACT_FOLDER)
    if model.encoder.files:
        _copy(Path(model.encoder.folder), model.encoder.files, folder / layout.ENCODER_FOLDER)
    served = Served(
        layout.relative(model),
        candidate.recipe.runtime,
        record.configuration.serving,
        one_by_one=bool(model.traits & ALONE),
    )
    # What is probed is the copy that ships, not the file it was copied from.
    shipped = dataclasses.replace(served, model=layout.absolute(served.model, folder))
    write_probes(shipped, cargo.probes, folder / layout.PROBES)
    write_sketch(_sketch(shipped, record, cargo.probes), folder / layout.SKETCH)
    write_atomically(folder / layout.MODEL, to_json(served, indent=2) + "\n")
    write_atomically(folder / layout.CERTIFICATE, to_json(record.certificate, indent=2) + "\n")
    write_atomically(folder / layout.RUN, to_json(record) + "\n")
    write_atomically(folder / layout.RECIPE, recipe_text(record, candidate))
    write_atomically(folder / layout.CARD, render_card(record))
    write_atomically(folder / layout.REPORT, render_report(record))
    if cargo.outcomes is not None:
        shutil.copyfile(cargo.outcomes, folder / layout.OUTCOMES)
    if cargo.log is not None:
        shutil.copyfile(cargo.log, folder / layout.LOG)
    if cargo.trail is not None:
        shutil.copyfile(cargo.trail, folder / AUDIT)


def _sketch(served: Served, record: RunRecord, rows: Rows) -> Sketch:
    """Sketches the rows, unless they were made up: those say nothing of what will be met."""
    data = record.configuration.data
    if record.data is None and not (data.source or data.fitting):
        return Sketch(reason="the run had no data, so nobody knows what inputs look like")
    return make_sketch(served, rows)


def _served_model(model: Model, certificate: Certificate) -> Model:
    """Keeps a model that was certified at batch 1 only from being served otherwise."""
    subject = certificate.subject
    if subject is not None and subject.batch_policy == BATCH_ONE:
        return model.with_traits(add=frozenset({"batch-dependent"}), remove=frozenset())
    return model


def _copy(source: Path, names: tuple[str, ...], target: Path) -> None:
    for name in names:
        if not layout.safe_name(name):
            raise CheckFailed(f"the model file {name!r} lies outside its folder {source}")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _seal_manifest(folder: Path, certificate: Certificate) -> Manifest:
    manifest = Manifest(
        files={name: file_digest(folder / name) for name in layout.files_of(folder)},
        status=certificate.status,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        jettison=metadata.version("jettison"),
    )
    write_atomically(folder / layout.MANIFEST, to_json(manifest))
    return manifest


def _sweep(folder: Path) -> None:
    """Tidies what a killed run left: half bundles go, one that was moved aside comes back."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.(part|old)")
    for path in sorted(folder.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or not path.is_dir() or _alive(int(match[1])):
            continue
        if match[2] == "old" and not folder.exists():
            os.replace(path, folder)
        else:
            shutil.rmtree(path)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unwritable(folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space is left for the bundle {folder} ({error}); free some space and run again: "
            "what was there before is untouched"
        )
    return (
        f"the bundle {folder} can't be written ({error}); what was there before is untouched: "
        "make the folder writable, or choose another"
    )
