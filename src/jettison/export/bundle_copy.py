"""What an export takes from a bundle: a copy, its papers, its probes with a program that asks them."""

from __future__ import annotations

import shutil
from pathlib import Path

from jettison.domain.exports import ExportJob
from jettison.errors import CheckFailed
from jettison.export.pins import needed
from jettison.trust import bundle_layout as layout

CHECK = Path(__file__).parent / "templates" / "check_answers.py"

PAPERS = (layout.CERTIFICATE, layout.CARD, layout.MANIFEST)
"""What travels with a model that leaves its bundle: verdicts, card, and the bundle's name."""


def copy_bundle(job: ExportJob, target: Path) -> None:
    """Copies the whole bundle; the copy is checked against the manifest.

    Raises:
        CheckFailed: if a file changed while it was copied.
    """
    source = Path(job.bundle)
    for name in (*job.manifest.files, layout.MANIFEST):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    problems = layout.differences(target, layout.read_manifest(target))
    if problems or layout.read_manifest(target).digest != job.manifest.digest:
        listed = "; ".join(problems) or "its manifest is another"
        raise CheckFailed(f"the bundle {source} changed while it was copied: {listed}")


def copy_papers(job: ExportJob, target: Path) -> None:
    """Copies certificate, card and manifest beside a model."""
    for name in PAPERS:
        shutil.copyfile(Path(job.bundle) / name, target / name)


def copy_check(job: ExportJob, folder: Path, probes: str = layout.PROBES) -> str:
    """Copies the program that compares a server's answers, and the probes it asks.

    Args:
        job: what is exported.
        folder: of the export.
        probes: where they lie in it; copied there unless the bundle is there already.

    Returns:
        The command that runs it, but for the server's address.
    """
    shutil.copyfile(CHECK, folder / CHECK.name)
    if not (folder / probes).exists():
        shutil.copyfile(Path(job.bundle) / layout.PROBES, folder / probes)
    place = "" if probes == layout.PROBES else f" --probes {probes}"
    return f"python {CHECK.name} http://HOST:PORT {job.name}{place}"


def standing(job: ExportJob) -> tuple[str, ...]:
    """What a person must know about a model that runs elsewhere, one sentence each."""
    certificate, subject = job.certificate, job.certificate.subject
    if not job.certified or subject is None:
        why = f": {certificate.reason}" if certificate.reason else ""
        return (f"UNCERTIFIED: the certificate says `{certificate.status}`{why}.",)
    rows = "1 row" if job.largest_batch == 1 else f"up to {job.largest_batch} rows"
    ran = " and ".join(f"{name} {version}" for name, version in needed(job).items())
    return (
        f"Certified for {subject.runtime}, {subject.threads} thread(s), {rows} a call, on a CPU "
        f"of class {subject.cpu_class}.",
        "Elsewhere the certificate does not hold: 8-bit answers may differ on another CPU class, "
        f"and all answers in their last digits with other versions than {ran}.",
    )
