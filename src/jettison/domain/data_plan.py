"""`DataPlan`: how many rows a certificate will need, said before any row is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Way:
    """One way to certify a part: with labels, or by churn without any.

    Attributes:
        floor: fewest rows that can pass even if no row changes.
        needed: about how many pass with a chance of 80 %; `None` where no number does.
        labels: about how many of them a person must label, if only those are labelled on which
            the models differ; 0 for churn.
        obstacle: why no number of rows would do; empty otherwise.
    """

    floor: int
    needed: int | None
    labels: int | None
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class DataPart:
    """The whole, or one group.

    Attributes:
        group, margin: what is asked.
        held: sealed rows (or units) at hand; `None` without data.
        disagreement: expected share of rows on which exactly one model is right.
        churn: expected share of rows on which the models give different answers.
        drop: expected true drop.
        labelled, by_churn: the two ways.
        state: whether the rows at hand suffice for one of the two.
        advice: what to do, one sentence each; empty when enough.
    """

    group: str
    margin: float
    held: int | None
    disagreement: float
    churn: float
    drop: float
    labelled: Way
    by_churn: Way
    state: Literal["enough", "by churn only", "too few", "impossible", "no data"]
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataPlan:
    """Rows needed and held for a certificate, per group.

    Attributes:
        metric: of the labelled certificate; churn is certified by `churn_metric`;
            empty where a share of changed answers certifies nothing.
        confidence: 1 - the error rate.
        counted: what is counted: `rows`, or `units` where rows belong together.
        basis: where the expected disagreement comes from, one sentence.
        parts: the whole first, then each group.
        notes: what a person should know about these numbers.
    """

    metric: str
    churn_metric: str
    confidence: float
    counted: Literal["rows", "units"]
    basis: str
    parts: tuple[DataPart, ...]
    notes: tuple[str, ...] = ()
