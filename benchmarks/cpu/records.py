"""What the benchmark keeps on disk between its stages: one folder a model under `.bench/cpu`."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.files import write_atomically
from jettison.domain.jobs import Variant
from jettison.domain.measurement import Estimate
from jettison.domain.model import Model
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
WORK = Path(".bench/cpu").absolute()
TORCH = "bench_torch_peer"
"""The runtime of what PyTorch's own tools made."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with rows.

    Attributes:
        name: a key of `MARGINS` or `SPEED_ONLY`.
        model: in float, as it is given to jettison and to every peer but those of PyTorch.
        fitting: rows for ranges, without labels.
        selection: rows that a search may judge quality on.
        tested: rows for the verdict, which nothing was fitted on; labels lie beside both.
        metric: `accuracy`, `cosine`, `words`, or empty where only speed counts.
        timed: rows to time with, by what their title adds ("16 tokens"); one entry with an empty
            title where there is nothing to tell apart.
        runtime: what runs `model` as it is given.
        net: function of `benchmarks.cpu.nets` that makes the same network in PyTorch; or empty.
        serving: batch sizes.
    """

    name: str
    model: Model
    fitting: FittingData
    selection: Rows
    tested: Rows
    metric: str
    timed: Mapping[str, Rows]
    net: str = ""
    runtime: str = "onnx_runtime"
    serving: ServingProfile = field(default_factory=ServingProfile)

    @property
    def one_by_one(self) -> bool:
        """Whether the model takes one row a call."""
        return "fixed-batch" in self.model.traits

    @property
    def folder(self) -> Path:
        """Where everything about it lies."""
        return WORK / self.name


@dataclass(frozen=True, slots=True)
class Built:
    """One row to be: a variant, or why there is none.

    Attributes:
        owner: `original`, `float`, `peer` or `jettison`.
        seconds: of CPU time to get there, children included: others use the machine as well.
        note: what was done, or why it failed.
    """

    name: str
    owner: str
    variant: Variant | None
    seconds: float
    note: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a variant lost on the tested rows; empty verdict where nothing is judged."""

    value: float
    drop: float
    bound: float | None
    verdict: str
    n: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the claim protocol found for one model and one set of rows.

    Attributes:
        costs: variant -> its costs, and its gains over the original.
        best: the fastest that is not jettison's and meets the margin.
        ratios: speed of jettison's choice over it, overall and by batch size.
        others: the same for further results of jettison's, by name.
        floor: noise floor, as a fraction; launches: fresh processes of every variant.
        conditions: what else ran, in words; busy: too much of it.
    """

    costs: Mapping[str, tuple[Estimate, ...]]
    best: str
    ratios: tuple[Estimate, ...]
    others: Mapping[str, tuple[Estimate, ...]]
    floor: float
    launches: int
    conditions: str
    busy: bool


@dataclass(frozen=True, slots=True)
class State:
    """All of one model that is known so far.

    Attributes:
        ranking: title of the timed rows -> variant -> speed over the original, one launch.
        claims: title of the timed rows -> what the claim protocol found.
    """

    subject: Subject
    built: tuple[Built, ...] = ()
    judged: Mapping[str, Judged] = field(default_factory=dict)
    ranking: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    claims: Mapping[str, Claimed] = field(default_factory=dict)

    def variant(self, name: str) -> Variant:
        """The variant of a built row."""
        found = next(b.variant for b in self.built if b.name == name)
        if found is None:
            raise KeyError(name)
        return found


def keep(state: State) -> None:
    """Writes the state of a model."""
    write_atomically(state.subject.folder / "state.json", to_json(state, indent=1))


def kept(name: str) -> State | None:
    """Reads it back; `None` if the model was not built."""
    path = WORK / name / "state.json"
    return from_json(State, path.read_bytes()) if path.exists() else None


def rows_in(folder: Path, arrays: Mapping[str, Array], labels: Array | None = None) -> Rows:
    """Writes rows, and their right answers beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    if labels is not None:
        np.save(folder / "_answers.npy", labels)
    n = len(next(iter(arrays.values())))
    return Rows(str(folder), tuple(arrays), n, digest=f"{folder.parent.name}-{folder.name}-{n}")


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    own, children = (resource.getrusage(who) for who in WHO)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def answers(rows: Rows) -> Array:
    """The right answers beside rows."""
    found: Array = np.load(Path(rows.folder) / "_answers.npy")
    return found[: rows.n]
