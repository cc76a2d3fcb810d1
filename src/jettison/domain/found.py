"""What `jettison find` proposes: rows whose answer changed, and slices that compression hurts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Test = Literal["is", "at least", "below", "words at least", "words below", "sure below"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One plain condition on a row.

    Attributes:
        column: of the data; empty where it is about the original's confidence.
        test: `is` compares as text; `words ...` counts words; `sure below` looks at the
            probability that the original gives its own answer.
        value: compared with, as text or number.
    """

    column: str
    test: Test
    value: str | float

    def __str__(self) -> str:
        """In plain words."""
        if self.test == "sure below":
            return f"the original is less than {float(self.value):.0%} sure"
        if self.test == "is":
            return f"{self.column} is {self.value}"
        number = f"{float(self.value):g}"
        if self.test.startswith("words"):
            return f"{self.column} has {self.test.removeprefix('words ')} {number} words"
        return f"{self.column} is {self.test} {number}"


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the data, proposed on one half of the selection rows and measured on the other.

    Attributes:
        name: column that would hold it, such as `slice_1`.
        conditions: all must hold.
        n: rows of the measuring half that belong to it.
        harmed: of them, rows that the candidate lost (without targets: rows whose answer changed).
        share, low, high: harmed / n with its 95 % interval.
        elsewhere: the share in all other rows of that half.
        p_value: one-sided Fisher test that the share is larger, corrected by Holm for the number of
            slices proposed.
    """

    name: str
    conditions: tuple[Condition, ...]
    n: int
    harmed: int
    share: float
    low: float
    high: float
    elsewhere: float
    p_value: float

    def __str__(self) -> str:
        """In plain words."""
        return " and ".join(str(condition) for condition in self.conditions)

    @property
    def certifiable(self) -> bool:
        """Whether data alone tells who belongs to it: only then it can be a group."""
        return all(condition.column for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A row whose answer compression changed.

    Attributes:
        row: its number in the user's file.
        before, after, truth: classes by name; `truth` is empty without targets.
        sure: probability that the original gave its answer; `None` where it gives none.
    """

    row: int
    before: str
    after: str
    truth: str
    sure: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """All of it.

    Attributes:
        recipe: of the candidate, in words.
        location: file of the rows.
        n: selection rows.
        exemplars: rows whose answer changed; the most certain answers of the original first.
        share, low, high: their share with its 95 % interval.
        lost, gained: exemplars that the original alone, or the candidate alone, gets right;
            `None` without targets.
        slices: proposals, by p-value.
        harm: what is counted as harm, in words.
    """

    recipe: str
    location: str
    n: int
    exemplars: tuple[Exemplar, ...]
    share: float
    low: float
    high: float
    lost: int | None
    gained: int | None
    slices: tuple[Slice, ...]
    harm: str
