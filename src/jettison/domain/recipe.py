"""`Recipe`: one point of the search, plain values only. Ranges live in `SearchSpace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jettison.domain.model import Model
from jettison.domain.record import Scalar, Settings, digest


@dataclass(frozen=True, slots=True)
class Step:
    """One technique or runtime with its settings."""

    name: str
    settings: Settings = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.settings:
            return self.name
        inside = ", ".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return f"{self.name}({inside})"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Techniques in order, and the runtime. No steps at all is legal (runtime only)."""

    steps: tuple[Step, ...]
    runtime: Step

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self)

    def __str__(self) -> str:
        return " > ".join(str(step) for step in (*self.steps, self.runtime))


@dataclass(frozen=True, slots=True)
class Change:
    """What one technique did to the model, for the log and the report.

    Attributes:
        what: one sentence («34 of 36 MatMul to int8 per channel»).
        operators: number of operators changed.
        weights: number of weights changed.
        warning: what may be wrong with it, without a full stop; shown beside a bad verdict.
    """

    what: str
    operators: int = 0
    weights: int = 0
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe carried out: the saved model, and what each step did.

    Attributes:
        seconds: all steps and the first run, those included that an earlier recipe had paid for.
        spent_seconds: what this recipe itself took; kept steps of earlier recipes cost nothing.
        editing_seconds: of these, graph edits: neither running the model nor starting workers.
    """

    recipe: Recipe
    model: Model
    log: tuple[Change, ...]
    seconds: float = 0.0
    spent_seconds: float = 0.0
    editing_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Choices:
    """A setting that takes one of a few values; `default` is the one to try first.

    Attributes:
        values: what the search tries.
        default: one of them.
        others: whether the user may give another value of the default's type.
        when: the values that other settings of the same plug-in must have for this one to be
            read; a search varies it only there.
        after: the values that settings of one earlier step of the recipe must have for it, too.
        early: whether each value is among the first tries of its plug-in, not only the default:
            where either may be much the better one, and a try is cheap.
    """

    values: tuple[Scalar, ...]
    default: Scalar
    others: bool = False
    when: Settings = field(default_factory=dict)
    after: Settings = field(default_factory=dict)
    early: bool = False


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """A setting that takes whole numbers from `low` to `high`, both included.

    `when` and `after` are as in `Choices`.
    """

    low: int
    high: int
    default: int
    when: Settings = field(default_factory=dict)
    after: Settings = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FloatRange:
    """A setting that takes numbers from `low` to `high`; `logarithmic` searches the exponent.

    `when` and `after` are as in `Choices`.
    """

    low: float
    high: float
    default: float
    logarithmic: bool = False
    when: Settings = field(default_factory=dict)
    after: Settings = field(default_factory=dict)


Range = Choices | IntegerRange | FloatRange
Ranges = Mapping[str, Range]


def is_read(allowed: Range, settings: Settings, earlier: Sequence[Step] | None = None) -> bool:
    """Whether a setting is read beside these others; one that is not settled yet may still fit.

    Args:
        allowed: its range.
        settings: the others of the same plug-in.
        earlier: the steps before it; `None` where they are not settled yet.

    >>> is_read(FloatRange(0.1, 0.9, 0.5, when={"pattern": "unstructured"}), {"pattern": "2:4"})
    False
    """
    if not all(settings.get(other, value) == value for other, value in allowed.when.items()):
        return False
    if earlier is None or not allowed.after:
        return True
    return any(allowed.after.items() <= step.settings.items() for step in earlier)


@dataclass(frozen=True, slots=True)
class Potential:
    """The most that a technique could gain here.

    Attributes:
        speedup: upper bound of original time / new time of the model (1.0: none to be had).
        size_ratio: lower bound of new bytes / original bytes (1.0: none to be had).
        reason: one sentence, with the figure that it comes from.
        first_try: the same bound of the speedup for the settings that are tried first; 0 where
            they reach for all there is.
    """

    speedup: float
    size_ratio: float
    reason: str
    first_try: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A technique or sequence that is not tried, and why (one sentence)."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """One technique as `jettison advise` shows it."""

    technique: str
    potential: Potential
    recipes: tuple[str, ...]
    conversion: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A legal order of techniques with a runtime; settings are still open."""

    techniques: tuple[str, ...]
    runtime: str


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Everything that the search may try.

    Attributes:
        routes: the legal orders.
        ranges: per technique or runtime name, the open settings.
        fixed: per technique or runtime name, the settings that the user fixed.
        advice: each technique with the most it could gain.
        refused: what is not tried, and why.
    """

    routes: tuple[Route, ...]
    ranges: Mapping[str, Ranges]
    fixed: Mapping[str, Settings]
    advice: tuple[Advice, ...]
    refused: tuple[Refusal, ...]
