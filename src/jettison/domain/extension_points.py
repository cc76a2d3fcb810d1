"""The doors for plug-ins. Each is one `Protocol`; a plug-in is one file and one entry-point line.

Importing a plug-in module must be cheap: torch, onnxruntime, sklearn, ... are imported inside the
methods that use them, so that `jettison list` and planning stay quick and the parent process
never loads a model. `name` is the entry-point name. Plug-ins are made without arguments.
The doors around a model (raw rows before it, requests, bundles) stand in `outer_points`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from jettison.domain.device import Device, ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.examples import Encoded as Encoded
from jettison.domain.examples import Example as Example
from jettison.domain.jobs import Burst, Ready, Resources
from jettison.domain.measurement import Better
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import LayerCost, LayerLosses, Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.domain.splits import FittingData

Outputs = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Source:
    """What the user pointed at.

    Attributes:
        location: absolute path of a file or folder, or empty for a live object.
        task: as in `Model`, or `feature-extraction` (an embedding of each token), or empty to
            find out.
        options: plain values such as `trust_pickle` or `max_length`.
        live: a model object in this Python process, or `None`.
    """

    location: str
    task: str = ""
    options: Settings = field(default_factory=dict)
    live: Any = None


class Runner(Protocol):
    """A model prepared on a device."""

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers named arrays (rows first) with named arrays (rows first)."""
        ...

    def providers(self) -> Mapping[str, int]:
        """Which execution provider each node really ran on: provider -> number of nodes."""
        ...

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Costs of each operator on this batch; empty where the runtime can't tell."""
        ...


class Workbench(Protocol):
    """What a technique may use besides its arguments. Lives in the worker process."""

    @property
    def folder(self) -> Path:
        """An empty folder that belongs to this step; the saved model goes in here."""
        ...

    @property
    def cache(self) -> Path:
        """A folder that all steps of a run share: costly facts keyed by content digest."""
        ...

    @property
    def device(self) -> Device: ...

    @property
    def serving(self) -> ServingProfile: ...

    @property
    def original(self) -> Model | None:
        """The untouched model that the recipe began with, to learn its answers; may be unknown."""
        ...

    def open(self, model: Model) -> Any:
        """Opens a model with its `Format`: the native object."""
        ...

    def save(self, native: Any, format_name: str, like: Model) -> Model:
        """Saves a native object into `folder` and describes it; traits and encoder of `like`."""
        ...

    def runner(self, model: Model) -> Runner:
        """Prepares a model on its own default runtime (for equality checks, sensitivity)."""
        ...


class Format(Protocol):
    """One kind of artifact on disk."""

    name: ClassVar[str]
    trait: ClassVar[str]
    """The trait that every model of this format has (`onnx`, `torch`, `sklearn`)."""

    def open(self, artifact: Artifact) -> Any:
        """Gives the native object. Never runs code from the file.

        Raises:
            ModelError: if the file is not what its name says.
        """
        ...

    def save(self, native: Any, folder: Path) -> Artifact:
        """Writes the native object into a folder and describes it."""
        ...


class Loader(Protocol):
    """One way in."""

    name: ClassVar[str]

    def claims(self, source: Source) -> bool:
        """Whether this loader is the one for the source; looks at names and first bytes only."""
        ...

    def load(self, source: Source, folder: Path) -> Model:
        """Copies, checks and describes a model in `folder`; the source is never changed.

        Raises:
            ModelError: with what was found, where, what is allowed and what to do.
        """
        ...


class EncoderKind(Protocol):
    """One way from raw examples to arrays."""

    name: ClassVar[str]

    def bind(self, encoder: Encoder, model: Model, columns: tuple[str, ...]) -> Encoder:
        """Settles which columns of a table feed the model, and completes the settings.

        Raises:
            DataError: if the columns at hand can't feed the model; says which can.
        """
        ...

    def encode(self, encoder: Encoder, model: Model, examples: Example) -> Encoded:
        """Encodes examples into the model's inputs.

        Raises:
            DataError: for wrong dtypes, shapes, NaN or infinite values; says row and column.
        """
        ...

    def made_up(self, encoder: Encoder, model: Model, n: int, seed: int) -> Encoded:
        """Makes up inputs for a run without data (speed and size only)."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What a technique made.

    Attributes:
        model: the changed copy. A technique that only chooses other fitting rows gives back the
            model that it was given.
        changes: what it did.
        fitting: rows that the later steps of the recipe shall fit on, taken from those that this
            step was given, in `bench.folder`; `None` leaves them as they are.
    """

    model: Model
    changes: tuple[Change, ...]
    fitting: FittingData | None = None


