"""What an export is made from: a checked bundle, a name, and the settings that the user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jettison.domain.bundle import Manifest
from jettison.domain.certificate import Certificate
from jettison.domain.device import ServingProfile
from jettison.domain.measurement import Measurement
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.record import Settings

SettingValue = int | str


@dataclass(frozen=True, slots=True)
class ExportSetting:
    """One setting of a kind of export.

    Attributes:
        default: taken when none is given; its type is the setting's type.
        meaning: one sentence, with the unit.
        choices: the texts that are allowed; empty for any.
        lowest: the smallest whole number that is allowed.
    """

    default: SettingValue
    meaning: str
    choices: tuple[str, ...] = ()
    lowest: int = 1


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One bundle to be handed over.

    Attributes:
        bundle: absolute path of the folder; every file in it is the one of its manifest.
        manifest: of the bundle.
        name: that callers will ask for.
        model: what runs; paths are absolute.
        runtime, serving: how it was measured and certified.
        one_by_one: rows are run one by one, because they change each other's answers or because
            the graph takes one row a call.
        certificate: of the bundle, whatever its status.
        versions: package name -> version that the certified model ran with.
        measured: claim-tier figures of the model; `None` where it was not timed.
        settings: every setting of the kind, given or by default.
    """

    bundle: str
    manifest: Manifest
    name: str
    model: Model
    runtime: Step
    serving: ServingProfile
    one_by_one: bool
    certificate: Certificate
    versions: Mapping[str, str]
    measured: Measurement | None
    settings: Settings

    @property
    def certified(self) -> bool:
        """Whether a certificate covers the model; otherwise the user has allowed it all the same."""
        return self.certificate.status == "certified"

    @property
    def largest_batch(self) -> int:
        """Rows of the largest call that the certificate covers."""
        return 1 if self.one_by_one else max(self.serving.batch_sizes)

    def text(self, setting: str) -> str:
        """A setting that is a text."""
        return str(self.settings[setting])

    def whole(self, setting: str) -> int:
        """A setting that is a whole number."""
        return int(self.settings[setting])
