"""`QualityMonitor`: what is known about the quality of one served version, from its own traffic.

Three sources, which say different things (docs/serving-quality.md):

* sampled requests and answers against the bundle's sketch: has the world moved? (drift)
* the original's answers to shadowed requests: does the served model still answer as it did?
* labels that come later: is the certified margin still held? Only where both the label and the
  original's answer are known is there a paired difference, which is what the margin is about.

All methods are called on one thread, the server's event loop, and are quick.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison import registry
from jettison.domain.measurement import OVERALL
from jettison.domain.rows import Array
from jettison.serving.monitoring.drift import DriftWatch
from jettison.serving.monitoring.margins import (
    RESOLUTION,
    SHOWN_ALPHA,
    MarginWatch,
    value_readings,
)
from jettison.serving.monitoring.memory import Journal
from jettison.serving.monitoring.outcomes import Outcome, OutcomeReceipt, group_names
from jettison.serving.monitoring.readings import Reading
from jettison.serving.monitoring.scoring import RowScorer, target_of
from jettison.serving.monitoring.watched import MonitorSettings, Watched
from jettison.serving.requests import Answer, InferenceRequest
from jettison.statistics.betting import BettingTest

TestKey = tuple[str, str, str]
"""Kind (`drop`, `value` or `agreement`), metric and group of a test."""

PAIRS_AT_ONCE = 32
RESULTS = (
    "joined",
    "paired",
    "unknown id",
    "id used twice",
    "row unknown",
    "told before",
    "label impossible",
    "metric undefined",
)
"""What may become of an outcome; also the label values of `jettison_quality_outcomes`."""


class QualityMonitor:
    """Watches one version of one served model.

    Args:
        watched: the version.
        settings: how much is watched.
        clock: monotonic seconds.
        journal: of the model's answers, shared by its versions; by default one of its own.

    Attributes:
        watched: the version.
    """

    def __init__(
        self,
        watched: Watched,
        settings: MonitorSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ) -> None:
        self.watched = watched
        self._settings = settings or MonitorSettings()
        self._drift = DriftWatch(watched.sketch, 1.0 / self._settings.sampled_per_second, clock)
        self._journal = Journal(self._settings, clock) if journal is None else journal
        self._margins = self._watches()
        self._closeness = self._closeness_of_task()
        self._pending: list[tuple[Array, Array]] = []
        self._results: Counter[str] = Counter()
        self._shadow_rows: Counter[str] = Counter()
        self._unwatched_groups = 0
        self._labels = {"model": watched.name, "version": watched.version}

    def _watches(self) -> list[MarginWatch]:
        """A watch for each metric with a claim that gates; alpha is shared equally."""
        watched = self.watched
        claims = [claim for claim in watched.certificate.claims if claim.gates]
        metrics = list(dict.fromkeys(claim.metric for claim in claims))
        scorers = [RowScorer(metric, watched.model, watched.anchors) for metric in metrics]
        scorers = [scorer for scorer in scorers if scorer.watchable]
        return [
            MarginWatch(
                scorer,
                [claim for claim in claims if claim.metric == scorer.metric.name],
                self._settings.alpha / len(scorers),
            )
            for scorer in scorers
        ]

    def _closeness_of_task(self) -> list[tuple[RowScorer, BettingTest]]:
        """The metrics that compare with the original, which need no label."""
        model = self.watched.model
        found: list[tuple[RowScorer, BettingTest]] = []
        for name in registry.names("metrics"):
            metric = registry.get("metrics", name)
            if metric.against_reference and not metric.needs_targets and model.task in metric.tasks:
                scorer = RowScorer(name, model, self.watched.anchors)
                if scorer.watchable:
                    resolution = 1 if metric.kind == "binary" else RESOLUTION
                    found.append((scorer, BettingTest(0.0, SHOWN_ALPHA, resolution)))
        return found

    def observe(
        self, request: InferenceRequest, answer: Answer, original: Answer | None = None
    ) -> None:
        """Takes one answered request; call it once for each.

        Args:
            request: with its own inputs and id.
            answer: that the caller got; of another version than the one watched it is not taken.
            original: the original's answer, where the request was shadowed: then call it when the
                original has answered (or has failed: `None`). Never the answer of another shadow:
                the margin is about the original.
        """
        output = answer.arrays.get(self.watched.model.prediction)
        if answer.version != self.watched.version or output is None:
            return
        self._drift.observe(request.arrays, answer.arrays)
        reference = None if original is None else self._reference(output, original)
        if original is not None:
            self._shadow_rows["compared" if reference is not None else "not comparable"] += len(
                output
            )
        if reference is not None:
            self._pending.append((np.array(output), np.array(reference)))
            if len(self._pending) >= PAIRS_AT_ONCE:
                self._compare_pending()
        if request.request_id and len(output) <= self._settings.largest_rows:
            version = self.watched.version
            self._journal.remember(request.request_id, version, output, reference)

    def _reference(self, output: Array, original: Answer) -> Array | None:
        """The original's output that metrics read; `None` where it can't be compared."""
        found = original.arrays.get(self.watched.model.prediction)
        if found is None and len(original.arrays) == 1:
            found = next(iter(original.arrays.values()))
        return found if found is not None and found.shape == output.shape else None

    def _compare_pending(self) -> None:
        pairs, self._pending = self._pending, []
        by_shape: dict[tuple[int, ...], list[tuple[Array, Array]]] = {}
        for pair in pairs:
            by_shape.setdefault(pair[0].shape[1:], []).append(pair)
        for alike in by_shape.values():
            answers = np.concatenate([answer for answer, _ in alike])
            originals = np.concatenate([original for _, original in alike])
            for scorer, test in self._closeness:
                before = test.n
                for scored in scorer.score_each(answers, originals, None):
                    test.add(scored.candidate)
                self._shadow_rows["metric undefined"] += len(answers) - (test.n - before)
            for margin in self._margins:
                if not margin.needs_labels:
                    for scored in margin.scorer.score_each(answers, originals, None):
                        none: list[list[str]] = [[] for _ in scored.candidate]
                        margin.take(scored, none, whole=True)

    def tests(self) -> dict[TestKey, BettingTest]:
        """Every running test, with all that was compared so far: what is worth keeping."""
        self._compare_pending()
        found: dict[TestKey, BettingTest] = {
            ("agreement", scorer.metric.name, ""): test for scorer, test in self._closeness
        }
        for margin in self._margins:
            for group, claim in margin.claims.items():
                found["drop", margin.scorer.metric.name, group] = claim.drop
                found["value", margin.scorer.metric.name, group] = claim.value
        return found

    def outcomes(self, items: Sequence[Outcome]) -> OutcomeReceipt:
        """Joins outcomes with the answers that are remembered, and counts them.

        Whatever can't be joined, can't be true of this model, or was told before is refused and
        counted; nothing that is posted makes memory or metric labels grow.
        """
        refused: Counter[str] = Counter()
        joined: list[_Joined] = []
        for item in items:
            found = self._join(item)
            if isinstance(found, str):
                refused[found] += 1
            else:
                joined.append(found)
        known = {g for margin in self._margins for g in margin.claims if g != OVERALL}
        unwatched = sum(group not in known for one in joined for group in one.groups)
        undefined = sum(self._count(alike) for alike in _alike(joined))
        paired = sum(one.original is not None for one in joined)
        self._results.update(refused)
        self._results.update(
            {"joined": len(joined), "paired": paired, "metric undefined": undefined}
        )
        self._unwatched_groups += unwatched
        return OutcomeReceipt(
            received=len(items),
            joined=len(joined),
            paired=paired,
            refused=dict(refused),
            unwatched_groups=unwatched,
            notes=self._notes(len(joined), paired),
        )

    def _join(self, item: Outcome) -> _Joined | str:
        """The row that an outcome is about, or why there is none."""
        found = self._journal.find(item.request_id)
        if found is None or found.version != self.watched.version:
            return "unknown id"
        if len(found.answer) == 0:
            return "id used twice"
        if item.row >= len(found.answer):
            return "row unknown"
        if item.row in found.told:
            return "told before"
        target = target_of(item.label, self.watched.model)
        if item.label is not None and target is None:
            return "label impossible"
        found.told |= {item.row}
        original = None if found.original is None else found.original[item.row]
        return _Joined(found.answer[item.row], original, target, group_names(item.groups))

    def _count(self, rows: Sequence[_Joined]) -> int:
        """Counts rows that all have, or all lack, a label and an original; gives the undefined."""
        answers = np.stack([one.answer for one in rows])
        first = rows[0]
        originals = None
        if first.original is not None:
            originals = np.stack([one.original for one in rows if one.original is not None])
        targets = None if first.target is None else np.array([one.target for one in rows])
        undefined = 0
        for margin in self._margins:
            if margin.needs_labels and targets is None:
                continue
            if not margin.needs_labels and originals is None:
                continue
            seen = 0
            # Rows of a metric without labels counted in the whole when they were answered.
            for scored in margin.scorer.score_each(answers, originals, targets):
                groups = [rows[i].groups for i in scored.places]
                margin.take(scored, groups, whole=margin.needs_labels)
                seen += len(scored.candidate)
            undefined += len(rows) - seen
        return undefined

    def _notes(self, joined: int, paired: int) -> tuple[str, ...]:
        notes: list[str] = []
        if not self._margins:
            why = self.watched.certificate.reason or "it has no claim that can be watched"
            notes.append(f"no margin is watched: the bundle is not certified ({why})")
        elif joined and not paired and any(m.needs_labels for m in self._margins):
            notes.append(
                "no outcome is about a request that the original answered too, so they say nothing "
                "about the certified margin: serve with the original as the shadow"
            )
        return tuple(notes)

    def readings(self) -> Iterator[Reading]:
        """Everything that is known now. Labels come from the bundle alone, so they are few."""
        self._compare_pending()
        yield from self._drift_readings()
        for scorer, test in self._closeness:
            labels = {**self._labels, "metric": scorer.metric.name}
            yield Reading("jettison_quality_agreement_rows", labels, float(test.n))
            if test.n:
                yield from value_readings("jettison_quality_agreement_ratio", scorer, test, labels)
        for margin in self._margins:
            yield from margin.readings(self._labels)
        for result in RESULTS:
            labels = {**self._labels, "result": result.replace(" ", "_")}
            yield Reading("jettison_quality_outcomes", labels, float(self._results[result]))
        for result in ("compared", "not comparable", "metric undefined"):
            labels = {**self._labels, "result": result.replace(" ", "_")}
            yield Reading("jettison_quality_shadow_rows", labels, float(self._shadow_rows[result]))
        waiting = float(len(self._journal))
        yield Reading("jettison_quality_remembered_answers", self._labels, waiting)
        unwatched = float(self._unwatched_groups)
        yield Reading("jettison_quality_unwatched_groups", self._labels, unwatched)

    def _drift_readings(self) -> Iterator[Reading]:
        sketch = self.watched.sketch
        yield Reading("jettison_drift_available", self._labels, float(not sketch.reason))
        yield Reading("jettison_drift_rows", self._labels, float(self._drift.rows))
        yield Reading("jettison_drift_features_left_out", self._labels, float(sketch.left_out))
        for feature, drift in self._drift.drifts():
            labels = {**self._labels, "feature": feature}
            if drift is None:
                continue
            yield Reading("jettison_drift_score", labels, drift.score)
            yield Reading("jettison_drift_limit", labels, drift.limit)
            if drift.ks is not None:
                yield Reading("jettison_drift_ks_distance", labels, drift.ks)

    @property
    def unavailable(self) -> Mapping[str, str]:
        """What is not watched, and why, one sentence each: for the log and the page."""
        found: dict[str, str] = {}
        if self.watched.sketch.reason:
            found["drift"] = self.watched.sketch.reason
        if not self._margins:
            found["margin"] = (
                self.watched.certificate.reason
                or "no claim of the certificate can be followed row by row"
            )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """One outcome with its answer."""

    answer: Array
    original: Array | None
    target: int | float | None
    groups: list[str]


def _alike(joined: Sequence[_Joined]) -> list[list[_Joined]]:
    """Puts outcomes together that can be scored at once."""
    found: dict[tuple[object, ...], list[_Joined]] = {}
    for one in joined:
        key = (one.answer.shape, one.original is None, one.target is None)
        found.setdefault(key, []).append(one)
    return list(found.values())