class Technique(Protocol):
    """One way to change a model."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    adds: ClassVar[frozenset[str]]
    removes: ClassVar[frozenset[str]]
    conversion: ClassVar[bool]
    """Changes the format or the graph, not the answers: outputs are compared instead."""
    packages: ClassVar[tuple[str, ...]]
    """Import names that `apply` needs."""

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The open settings with the value to try first. Empty when there is nothing to choose."""
        ...

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """The most that it could gain here and why, or why it is not tried here.

        Must not depend on data, must be quick, reads only traits, profile and device.
        """
        ...

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Makes a changed copy; never changes the model that it was given.

        Same seed and settings give the same bytes. `Applied.model.traits` already has `adds`
        set and `removes` cleared, and any trait that was found on the way.

        Raises:
            NothingChanged: if no operator and no byte changed.
            CandidateFailed: if this model can't be changed so; says why.
        """
        ...


class Runtime(Protocol):
    """One way to run a model."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    home: ClassVar[str]
    """The trait whose untouched models are measured on this runtime (the baseline); or empty."""
    packages: ClassVar[tuple[str, ...]]

    def search_space(self, model: Model, profile: Profile) -> Ranges: ...

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> Runner:
        """Loads a model as it will be served.

        Args:
            model: what to run.
            native: the object that the model's `Format` opened.
            settings: of the runtime step.
            serving: threads and spinning; the same for the baseline and every candidate.
        """
        ...


@runtime_checkable
class MayRefuse(Protocol):
    """What a runtime may have besides: it tells what it needs of the machine beyond packages."""

    def refusal(self) -> str:
        """Why nothing can run on it here, with what to do; empty where it can. Quick."""
        ...


@runtime_checkable
class TellsSensitivity(Protocol):
    """What a runtime may have besides: it can tell what each of its layers loses."""

    def sensitivity(self, model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
        """Finds what layers lose when they alone are changed, by the names of `layer_costs`.

        The work depends on the model and the rows, never on a clock. Runs in a worker process.

        Raises:
            CandidateFailed: if it can't be had for this model or these rows; says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a quality metric sees.

    Attributes:
        targets: shape (n,), or `None`.
        outputs: of the candidate; `outputs[prediction]` is what metrics usually read.
        reference: outputs of the original on the same rows; where a metric that is not
            `against_reference` scores one group, those of all rows.
        prediction: name of the output to read.
        labels: class names in score order; may be empty.
    """

    targets: Array | None
    outputs: Outputs
    reference: Outputs
    prediction: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """A metric's value over the rows given, and each row's part in it.

    Attributes:
        value: of the metric.
        contributions: what each row adds. Of a `binary` or `bounded_mean` metric: shape (n,), and
            `value` is their mean. Of `ratio_of_sums`: shape (n, 2), a numerator and a base at
            least 0 that doesn't depend on the model (errors, words); `value` is the ratio of the
            sums. Of `influence`: shape (n,), `value` plus the influence of each row on it, so
            that their mean is `value`; of `reported_only` likewise, or any part of each row.
        strata: of `influence`: 1 for a positive row and 0 for a negative one, shape (n,) of
            int64; a verdict needs enough of both. `None` for other kinds.
    """

    value: float
    contributions: Array
    strata: Array | None = None


MetricKind = Literal["binary", "bounded_mean", "ratio_of_sums", "influence", "reported_only"]


class QualityMetric(Protocol):
    """One measure of quality. `kind` alone picks the test; an author writes no statistics."""

    name: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better]
    kind: ClassVar[MetricKind]
    low: ClassVar[float]
    high: ClassVar[float]
    """Bounds of one row's contribution (0 and 1 for `binary`; multiples of the base for
    `ratio_of_sums`; infinite for `influence`)."""
    needs_targets: ClassVar[bool]
    against_reference: ClassVar[bool]
    """Compares with the original's answers, so the original has the best value on every row."""
    tasks: ClassVar[frozenset[str]]
    """Tasks that it is for."""

    def score(self, evidence: Evidence) -> Scores:
        """Scores all rows.

        Raises:
            DataError: if the metric is undefined on this data; says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class CostReading:
    """One reading of a cost metric: a curve over the serving profile and its weighted value."""

    value: float
    by_batch_size: Mapping[int, float]
    n: int


class Session(Protocol):
    """A worker process that holds one prepared model and waits for its turn."""

    @property
    def ready(self) -> Ready:
        """Load and first-call times, base memory, providers, batch dependence."""
        ...

    def burst(self, batch_size: int, calls: int) -> Burst:
        """One discarded call, then `calls` timed ones."""
        ...

    def resources(self) -> Resources:
        """Peak memory and CPU time so far."""
        ...


class CostMetric(Protocol):
    """One cost of answering, read from a worker that serves the model.

    It may also declare `of_files = True`: it reads the saved files alone, so that no runtime changes
    it; where only such costs are minimised, each recipe is tried on one runtime. With
    `of_processor = True` it says that it counts what the processor does in place of the whole: what
    runs on an accelerator would look free, and is not tried.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better]
    timed: ClassVar[bool]
    """Whether it varies from launch to launch; then its claims are ratios with intervals."""

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Takes one reading at every batch size of the serving profile, per example."""
        ...
