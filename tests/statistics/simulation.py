"""Simulated certifications: synthetic paired rows through the product's own shortlist and tests.

A run draws selection counts and sealed counts for 50 candidates, lets a procedure pick one, and
records whether the pick is bad (its true drop is at or beyond a margin) or fine. Tests run the
short form of each scenario, `benchmarks/certification.py` the long one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jettison.statistics import (
    Judgement,
    Part,
    Prospect,
    combine,
    floor_rows,
    paired_binary_p_value,
    run_fixed_sequence,
    shortlist,
)

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ALPHA = 0.05
CANDIDATES = 50
# Disagreement of a candidate with no drop; a drop adds to it, so that it is 3 % at a drop of 1 %.
CHURN = 0.02
SHARES = (0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12, 0.15, 0.17)
HELD = Judgement("held", None, None, None, "A", 0, "")
OPEN = Judgement("undecided", None, None, None, "A", 0, "")


class Memo:
    """Remembers, per (n, c, margin, alpha), which b are held: the p-value grows with b."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, float, float], tuple[int, int]] = {}

    def held(self, b: int, c: int, n: int, margin: float, alpha: float = ALPHA) -> bool:
        """Asks whether `binary_verdict` is `held`, unless a neighbour's answer settles it."""
        key = (n, c, margin, alpha)
        passed, failed = self._known.get(key, (-1, n + 1))
        if passed < b < failed:
            # A test holds this line to `binary_verdict`, which would also search for harm.
            if n >= floor_rows(margin, alpha) and paired_binary_p_value(b, c, n, margin) <= alpha:
                passed = b
            else:
                failed = b
            self._known[key] = (passed, failed)
        return b <= passed

    def largest_held(self, c: int, n: int, margin: float, alpha: float, start: int = -1) -> int:
        """Finds the largest b that is held, known to be at least `start`; -1 if none is."""
        low, step = start, 1
        while low + step <= n - c and self.held(low + step, c, n, margin, alpha):
            # From one c to the next the edge mostly moves by one, so the first two steps are 1.
            low, step = low + step, 1 if low == start else 2 * step
        high = min(low + step, n - c + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.held(middle, c, n, margin, alpha) else (low, middle)
        return low


MEMO = Memo()


@dataclass(frozen=True)
class Draw:
    """One run. Counts have the shape (candidates, parts): b and c of selection and sealed rows."""

    select_b: Counts
    select_c: Counts
    sealed_b: Counts
    sealed_c: Counts


@dataclass(frozen=True)
class Scenario:
    """The truth behind many runs.

    Attributes:
        name: for messages and tables.
        drops: true drop, shape (candidates, groups); ordered from cheapest to dearest.
        sealed: sealed rows of each group.
        selection: selection rows of each group.
        margins: margin of the whole, then of each group where there are groups.
        correlated: whether candidates tend to fail on the same rows.
    """

    name: str
    drops: Floats
    sealed: tuple[int, ...]
    selection: tuple[int, ...]
    margins: tuple[float, ...]
    correlated: bool = False
    costs: Floats = field(default_factory=lambda: np.linspace(0.2, 0.98, CANDIDATES))

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Candidates at or beyond a margin, shape (candidates,)."""
        shares = np.array(self.sealed) / sum(self.sealed)
        bad = self.drops @ shares >= self.margins[0] - 1e-9
        if len(self.margins) > 1:
            bad |= (self.drops >= np.array(self.margins[1:]) - 1e-9).any(axis=1)
        return np.asarray(bad)

    @property
    def rows(self) -> tuple[int, ...]:
        """Sealed rows of each part: the whole, then the groups."""
        return (sum(self.sealed), *(self.sealed if len(self.margins) > 1 else ()))

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draws one run."""
        return Draw(*self._counts(rng, self.selection), *self._counts(rng, self.sealed))

    def _counts(self, rng: np.random.Generator, rows: tuple[int, ...]) -> tuple[Counts, Counts]:
        both = CHURN + np.abs(self.drops)
        p10, p01 = (both + self.drops) / 2, (both - self.drops) / 2
        if self.correlated:
            return _correlated_counts(rng, rows[0], p10[:, 0], p01[:, 0])
        b = rng.binomial(np.array(rows), p10)
        c = rng.binomial(np.array(rows) - b, p01 / (1 - p10))
        return self._with_whole(b), self._with_whole(c)

    def _with_whole(self, counts: Counts) -> Counts:
        whole = counts.sum(axis=1, keepdims=True)
        return np.hstack([whole, counts]) if len(self.margins) > 1 else whole


def _correlated_counts(
    rng: np.random.Generator, n: int, p10: Floats, p01: Floats
) -> tuple[Counts, Counts]:
    """Draws counts of candidates that share 80 % of their fate on each hard row."""
    hard = 2.0 * float((p10 + p01).max())
    size = int(rng.binomial(n, hard))
    shared = rng.random((1, size))
    own = rng.random((p10.size, size))
    fate = np.where(rng.random(own.shape) < 0.8, shared, own) * hard
    b = (fate < p10[:, None]).sum(axis=1)
    c = (fate >= hard - p01[:, None]).sum(axis=1)
    return b[:, None], c[:, None]


Procedure = Callable[[Scenario, Draw], int | None]


def prospects(scenario: Scenario, draw: Draw) -> list[Prospect]:
    """Describes a draw's candidates to the product's shortlist."""
    selection = (sum(scenario.selection), *scenario.selection)[: draw.select_b.shape[1]]
    drops = ((draw.select_b - draw.select_c) / np.array(selection)).tolist()
    both = ((draw.select_b + draw.select_c) / np.array(selection)).tolist()
    asked = list(zip(map(str, range(99)), selection, scenario.rows, scenario.margins, strict=False))
    return [
        Prospect(
            str(k),
            cost,
            tuple(
                Part(name, drop, share, seen, n, margin)
                for (name, seen, n, margin), drop, share in zip(
                    asked, drops[k], both[k], strict=True
                )
            ),
        )
        for k, cost in enumerate(scenario.costs.tolist())
    ]


def certify(scenario: Scenario, draw: Draw) -> int | None:
    """Ships by the product's procedure: shortlist, fixed sequence, intersection-union."""
    order = [ranked.prospect.name for ranked in shortlist(prospects(scenario, draw), ALPHA)]

    def test(name: str) -> Judgement:
        k = int(name)
        parts = {
            str(j): HELD if MEMO.held(int(b), int(c), n, margin) else OPEN
            for j, (b, c, n, margin) in enumerate(
                zip(
                    draw.sealed_b[k],
                    draw.sealed_c[k],
                    scenario.rows,
                    scenario.margins,
                    strict=True,
                )
            )
        }
        return HELD if combine(parts).verdict == "held" else OPEN

    shipped = run_fixed_sequence(order, test).shipped
    return None if shipped is None else int(shipped)


def certify_whole_only(scenario: Scenario, draw: Draw) -> int | None:
    """A faulty procedure: the groups have margins, but only the whole is tested."""
    whole = Scenario(
        scenario.name,
        scenario.drops,
        scenario.sealed,
        scenario.selection,
        scenario.margins[:1],
        costs=scenario.costs,
    )
    columns = (draw.select_b, draw.select_c, draw.sealed_b, draw.sealed_c)
    return certify(whole, Draw(*(x[:, :1] for x in columns)))


def naive_point(scenario: Scenario, draw: Draw) -> int | None:
    """A faulty procedure: the cheapest whose drop, as seen, is below the margin."""
    seen = (draw.sealed_b[:, 0] - draw.sealed_c[:, 0]) / scenario.rows[0]
    return _cheapest(seen < scenario.margins[0])


def unadjusted_interval(scenario: Scenario, draw: Draw) -> int | None:
    """A faulty procedure: the cheapest of all fifty whose own 95 % bound is below the margin."""
    n = scenario.rows[0]
    seen = (draw.sealed_b[:, 0] - draw.sealed_c[:, 0]) / n
    both = (draw.sealed_b[:, 0] + draw.sealed_c[:, 0]) / n
    bound = seen + special.ndtri(1 - ALPHA) * np.sqrt((both - seen**2) / n)
    return _cheapest(bound <= scenario.margins[0])


def _cheapest(fit: NDArray[np.bool_]) -> int | None:
    return int(np.flatnonzero(fit)[0]) if fit.any() else None


@dataclass(frozen=True)
class Rates:
    """Shares of runs that shipped a bad model, and a fine one."""

    false: float
    fine: float
    runs: int

    @property
    def ceiling(self) -> float:
        """Alpha and three standard errors of a simulated rate at alpha."""
        return ALPHA + 3 * float(np.sqrt(ALPHA * (1 - ALPHA) / self.runs))


def simulate(scenario: Scenario, procedure: Procedure, runs: int, seed: int) -> Rates:
    """Runs a procedure many times."""
    rng = np.random.default_rng(seed)
    bad = scenario.bad
    shipped = [procedure(scenario, scenario.draw(rng)) for _ in range(runs)]
    picks = [k for k in shipped if k is not None]
    false = sum(bool(bad[k]) for k in picks)
    return Rates(false / runs, (len(picks) - false) / runs, runs)


def flat(name: str, sealed: int, drop: float = 0.01, correlated: bool = False) -> Scenario:
    """Every candidate at one drop; no groups."""
    drops = np.full((CANDIDATES, 1), drop)
    return Scenario(name, drops, (sealed,), (500,), (0.01,), correlated)


def ladder(sealed: int, selection: int = 500) -> Scenario:
    """Drops from 5 % to 0, rising quadratically with compression; no groups."""
    drops = 0.05 * np.linspace(1, 0, CANDIDATES)[:, None] ** 2
    return Scenario(f"ladder {sealed}", drops, (sealed,), (selection,), (0.01,))


def grouped(name: str, sealed: int, drops: Floats) -> Scenario:
    """Ten groups with shares from 5 % to 17 %; margins of 1 % on the whole and 3 % on each."""
    sizes = tuple(round(sealed * share) for share in SHARES)
    selection = tuple(round(2000 * share) for share in SHARES)
    return Scenario(name, drops, sizes, selection, (0.01, *[0.03] * len(SHARES)))


def small_group_at_margin(sealed: int) -> Scenario:
    """All is fine, but for the 5 % group, which sits exactly at its margin."""
    drops = np.zeros((CANDIDATES, len(SHARES)))
    drops[:, 0] = 0.03
    return grouped(f"small group at its margin, {sealed}", sealed, drops)


def everyone_at_margin(sealed: int) -> Scenario:
    """Each group, and so the whole, loses exactly the margin of the whole."""
    drops = np.full((CANDIDATES, len(SHARES)), 0.01)
    return grouped(f"everyone at the margin, {sealed}", sealed, drops)


def grouped_ladder(sealed: int) -> Scenario:
    """The ladder, with equal drops in all groups."""
    rungs = 0.05 * np.linspace(1, 0, CANDIDATES)[:, None] ** 2
    return grouped(f"ladder in groups, {sealed}", sealed, np.repeat(rungs, len(SHARES), axis=1))


def adaptive_search(runs: int, seed: int, leaked: bool, sealed: int = 2000) -> Rates:
    """Evolves 50 candidates, each a change of a tenth of the best one's rows, all truly bad.

    The score that steers the search comes from 500 selection rows, or, where the seal leaks, from
    the sealed rows.
    """
    rng = np.random.default_rng(seed)
    scenario = flat("adaptive", sealed)
    false = sum(certify(scenario, _evolve(rng, scenario, leaked)) is not None for _ in range(runs))
    return Rates(false / runs, 0.0, runs)


def _evolve(rng: np.random.Generator, scenario: Scenario, leaked: bool) -> Draw:
    search, n = scenario.selection[0], scenario.selection[0] + scenario.sealed[0]
    looked_at = slice(search, n) if leaked else slice(0, search)
    chance = np.array([0.01, 0.02])  # P(wins), P(losses): a drop of 1 %, disagreement of 3 %

    def fates(size: int) -> NDArray[np.int8]:
        u = rng.random(size)
        return ((u < chance[1]).astype(np.int8) - (u > 1 - chance[0])).astype(np.int8)

    best = fates(n)
    rows: list[tuple[int, int, int, int]] = []
    best_score = int(best[looked_at].sum())
    for _ in range(CANDIDATES):
        child = best.copy()
        changed = rng.integers(n, size=n // 10)
        child[changed] = fates(changed.size)
        losses, wins = child == 1, child == -1
        rows.append(
            (
                int(losses[:search].sum()),
                int(wins[:search].sum()),
                int(losses[search:].sum()),
                int(wins[search:].sum()),
            )
        )
        score = int(child[looked_at].sum())
        if score <= best_score:
            best, best_score = child, score
    # The latest candidates are the most evolved, and here also the cheapest.
    table = np.array(rows[::-1], dtype=np.int64)
    if leaked:  # whoever searches on the sealed rows also ranks by them
        scale = scenario.selection[0] / scenario.sealed[0]
        table[:, :2] = np.round(table[:, 2:] * scale)
    return Draw(*(table[:, i : i + 1] for i in range(4)))


def exact_size(n: int, margin: float, alpha: float, p01: Floats) -> Floats:
    """Computes the exact chance of `held` at a drop of exactly the margin, for each p01."""
    if n < floor_rows(margin, alpha):
        return np.zeros_like(p01)
    wins, limit = _rejection_region(n, margin, alpha, p01)
    return np.array([_held_probability(n, wins, limit, p + margin, p) for p in p01])


def exact_power(n: int, margin: float, drop: float, disagreement: float) -> float:
    """Computes the exact chance of `held` at a true drop and disagreement, by the product's test."""
    p10, p01 = (disagreement + drop) / 2, (disagreement - drop) / 2
    wins, limit = _rejection_region(n, margin, ALPHA, np.array([p01]))
    return _held_probability(n, wins, limit, p10, p01)


def _rejection_region(n: int, margin: float, alpha: float, p01: Floats) -> tuple[Counts, Counts]:
    """Finds the largest b that is held, for each c that is at all likely."""
    reach = 5.3 * np.sqrt(n * p01 * (1 - p01)) + 9
    first = int(max(0, np.floor((n * p01 - reach).min())))
    last = int(min(n, np.ceil((n * p01 + reach).max())))
    most, limits = -1, []
    for c in range(first, last + 1):
        # The largest b that is held never falls as c grows, so each search starts at the last.
        most = MEMO.largest_held(c, n, margin, alpha, min(most, n - c))
        limits.append(most)
    return np.arange(first, last + 1), np.array(limits)


def _held_probability(n: int, wins: Counts, limit: Counts, p10: float, p01: float) -> float:
    weight = np.exp(
        special.gammaln(n + 1)
        - special.gammaln(wins + 1)
        - special.gammaln(n - wins + 1)
        + special.xlogy(wins, p01)
        + special.xlog1py(n - wins, -p01)
    )
    chance = min(p10 / (1 - p01), 1.0)
    inside = np.where(limit >= 0, special.bdtr(np.maximum(limit, 0), n - wins, chance), 0.0)
    return float((weight * inside).sum())
