"""The shortlist: which candidates to test, in which order, and the rule that stops.

Testing in a fixed order at full alpha, and stopping at the first that isn't held, keeps the chance
of shipping any bad model at alpha: a bad model ships only if the first bad one in the order passes
its own test (W. Maurer, L. Hothorn and W. Lehmacher, "Multiple comparisons in drug clinical trials
and preclinical assays: a-priori ordered hypotheses", 1995). The order must not have used the
sealed rows; how good it is affects power only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from jettison.statistics.sample_size import pass_probability, pass_probability_mean
from jettison.statistics.verdicts import Verdict

__all__ = [
    "FixedSequence",
    "Part",
    "Prospect",
    "Ranked",
    "most_probable_then_cheaper",
    "run_fixed_sequence",
    "shortlist",
]

Floats = NDArray[np.float64]

LONGEST = 6
STEPS = (0.97, 0.85, 0.60, 0.35, 0.15)


@dataclass(frozen=True, slots=True)
class Part:
    """What the selection rows say about one part (the whole or a group), and what will be asked.

    Attributes:
        name: `overall` or the group; the same in every prospect.
        drop: seen on the selection rows, positive is worse.
        disagreement: mean square of the row drops on the selection rows; for 0/1 metrics that is
            the share of rows on which exactly one model is right.
        selection_rows: rows behind both.
        sealed_rows: rows (or units) that the seal holds for this part.
        margin: largest drop allowed.
        kind: `binary`, or `bounded_mean`.
        worst: largest drop possible (high - low); 1 for 0/1 metrics.
    """

    name: str
    drop: float
    disagreement: float
    selection_rows: int
    sealed_rows: int
    margin: float
    kind: Literal["binary", "bounded_mean"] = "binary"
    worst: float = 1.0


@dataclass(frozen=True, slots=True)
class Prospect:
    """A candidate that could be tested.

    Attributes:
        name: its digest or label, unique.
        cost_ratio: cost over the baseline's; below 1 is cheaper.
        parts: the whole and each gating group; the same parts, in the same order, in each prospect.
    """

    name: str
    cost_ratio: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A prospect with the chance that every part of it is held, as far as selection rows tell."""

    prospect: Prospect
    probability: float


def shortlist(
    prospects: Sequence[Prospect], alpha: float = 0.05, longest: int = LONGEST
) -> tuple[Ranked, ...]:
    """Orders at most six candidates for testing.

    The first is the one most likely to be held; then come the cheapest with a chance of at least
    .97, .85, .60, .35 and .15, each cheaper than the one before. Testing the whole Pareto front in
    steps was tried: chance failures among nearly equal candidates broke the chain early.

    Args:
        prospects: all candidates; those not cheaper than the baseline are left out.
        alpha: error rate of the tests.
        longest: most candidates to keep.

    Returns:
        The order of testing; empty when nothing is cheaper than the baseline.

    Raises:
        ValueError: if names repeat, or parts differ between prospects.
    """
    _check(prospects)
    cheaper = sorted(
        (p for p in prospects if p.cost_ratio < 1.0), key=lambda p: (p.cost_ratio, p.name)
    )
    if not cheaper:
        return ()
    chance = np.ones(len(cheaper))
    for index in range(len(cheaper[0].parts)):
        chance *= _part_probabilities([p.parts[index] for p in cheaper], alpha)
    costs = np.array([p.cost_ratio for p in cheaper])
    order = most_probable_then_cheaper(costs, chance)[:longest]
    return tuple(Ranked(cheaper[i], float(chance[i])) for i in order)


def most_probable_then_cheaper(costs: Floats, chances: Floats) -> tuple[int, ...]:
    """Applies the ordering rule to costs and pass probabilities, each of shape (k,).

    >>> most_probable_then_cheaper(np.array([0.2, 0.5, 0.9]), np.array([0.4, 0.9, 0.99]))
    (2, 1, 0)
    """
    best = float(chances.max())
    chosen = [min(np.flatnonzero(chances >= best - 1e-12), key=lambda i: (costs[i], i))]
    for step in STEPS:
        fit = np.flatnonzero((chances >= step) & (costs < costs[chosen[-1]]))
        if fit.size:
            chosen.append(min(fit, key=lambda i: (costs[i], i)))
    return tuple(int(i) for i in chosen)


Result = TypeVar("Result", bound="HasVerdict")
Result_co = TypeVar("Result_co", bound="HasVerdict", covariant=True)


class HasVerdict(Protocol):
    """What a test returns."""

    @property
    def verdict(self) -> Verdict:
        """`held`, `broken` or `undecided`."""
        ...


