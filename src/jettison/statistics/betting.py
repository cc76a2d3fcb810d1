"""An anytime-valid test, by betting, that a drop stays within its margin while outcomes come in.

A bettor starts with 1 and bets, before each outcome, that the drop is above the margin. While the
drop is at most the margin the bets are at best fair, so the money is a nonnegative supermartingale:
the chance that it *ever* reaches 1 / alpha is at most alpha, however often one looks and whenever
one stops (Ville). Money is evidence (an e-value); 1 / the most money ever held is a p-value that
may be read at any time. I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024), sections 4 and 5.

The bet on the drop x in [-1, 1] against a margin m multiplies the money by
1 + c ((1 + x) / (1 + m) - 1). The shares c are a fixed list that the money is divided over at the
start, so money depends on which outcomes came, not on their order, and nothing has to be tuned.

Money that was lost in a long good time would make the test blind to a drop that begins late. So
only half of it is staked at the start; from the other half a fresh account is opened every
`EPOCH` outcomes (with the share 6 / (pi e)^2 of it for the e-th). All accounts together start with
at most 1, with what is not staked yet, so the promise above holds for their sum. Old accounts are closed, by age alone, so that
about `ACCOUNTS` with evenly spread logarithms of age stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from jettison.statistics.intervals import Interval

__all__ = ["EPOCH", "BettingState", "BettingTest", "shared_alpha"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

EPOCH = 500
"""Outcomes after which a fresh account is opened."""

ACCOUNTS = 16
"""Accounts that are kept at most, beside the one of the whole life."""

SHARES = 0.95 * 1.5 ** -np.arange(12.0)
"""What is bet of the money (c above): 95 % to 1 %. A bet of all would end at the first win."""

_LOWEST = -1.0 + 1e-9
_PRECISION = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class BettingState:
    """All that a test knows, so that it can go on elsewhere.

    Attributes:
        margin, alpha, resolution: of the test.
        counts: of each multiple of 1 / resolution from -1 to 1, shape (2 resolution + 1,).
        starts: of each open account, in outcomes.
        before: the counts before each account, shape (accounts, 2 resolution + 1).
        total: sum of the drops.
        log_most: log of the most money ever held.
    """

    margin: float
    alpha: float
    resolution: int
    counts: Counts
    starts: Counts
    before: Counts
    total: float
    log_most: float


class BettingTest:
    """Watches one stream of drops for a mean above the margin.

    Valid if, given all outcomes before, the expected drop of the next one is at most the margin:
    for a sample in random order, and also where the drop moves but never beyond the margin.

    Args:
        margin: the largest mean drop allowed, from -1 to 1 (exclusive); drops are divided by the
            range of their metric first.
        alpha: chance of an alarm over the whole life of the stream while the margin holds.
        resolution: drops are kept as counts of multiples of 1 / resolution: 1 is exact for 0/1
            metrics. Others are rounded up or down at random, so that the mean stays what it is and
            the test stays valid.
        seed: of that rounding.

    >>> test = BettingTest(margin=0.01, alpha=0.05)
    >>> test.add([0.0] * 80 + [1.0] * 20)
    >>> test.broken, test.n
    (True, 100)
    """

    def __init__(self, margin: float, alpha: float, resolution: int = 1, seed: int = 0) -> None:
        if not -1.0 < margin < 1.0:
            raise ValueError(f"the margin must lie between -1 and 1; got {margin}")
        if not 0.0 < alpha < 1.0 or resolution < 1:
            raise ValueError(f"alpha must lie in (0, 1), resolution be 1 or more: {alpha}")
        self.margin = margin
        self.alpha = alpha
        self._resolution = resolution
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._values = np.arange(-resolution, resolution + 1) / resolution
        self._growth = _growth(self._values, margin)
        self._life: Counts = np.zeros(2 * resolution + 1, np.int64)
        # Of each account, that of the whole life first: its start (in outcomes), the log of its
        # stake, and the counts before it.
        self._starts = [0]
        self._stakes: Floats = np.array([math.log(0.5)])
        self._before: Counts = np.zeros((1, self._life.size), np.int64)
        self._cash = 0.5
        self._log_most = 0.0
        self._total = 0.0
        self._shown = (0, 0.0, Interval(math.nan, -1.0, 1.0, 0))
        self.n = 0

    def add(self, drops: ArrayLike) -> None:
        """Takes outcomes in the order in which they became known; looks at the end of each epoch
        and after the last.

        Raises:
            ValueError: if a drop is not a number from -1 to 1; nothing is taken then.
        """
        given = np.asarray(drops, np.float64).ravel()
        if not np.all(np.abs(given) <= 1.0):
            raise ValueError("drops must be numbers from -1 to 1 (divided by the metric's range)")
        while given.size:
            room = EPOCH - self.n % EPOCH
            self._take(given[:room])
            given = given[room:]

    def _take(self, drops: Floats) -> None:
        scaled = (drops + 1.0) * self._resolution
        low = np.floor(scaled)
        up = self._random.random(scaled.size) < scaled - low
        places = (low + up).astype(np.int64)
        self._life += np.bincount(places, minlength=self._life.size)
        self._total += float(drops.sum())
        self.n += drops.size
        self._log_most = max(self._log_most, self._log_money())
        if self.n % EPOCH == 0:
            self._open()

    def _open(self) -> None:
        """Opens a fresh account; closes the one whose neighbours are closest in age."""
        stake = _stake(self.n)
        self._cash = max(0.0, self._cash - stake)
        self._starts.append(self.n)
        self._stakes = np.append(self._stakes, math.log(stake))
        self._before = np.vstack([self._before, self._life])
        if len(self._starts) > ACCOUNTS + 1:
            ages = [self.n + EPOCH - start for start in self._starts[1:]]
            ratios = [older / newer for older, newer in zip(ages, ages[2:], strict=False)]
            closed = 2 + int(np.argmin(ratios))
            del self._starts[closed]
            self._stakes = np.delete(self._stakes, closed)
            self._before = np.delete(self._before, closed, axis=0)

    def state(self) -> BettingState:
        """A copy of all that is known now."""
        return BettingState(
            self.margin,
            self.alpha,
            self._resolution,
            self._life.copy(),
            np.array(self._starts, np.int64),
            self._before.copy(),
            self._total,
            self._log_most,
        )

    def check(self, state: BettingState) -> None:
        """Looks whether `resume` would take a state.

        Raises:
            ValueError: if the state is of another test, or contradicts itself; says how.
        """
        _check(state, self)

    def resume(self, state: BettingState) -> None:
        """Goes on where another test of the same margin, alpha and resolution stood.

        Args:
            state: of that test. Values between two multiples are rounded by other random numbers
                from here on than there; the test is as valid.

        Raises:
            ValueError: if the state is of another test, or contradicts itself; nothing is changed.
        """
        _check(state, self)
        n = int(state.counts.sum())
        self._cash = 0.5
        for end in range(EPOCH, n + 1, EPOCH):
            self._cash = max(0.0, self._cash - _stake(end))
        opened = [0.5, *(_stake(int(start)) for start in state.starts[1:])]
        self._life, self._before = state.counts.copy(), state.before.copy()
        self._starts = [int(start) for start in state.starts]
        self._stakes = np.log(np.array(opened))
        self._total, self.n = state.total, n
        self._log_most = max(state.log_most, self._log_money())
        self._random = np.random.default_rng([self._seed, n])
        self._shown = (0, 0.0, Interval(math.nan, -1.0, 1.0, 0))

    def _log_money(self) -> float:
        wealth = self._stakes + _log_wealth(self._life - self._before, self._growth)
        cash = math.log(self._cash) if self._cash > 0.0 else -math.inf
        return float(np.logaddexp(np.logaddexp.reduce(wealth), cash))

    @property
    def mean(self) -> float | None:
        """Mean drop of all outcomes; `None` before the first."""
        return self._total / self.n if self.n else None

    @property
    def evidence(self) -> float:
        """Money now: how much less likely this is if the margin holds. 1 at the start."""
        return math.exp(min(self._log_money(), 700.0))

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of "the drop never was above the margin"."""
        return min(1.0, math.exp(-self._log_most))

    @property
    def broken(self) -> bool:
        """Whether the alarm was raised; it stays."""
        return self._log_most >= -math.log(self.alpha)

    def interval(self, alpha: float | None = None) -> Interval:
        """The confidence sequence of the mean drop, which holds at all times together.

        Unlike the alarm it assumes that the drop does not move: it is about one mean for the whole
        life. Both sides together miss it, ever, with a chance of at most alpha.

        Args:
            alpha: error rate of the interval; by default that of the test.
        """
        chosen = self.alpha if alpha is None else alpha
        mean = self.mean
        if mean is None:
            return Interval(math.nan, -1.0, 1.0, 0)
        if self._shown[:2] != (self.n, chosen):
            limit = math.log(2.0 / chosen)
            low = _bound(self._values, self._life, limit)
            high = -_bound(self._values, self._life[::-1], limit)
            found = Interval(mean, min(low, mean), max(high, mean), self.n)
            self._shown = (self.n, chosen, found)
        return self._shown[2]


