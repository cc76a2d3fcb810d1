"""May this bundle be served here? What speaks against it is found before a model is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jettison.domain.certificate import Certificate
from jettison.domain.rows import Array
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, UsageError
from jettison.pipeline.verify import elsewhere_than, open_for_serving
from jettison.serving.versions import CERTIFIED, VERSION_DIGITS
from jettison.trust import bundle_layout as layout
from jettison.trust.probes import Served, read_probes


@dataclass(frozen=True, slots=True)
class Admitted:
    """A bundle that is what it says.

    Attributes:
        folder: absolute path.
        digest: the bundle's name.
        served: what runs; threads are those of this server.
        certificate: whatever its status.
        record: of the run that made it.
        card: the model card.
        probes: `jettison.trust.probes.read_probes`.
        doubts: why the certificate does not cover it here, one sentence each; none if it does.
    """

    folder: Path
    digest: str
    served: Served
    certificate: Certificate
    record: RunRecord
    card: str
    probes: Mapping[str, Array]
    doubts: tuple[str, ...]

    @property
    def version(self) -> str:
        """The name of this version."""
        return self.digest[:VERSION_DIGITS]


def admit(folder: Path, threads: int) -> Admitted:
    """Checks every file and record of a bundle, and what its certificate was made for.

    Args:
        folder: of the bundle.
        threads: computing threads of this server; 0 takes those of the bundle.

    Raises:
        UsageError: if there is no such folder.
        CheckFailed: if the bundle is half-written, was changed, or its records disagree.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no bundle at {folder} (looked in {Path.cwd()}): give the folder that "
            "`jettison optimize` wrote, such as jettison-run/release"
        )
    opened = open_for_serving(folder)
    served = opened.served
    used = threads or served.serving.threads
    doubts = _doubts(opened.certificate, served, used)
    serving = dataclasses.replace(served.serving, threads=used)
    try:
        card = (folder / layout.CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckFailed(f"the model card of {folder} can't be read: {error}") from error
    return Admitted(
        folder=folder.resolve(),
        digest=opened.digest,
        served=dataclasses.replace(served, serving=serving),
        certificate=opened.certificate,
        record=opened.record,
        card=card,
        probes=read_probes(folder / layout.PROBES),
        doubts=tuple(doubts),
    )


def check_still_there(admitted: Admitted) -> None:
    """Looks whether the folder still holds the bundle that was checked, once all of it was read.

    Raises:
        CheckFailed: if another one took its place meanwhile: some files may have been read of each.
    """
    if layout.read_manifest(admitted.folder).digest != admitted.digest:
        raise CheckFailed(
            f"another bundle took the place of {admitted.folder} while it was loaded: load it again"
        )


def label_of(doubts: Sequence[str]) -> str:
    """What is shown wherever the version is: `certified`, or `uncertified: why`."""
    return CERTIFIED if not doubts else f"uncertified: {'; '.join(doubts)}"


def refuse_doubtful(admitted: Admitted, doubts: Sequence[str], *, allowed: bool) -> None:
    """Refuses what no certificate covers here, unless the user allowed it.

    Raises:
        CheckFailed: with every doubt and the two ways out.
    """
    if doubts and not allowed:
        listed = "\n".join(f"  - {doubt}" for doubt in doubts)
        raise CheckFailed(
            f"no certificate covers the bundle {admitted.folder} on this server:\n{listed}\n"
            "Optimise and certify on this machine as you will serve, or serve it with "
            "--allow-uncertified: it is then called uncertified wherever it shows"
        )


def _doubts(certificate: Certificate, certified: Served, threads: int) -> list[str]:
    """Compares what was certified with this server; batches are looked at once it runs."""
    if certificate.status != "certified":
        why = f": {certificate.reason}" if certificate.reason else ""
        return [f"its certificate says `{certificate.status}`{why}"]
    doubts = elsewhere_than(certificate, certified.runtime.name)
    if threads != certified.serving.threads:
        doubts.append(
            f"it was certified with {certified.serving.threads} computing thread(s), and is run "
            f"with {threads}: sums are added in another order"
        )
    return doubts
