"""`Configuration`: what the user asked for, checked, every default spelled out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from jettison.domain.certificate import Requirement
from jettison.domain.contexts import Context
from jettison.domain.device import ServingProfile
from jettison.domain.recipe import Range
from jettison.domain.record import Settings


@dataclass(frozen=True, slots=True)
class ModelSection:
    """`model` of jettison.toml.

    Attributes:
        weights: file of weights for a source that is a Python function; empty if it has its own.
        inputs: `name: dtype[batch, size, ...]` of a PyTorch module, in the order of `forward`.
        prediction: name of the output that quality reads; empty to find out.
    """

    source: str
    task: str = ""
    trust_pickle: bool = False
    max_length: int = 0
    weights: str = ""
    inputs: tuple[str, ...] = ()
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class ImageSection:
    """`image` of jettison.toml: how encoded images or pixel arrays become the model's input.

    Attributes:
        size: height and width, or one number for both; empty for the size of the input.
        fit: `stretch`, or `crop` (the shorter side is resized, then the middle is cut out).
        filter: of the resizing.
        scale: pixels (0 to 255) are multiplied by it.
        mean, std: subtracted and divided by after that, one for each channel or for all.
        channels: `rgb`, `bgr` or `grey`.
    """

    size: tuple[int, ...] = ()
    fit: Literal["stretch", "crop"] = "stretch"
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["rgb", "bgr", "grey"] = "rgb"


@dataclass(frozen=True, slots=True)
class ArraysSection:
    """`arrays` of jettison.toml: arrays feed the model as they are, also one that takes texts.

    Attributes:
        padding: fills rows that are shorter than the longest of their batch.
    """

    padding: float = 0.0


@dataclass(frozen=True, slots=True)
class DataSection:
    """`data` of jettison.toml. An empty `source` means a run without data.

    Attributes:
        source: one file, divided by unit 5 / 15 / 80 %.
        fitting, selection, certification: or one file per use; then `source` is empty.
        inputs: columns that feed the model; empty to find out.
        target, unit, weight: column names; empty when there is none.
        groups: sensitive features or contexts, by column.
        seed: of the division.
        fitting_rows: most rows that techniques fit on; the surplus is left out.
        purpose: what the rows may be used for, in words; shown on the card.
        lawful_basis: on which they are processed (GDPR article 6), or empty.
        consent: column that says whether a row may be used; rows that don't say so are left out.
        consent_statement: how consent was given, where no column tells it.
        allowed_uses: uses that the rows may serve; empty means every use.
        near_duplicates: of sealed rows among the fitting rows: told, or told and left out.
    """

    source: str = ""
    fitting: str = ""
    selection: str = ""
    certification: str = ""
    inputs: tuple[str, ...] = ()
    target: str = ""
    groups: tuple[str, ...] = ()
    unit: str = ""
    weight: str = ""
    seed: int = 7
    fitting_rows: int = 512
    purpose: str = ""
    lawful_basis: str = ""
    consent: str = ""
    consent_statement: str = ""
    allowed_uses: tuple[str, ...] = ()
    near_duplicates: Literal["report", "drop"] = "report"


@dataclass(frozen=True, slots=True)
class AuditSection:
    """`audit` of jettison.toml.

    Attributes:
        who: name written with each decision; empty for the user account.
        key: path of the Ed25519 private key that signs each decision; empty for none.
    """

    who: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class SearchSection:
    """`search` of jettison.toml.

    Attributes:
        techniques, runtimes: names; empty means all that are usable here.
        minimise: cost metrics; the first is *the cost*, the others only shape the front.
        trials, max_minutes: whichever ends first.
        shortlist: candidates that certification may test, at most 6.
        seed: of the sampler and of every technique.
    """

    techniques: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    minimise: tuple[str, ...] = ("latency_ms", "size_bytes")
    trials: int = 40
    max_minutes: float = 30.0
    shortlist: int = 6
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CardSection:
    """`card` of jettison.toml: what only the owner can say; an empty text is "not stated".

    Attributes:
        intended_use, out_of_scope, limits: what the model is for, is not for, and where it fails.
        training: how and on what the original was trained.
        data: what the rows are that were given here.
        licence: of the original, as Hugging Face names it or in other words.
        base_model: the original on the Hugging Face hub, `owner/name`.
        contact: whom to write to.
    """

    intended_use: str = ""
    out_of_scope: str = ""
    limits: str = ""
    training: str = ""
    data: str = ""
    licence: str = ""
    base_model: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class AssessSection:
    """`assess` of jettison.toml: how `jettison assess` looks; no search and no certificate reads it.

    Attributes:
        cross: crossings of group columns, `sex*race`.
        positive: class that is the selection; empty for the last.
        adverse: whether being selected is a disadvantage.
        max_gap: name of a gap -> the largest allowed.
        population: group -> its share in the population.
        threshold: of the disparate-impact ratio.
        smallest: rows that a group needs to be compared.
    """

    cross: tuple[str, ...] = ()
    positive: str = ""
    adverse: bool = False
    max_gap: Mapping[str, float] = field(default_factory=dict)
    population: Mapping[str, float] = field(default_factory=dict)
    threshold: float = 0.8
    smallest: int = 20


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that a run depends on besides the files.

    Attributes:
        requirements: empty in a file means the default of the task (accuracy, or agreement
            with the original where there are no labels), filled in before the search.
        ranges, settings: per technique or runtime, narrowed ranges and fixed values.
        on_undecided: `fail`, or `ship_listed` (ships with the group named as not certified).
        image: how images are encoded; `None` where the model takes none.
        arrays: how arrays are fed; `None` for what the loader found out.
        card: what the owner says on the model card.
        contexts: conditions of use, each a group of changed copies of rows.
        report: quality metrics that are shown beside the claims and never gate.
        looks: at the sealed rows, declared before the first.
        spending: each look's share of the error rate, or empty for 6 / (pi^2 i^2).
        output: folder of the run; the bundle is `output/release`.
        ledger: folder of the ledger; empty for the user's state directory.
        audit: who answers for the run, and with which key.
        assess: how `jettison assess` looks at the model.
    """

    model: ModelSection
    data: DataSection = field(default_factory=DataSection)
    search: SearchSection = field(default_factory=SearchSection)
    serving: ServingProfile = field(default_factory=ServingProfile)
    requirements: tuple[Requirement, ...] = ()
    ranges: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)
    settings: Mapping[str, Settings] = field(default_factory=dict)
    on_undecided: Literal["fail", "ship_listed"] = "fail"
    report: tuple[str, ...] = ()
    looks: int = 1
    spending: tuple[float, ...] = ()
    output: str = "jettison-run"
    ledger: str = ""
    image: ImageSection | None = None
    arrays: ArraysSection | None = None
    audit: AuditSection = field(default_factory=AuditSection)
    card: CardSection = field(default_factory=CardSection)
    contexts: tuple[Context, ...] = ()

    @property
    def sections(self) -> Mapping[str, object]:
        """Every part by name, of which an encoder may claim one."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    assess: AssessSection = field(default_factory=AssessSection)
