"""The certified margins, watched while the model is served, for the whole and for each group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL
from jettison.domain.rows import Array
from jettison.serving.monitoring.readings import Reading
from jettison.serving.monitoring.scoring import RowScorer, ScoredRows
from jettison.statistics.betting import BettingTest, shared_alpha

MOST_GROUPS = 64
"""Groups that are watched for each metric, in the order of the certificate."""

RESOLUTION = 256
"""Drops of a bounded mean are kept as multiples of 1 / 256 of its range; 0/1 metrics exactly."""

SHOWN_ALPHA = 0.05
"""Intervals that are shown hold at 95 % each, at all times together."""

Labels = dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class WatchedClaim:
    """One claim of the certificate with its running tests.

    Attributes:
        claim: metric, group and margin.
        drop: test that the drop is at most the margin; only rows that the original answered too.
        value: running value of the metric on all rows with a label, without any test.
    """

    claim: Claim
    drop: BettingTest
    value: BettingTest


class MarginWatch:
    """All watched claims of one metric.

    Args:
        scorer: of the metric.
        claims: of this metric that gate, the whole and groups.
        alpha: chance of any false alarm of this metric in the life of the deployment. Half goes
            to the whole; the other half is shared equally by the groups that are watched, which
            are fixed when the bundle is loaded. Without groups the whole has all of it.
    """

    def __init__(self, scorer: RowScorer, claims: Sequence[Claim], alpha: float) -> None:
        self.scorer = scorer
        named = {claim.group: claim for claim in claims}
        groups = [group for group in named if group != OVERALL]
        self.left_out = max(0, len(groups) - MOST_GROUPS)
        groups = groups[:MOST_GROUPS]
        parts = {OVERALL: float(max(1, len(groups)))} | dict.fromkeys(groups, 1.0)
        parts = {group: weight for group, weight in parts.items() if group in named}
        shares = shared_alpha(alpha, parts)
        binary = scorer.metric.kind == "binary"
        resolution = 1 if binary else RESOLUTION
        self.claims = {
            group: WatchedClaim(
                named[group],
                BettingTest(_inside(named[group].margin / scorer.range), share, resolution),
                BettingTest(0.0, SHOWN_ALPHA, resolution),
            )
            for group, share in shares.items()
        }

    @property
    def needs_labels(self) -> bool:
        """Whether a row counts only once its label is known."""
        return self.scorer.metric.needs_targets

    def take(self, scored: ScoredRows, groups: Sequence[Sequence[str]], *, whole: bool) -> None:
        """Counts rows in the whole (if `whole`) and in each of their groups that is watched.

        Args:
            scored: the rows.
            groups: of each row, as `column=value`.
            whole: whether they count in the whole: rows that counted there before do not.
        """
        for group, watched in self.claims.items():
            if group == OVERALL:
                rows = np.full(len(scored.candidate), whole)
            else:
                rows = np.array([group in told for told in groups], bool)
            if rows.any():
                watched.value.add(scored.candidate[rows])
                if scored.original is not None:
                    watched.drop.add(_kept_inside(scored.drops[rows]))

    def readings(self, model: Mapping[str, str]) -> Iterator[Reading]:
        """What is known about each claim now, under the labels `metric` and `group`."""
        for group, watched in self.claims.items():
            labels = {**model, "metric": self.scorer.metric.name, "group": group}
            yield from self._margin(watched, labels)
            if self.needs_labels:
                yield from self._value(watched, labels)

    def _margin(self, watched: WatchedClaim, labels: Labels) -> Iterator[Reading]:
        test, unit = watched.drop, self.scorer.range
        yield Reading("jettison_quality_margin", labels, watched.claim.margin)
        yield Reading("jettison_quality_margin_held", labels, float(not test.broken))
        yield Reading("jettison_quality_margin_p_value", labels, test.p_value)
        yield Reading("jettison_quality_margin_rows", labels, float(test.n))
        if test.n:
            interval = test.interval(SHOWN_ALPHA)
            yield Reading("jettison_quality_drop", labels, interval.value * unit)
            yield Reading("jettison_quality_drop_low", labels, interval.low * unit)
            yield Reading("jettison_quality_drop_high", labels, interval.high * unit)

    def _value(self, watched: WatchedClaim, labels: Labels) -> Iterator[Reading]:
        """The metric itself: it moves with the rows too, so it says nothing about the margin."""
        yield Reading("jettison_quality_value_rows", labels, float(watched.value.n))
        sealed = watched.claim.candidate
        if sealed is not None:
            yield Reading("jettison_quality_sealed_value", labels, sealed)
        if watched.value.n:
            yield from value_readings("jettison_quality_value", self.scorer, watched.value, labels)


def value_readings(
    name: str, scorer: RowScorer, test: BettingTest, labels: Labels
) -> Iterator[Reading]:
    """A running mean of contributions in the metric's unit, with its interval."""
    interval = test.interval(SHOWN_ALPHA)
    ends = sorted(scorer.value(min(1.0, max(0.0, end))) for end in (interval.low, interval.high))
    yield Reading(name, labels, scorer.value(interval.value))
    yield Reading(f"{name}_low", labels, ends[0])
    yield Reading(f"{name}_high", labels, ends[1])


def _inside(margin: float) -> float:
    """A margin of the whole range or more can't be broken; the test needs one below 1."""
    return min(margin, 1.0 - 1e-9)


def _kept_inside(drops: Array) -> Array:
    """Rounding may leave a drop one bit beyond its range."""
    return np.clip(drops, -1.0, 1.0)
