"""What the parent asks of a worker process, and what comes back: JSON records and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from jettison.domain.attribution import Contest
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, LayerLosses, StageCost
from jettison.domain.recipe import Change, Step
from jettison.domain.record import Settings
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as it will be run: the baseline or a candidate, ready to be measured.

    Attributes:
        name: `baseline`, `a/a`, or the digest of a recipe.
        one_by_one: a call of k rows is k runs of one row (`batch-dependent`, `fixed-batch`).
    """

    name: str
    model: Model
    runtime: Step
    one_by_one: bool = False


@dataclass(frozen=True, slots=True)
class LoadJob:
    """Load a source with a registered loader into `folder`. Answer: `Model`."""

    loader: str
    location: str
    task: str
    options: Settings
    folder: str


@dataclass(frozen=True, slots=True)
class ApplyJob:
    """Apply one step to a model. Answer: `ApplyAnswer`.

    Attributes:
        original: the untouched model that the recipe began with; `None` where it is not known.
    """

    model: Model
    step: Step
    fitting: FittingData
    folder: str
    cache: str
    serving: ServingProfile
    original: Model | None = None


@dataclass(frozen=True, slots=True)
class ApplyAnswer:
    """The changed model, what was changed, and what the worker used.

    Attributes:
        seconds: of the step alone, without the start of the worker.
        running_seconds: of these, running the model on fitting rows; the rest is graph edits.
        fitting: what later steps shall fit on, if the step chose other rows.
    """

    model: Model
    changes: tuple[Change, ...]
    seconds: float
    peak_memory_bytes: int
    base_memory_bytes: int
    running_seconds: float = 0.0
    fitting: FittingData | None = None


@dataclass(frozen=True, slots=True)
class ProfileJob:
    """Time the stages and layers of a model on its runtime. Answer: `ProfileAnswer`.

    Attributes:
        raw: folder with the raw examples to time the encoder on; empty when there is none.
        fitting: rows to find the sensitivity of layers from; `None` leaves it out.
        cache: folder of facts that techniques share; needed with `fitting`.
        stages: whether stages are timed, too; without them nothing but `layers` is answered.
    """

    model: Model
    runtime: Step
    rows: Rows
    serving: ServingProfile
    raw: str = ""
    fitting: FittingData | None = None
    cache: str = ""
    stages: bool = True


@dataclass(frozen=True, slots=True)
class ProfileAnswer:
    """Costs of stages and layers, and what layers lose when they alone are changed.

    Attributes:
        layer_ms, layer_batch: as in `Profile`.
    """

    stages: tuple[StageCost, ...]
    layers: tuple[LayerCost, ...]
    notes: tuple[str, ...] = ()
    losses: LayerLosses | None = None
    layer_ms: float = 0.0
    layer_batch: int = 0


@dataclass(frozen=True, slots=True)
class AttributeJob:
    """Find by gradients what moved some answers. Answer: `AttributeAnswer`.

    Attributes:
        rows: all rows that the contests speak of.
        folder: where the attributions go, one `.npy` an input.
    """

    model: Model
    runtime: Step
    serving: ServingProfile
    rows: Rows
    contests: tuple[Contest, ...]
    folder: str


@dataclass(frozen=True, slots=True)
class AttributeAnswer:
    """Attributions of each value of each input that moved, one row a contest (see `output_file`).

    Attributes:
        inputs: that moved; a file of each has shape (contests, ...) of the input.
    """

    folder: str
    inputs: tuple[str, ...]

    def file(self, name: str) -> Path:
        """Where the attributions of one input lie."""
        return output_file(Path(self.folder), name)


@dataclass(frozen=True, slots=True)
class RatesJob:
    """Measure how fast this machine reads and multiplies with so many threads. Answer: `Rates`."""

    threads: int


@dataclass(frozen=True, slots=True)
class SessionJob:
    """Serve one prepared model over the pipe: `burst`, `score`, `resources`, `quit`.

    Attributes:
        rows: from which bursts draw their batches, in order, the same for every variant.
        one_by_one: run each batch row by row (a `batch-dependent` or `fixed-batch` model).
        inspect: also find out which provider each node runs on (`Ready.providers`). This loads
            the model once more, so it is left out where memory or load time is measured.
    """

    model: Model
    runtime: Step
    rows: Rows
    serving: ServingProfile
    one_by_one: bool = False
    inspect: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """First answer of a session.

    Attributes:
        load_seconds, first_call_seconds: apart from the steady state.
        base_memory_bytes: of the process after imports, before the model.
        providers: execution provider -> nodes that really ran there.
        batch_dependent: rows alone and together gave different answers.
    """

    load_seconds: float
    first_call_seconds: float
    base_memory_bytes: int
    providers: Mapping[str, int] = field(default_factory=dict)
    batch_dependent: bool = False
    largest_batch_difference: float = 0.0


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds of each timed call and of CPU time, and how often the process was preempted."""

    seconds: tuple[float, ...]
    cpu_seconds: float
    preempted_calls: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Outputs of all rows of a `Rows`, one `.npy` per output name (see `output_file`)."""

    folder: str
    outputs: tuple[str, ...]
    n: int
    seconds: float

    def file(self, output: str) -> Path:
        """Where the rows of one output lie."""
        return output_file(Path(self.folder), output)


def output_file(folder: Path, output: str) -> Path:
    """The `.npy` file of an output or input; always in the folder, whatever the model calls the output.

    >>> output_file(Path("outputs"), "../StatefulCall:0").name
    '..%2FStatefulCall%3A0.npy'
    """
    return folder / f"{quote(output, safe='')}.npy"


@dataclass(frozen=True, slots=True)
class Resources:
    """What the worker has used so far."""

    peak_memory_bytes: int
    base_memory_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """The worker's answer when a job fails: the exception's class name and message."""

    error: str
    message: str
    traceback: str = ""