@dataclass(frozen=True, slots=True)
class FixedSequence(Generic[Result_co]):
    """What was tested, and what may ship.

    Attributes:
        tested: names with results, in order; the last may be the one that stopped the sequence.
        passed: names of the leading candidates that are held.
        shipped: the last of `passed`, the cheapest; `None` if the first was not held.
    """

    tested: tuple[tuple[str, Result_co], ...]
    passed: tuple[str, ...]

    @property
    def shipped(self) -> str | None:
        """The last of the passed prefix."""
        return self.passed[-1] if self.passed else None


def run_fixed_sequence(
    order: Sequence[str], test: Callable[[str], Result]
) -> FixedSequence[Result]:
    """Tests in order, each at full alpha, and stops at the first that isn't held.

    Args:
        order: names, frozen before the sealed rows were opened.
        test: judges one candidate on the sealed rows; called at most once a name.

    >>> from jettison.statistics.group_gaps import Combined
    >>> verdicts = {"safe": "held", "bold": "held", "wild": "undecided", "mad": "held"}
    >>> run_fixed_sequence(list(verdicts), lambda name: Combined(verdicts[name])).shipped
    'bold'
    """
    if len(set(order)) != len(order):
        raise ValueError("the order names a candidate twice")
    tested: list[tuple[str, Result]] = []
    passed: list[str] = []
    for name in order:
        result = test(name)
        tested.append((name, result))
        if result.verdict != "held":
            break
        passed.append(name)
    return FixedSequence(tuple(tested), tuple(passed))


def _part_probabilities(parts: Sequence[Part], alpha: float) -> Floats:
    """Predicts how likely each candidate (cheapest first) passes one part.

    The chance of a candidate is the product over its parts: groups share no rows, so their tests
    are independent once the true drops are given. The minimum would overlook that ten groups at
    .95 each pass together only at .60.
    """
    first = parts[0]
    drops = np.array([p.drop for p in parts])
    squares = np.maximum([p.disagreement for p in parts], np.abs(drops) ** 2)
    rows = np.array([max(p.selection_rows, 1) for p in parts], dtype=np.float64)
    # One pseudo-row of the average keeps "no disagreement in 40 rows" from meaning certainty.
    squares = (squares * rows + squares.mean() + 0.01 * first.worst**2) / (rows + 1.0)
    smooth, variance = _smooth(drops, squares / rows, rows)
    if first.kind == "binary":
        sealed = np.array([p.sealed_rows for p in parts])
        return pass_probability(smooth, squares, sealed, first.margin, alpha, variance)
    return np.array(
        [
            _blurred_mean_chance(part, float(drop), float(square), float(blur), alpha)
            for part, drop, square, blur in zip(parts, smooth, squares, variance, strict=True)
        ]
    )


def _blurred_mean_chance(
    part: Part, drop: float, square: float, blur: float, alpha: float
) -> float:
    """Averages the chance of a bounded mean over the doubt about its drop (3-point Gauss rule)."""
    deviation = math.sqrt(max(square - drop**2, 0.0))
    reach = math.sqrt(3.0 * blur)
    below, at, above = (
        pass_probability_mean(
            drop + shift, deviation, part.sealed_rows, part.margin, part.worst, alpha
        )
        for shift in (-reach, 0.0, reach)
    )
    return (below + 4.0 * at + above) / 6.0


def _smooth(drops: Floats, noise: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Pulls each drop towards a curve that falls with cost (empirical Bayes).

    Args:
        drops: of candidates ordered from cheapest to dearest, shape (k,).
        noise: sampling variance of each drop, shape (k,).
        rows: selection rows, shape (k,).

    Returns:
        Smoothed drops, and the variance that is left in each.
    """
    fit = isotonic_regression(drops, weights=rows, increasing=False)
    curve = np.asarray(fit.x, dtype=np.float64)
    between = max(float(np.mean((drops - curve) ** 2 - noise)), 0.0)
    weight = between / (between + noise + 1e-18)
    edges = np.asarray(fit.blocks, dtype=np.int64)
    sizes = edges[1:] - edges[:-1]
    # A level of the curve averages the candidates of its block, and errs by that much less.
    curve_noise = noise / np.repeat(sizes, sizes)
    return curve + weight * (drops - curve), weight * noise + (1.0 - weight) * curve_noise


def _check(prospects: Sequence[Prospect]) -> None:
    names = [p.name for p in prospects]
    if len(set(names)) != len(names):
        raise ValueError("prospects must have different names")
    for one in prospects:
        if [(p.name, p.kind) for p in one.parts] != [(p.name, p.kind) for p in prospects[0].parts]:
            raise ValueError(f"{one.name} must have the same parts as {prospects[0].name}")
