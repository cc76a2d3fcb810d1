"""What moved an answer: the share of each part of an input, under the original and the new model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows

Layout = Literal["text", "table", "image", "sequence"]


@dataclass(frozen=True, slots=True)
class Contest:
    """What gradients are asked of: the way of one row from its stand-ins to itself.

    Attributes:
        row: number of the row among the rows at hand.
        stand_ins: numbers of the rows in which every part is replaced; the mean over them counts.
        old, new: the two classes of the contest.
        probabilities: whether scores are probabilities; else logits.
    """

    row: int
    stand_ins: tuple[int, ...]
    old: int
    new: int
    probabilities: bool


@dataclass(frozen=True, slots=True)
class Shares:
    """One model's view of one row.

    Attributes:
        parts: attribution of each part to the contest (see `AttributedRow`), in the order of
            `AttributedRow.parts`; positive speaks for the original's class.
        value: the contest on the row itself.
        emptied: the contest when every part is replaced at once.
    """

    parts: tuple[float, ...]
    value: float
    emptied: float

    @property
    def gap(self) -> float:
        """What the parts don't add up to: 0 where the method is complete for this model and row."""
        return (self.value - self.emptied) - sum(self.parts)


@dataclass(frozen=True, slots=True)
class AttributedRow:
    """One row whose class changed.

    The contest is the probability of the class that the original gave, less that of the class
    that the new model gave: from -1 to 1, above 0 for the original's class.

    Attributes:
        row: its number among the selection rows, from 0.
        original_class, new_class: names (or numbers) of the two classes.
        original_right: whether the original's class is the right one; `None` without labels.
        parts: what a person reads: tokens, columns with their values, places of an image.
        before, after: of the original and of the new model.
        grid: rows and columns of patches, for an image.
        picture: the image as a PNG in base64, as the model got it; empty for anything else.
        before_gradients, after_gradients: the same parts by integrated gradients; `None` where the
            model has no gradients that could be asked for.
    """

    row: int
    original_class: str
    new_class: str
    original_right: bool | None
    parts: tuple[str, ...]
    before: Shares
    after: Shares
    grid: tuple[int, int] | None = None
    picture: str = ""
    before_gradients: Shares | None = None
    after_gradients: Shares | None = None


@dataclass(frozen=True, slots=True)
class Attribution:
    """Rows whose class changed, with what moved them.

    Attributes:
        source: of the model, as the user named it.
        recipe: of the new model, in words.
        layout: of the inputs.
        method: how shares were found, one sentence.
        limits: what that can't show, one sentence each.
        rows: in the order of the selection rows.
        changed: rows whose class changed, of which `rows` are at most the number asked for.
        n: selection rows.
        seed: of every random choice.
        notes: what could not be had, one sentence each.
        gradients: how the shares by gradients were found; empty where there are none.
    """

    source: str
    recipe: str
    layout: Layout
    method: str
    limits: tuple[str, ...]
    rows: tuple[AttributedRow, ...]
    changed: int
    n: int
    seed: int
    notes: tuple[str, ...] = field(default_factory=tuple)
    gradients: str = ""


@runtime_checkable
class TellsGradients(Protocol):
    """What a runtime may have besides: it can tell by gradients what moved an answer."""

    def attributions(
        self, model: Model, native: Any, rows: Rows, contests: Sequence[Contest]
    ) -> Mapping[str, Array]:
        """Attributes each contest to the values of the inputs that differ from its stand-ins.

        Runs in a worker process.

        Returns:
            For each such input an array of one row a contest, shape (contests, ...) of the input.

        Raises:
            CandidateFailed: if it can't be had for this model or these rows; says why.
            MissingDependency: if a package is missing.
        """
        ...