def shared_alpha(alpha: float, parts: Mapping[str, float]) -> dict[str, float]:
    """Divides an error rate over parts by weight, so that the chance of any false alarm is alpha.

    >>> shared_alpha(0.05, {"overall": 2, "a": 1, "b": 1})
    {'overall': 0.025, 'a': 0.0125, 'b': 0.0125}
    """
    whole = sum(parts.values())
    return {name: alpha * weight / whole for name, weight in parts.items()}


def _stake(start: int) -> float:
    """What the account that is opened after so many outcomes gets of the money."""
    return 0.5 * 6.0 / (math.pi * (start // EPOCH)) ** 2


def _check(state: BettingState, test: BettingTest) -> None:
    """Refuses a state that this test could not have come to.

    Raises:
        ValueError: says what is wrong.
    """
    own = test.state()
    for name in ("margin", "alpha", "resolution"):
        told, wanted = getattr(state, name), getattr(own, name)
        if told != wanted:
            raise ValueError(f"it is about {name} {told}, and this test about {wanted}")
    counts, starts, before = state.counts, state.starts, state.before
    if counts.shape != own.counts.shape or before.shape != (len(starts) or 1, len(counts)):
        raise ValueError(f"its counts have shapes {counts.shape} and {before.shape}")
    n = int(counts.sum())
    rows = np.vstack([before, counts])
    if (rows < 0).any() or (np.diff(rows, axis=0) < 0).any() or starts[0] != 0:
        raise ValueError("its counts fall")
    if not np.array_equal(before.sum(axis=1), starts) or starts[-1] != n // EPOCH * EPOCH:
        raise ValueError(f"its accounts do not fit {n} outcomes")
    if (starts % EPOCH).any() or len(starts) > ACCOUNTS + 1:
        raise ValueError(f"its accounts start at {starts.tolist()}")
    if not abs(state.total) <= n or not 0.0 <= state.log_most < math.inf:
        raise ValueError(f"its sum is {state.total} and its money {state.log_most}")


def _growth(values: Floats, margin: float) -> Floats:
    """Log of the factor of the money, shape (shares, values)."""
    excess = (1.0 + values) / (1.0 + margin) - 1.0
    return np.asarray(np.log1p(SHARES[:, None] * excess[None, :]), np.float64)


def _log_wealth(counts: Counts, growth: Floats) -> Floats:
    """Log money of accounts that started with 1, shape (accounts,), from counts of each value."""
    per_share = counts.astype(np.float64) @ growth.T
    wealth: Floats = np.logaddexp.reduce(per_share, axis=-1) - math.log(len(SHARES))
    return wealth


def _bound(values: Floats, counts: Counts, limit: float) -> float:
    """The smallest mean that the money does not refute; money falls as the mean grows."""
    seen = counts > 0
    values, counts = values[seen], counts[seen]

    def surplus(mean: float) -> float:
        return float(_log_wealth(counts, _growth(values, mean))) - limit

    # At the observed mean no bet has won anything; near -1 every outcome above -1 wins.
    low, high = _LOWEST, float(counts @ values / counts.sum())
    if high <= low or surplus(low) <= 0.0:
        return -1.0
    return float(brentq(surplus, low, high, xtol=_PRECISION))
